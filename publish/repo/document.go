package repo

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"mios"
	"mios/api/repo"
)

type (
	rootMeta      = metadata.Metadata[metadata.RootType]
	timestampMeta = metadata.Metadata[metadata.TimestampType]
	snapshotMeta  = metadata.Metadata[metadata.SnapshotType]
	targetsMeta   = metadata.Metadata[metadata.TargetsType]
)

// A document is the metadata of a role that may be signed elsewhere: root, or
// a targets role. One of the two is set.
type document struct {
	role    string
	root    *rootMeta
	targets *targetsMeta
}

func parseDocument(role string, b []byte) (*document, error) {
	d := &document{role: role}
	var err error
	if role == metadata.ROOT {
		d.root, err = new(rootMeta).FromBytes(b)
	} else {
		d.targets, err = new(targetsMeta).FromBytes(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s metadata: %v: %w", role, err, mios.ErrInvalid)
	}
	return d, nil
}

func (d *document) bytes() ([]byte, error) {
	if d.root != nil {
		return d.root.ToBytes(false)
	}
	return d.targets.ToBytes(false)
}

func (d *document) version() int64 {
	if d.root != nil {
		return d.root.Signed.Version
	}
	return d.targets.Signed.Version
}

func (d *document) expires() time.Time {
	if d.root != nil {
		return d.root.Signed.Expires
	}
	return d.targets.Signed.Expires
}

// stamp gives the document a new version and a new life, without signatures.
func (d *document) stamp(version int64, signed, expires time.Time) {
	if d.root != nil {
		d.root.Signed.Version, d.root.Signed.Expires = version, expires
		d.root.Signed.UnrecognizedFields = map[string]any{repo.SignedAt: signed.Format(time.RFC3339)}
	} else {
		d.targets.Signed.Version, d.targets.Signed.Expires = version, expires
	}
	*d.signatures() = []metadata.Signature{}
}

func (d *document) signatures() *[]metadata.Signature {
	if d.root != nil {
		return &d.root.Signatures
	}
	return &d.targets.Signatures
}

// signed returns the bytes that signatures are made over.
func (d *document) signed() ([]byte, error) {
	if d.root != nil {
		return cjson.EncodeCanonical(d.root.Signed)
	}
	return cjson.EncodeCanonical(d.targets.Signed)
}

// meta returns what go-tuf verifies.
func (d *document) meta() any {
	if d.root != nil {
		return d.root
	}
	return d.targets
}

// add puts a signature in, in place of an older one by the same key.
func (d *document) add(sig metadata.Signature) {
	list := d.signatures()
	for i := range *list {
		if (*list)[i].KeyID == sig.KeyID {
			(*list)[i] = sig
			return
		}
	}
	*list = append(*list, sig)
}

// sign adds the signatures of those signers whose keys are among ids.
func (d *document) sign(signers []crypto.Signer, ids map[string]bool) error {
	for _, s := range signers {
		id, err := keyID(s.Public())
		if err != nil {
			return err
		}
		if !ids[id] {
			continue
		}
		b, err := d.signed()
		if err != nil {
			return err
		}
		sig, err := signBytes(s, b)
		if err != nil {
			return fmt.Errorf("sign %s: %w", d.role, err)
		}
		d.add(metadata.Signature{KeyID: id, Signature: sig})
	}
	return nil
}

// A group is a set of keys of which so many have to sign.
type group struct {
	Keys      map[string]*metadata.Key `json:"keys"`
	Threshold int                      `json:"threshold"`
}

// count returns how many of the group's keys have signed the document.
func (g group) count(d *document) int {
	n := 0
	for id, k := range g.Keys {
		one := &rootMeta{Signed: metadata.RootType{
			Keys:  map[string]*metadata.Key{id: k},
			Roles: map[string]*metadata.Role{d.role: {KeyIDs: []string{id}, Threshold: 1}},
		}}
		if one.VerifyDelegate(d.role, d.meta()) == nil {
			n++
		}
	}
	return n
}

func (g group) ids() map[string]bool {
	ids := map[string]bool{}
	for id := range g.Keys {
		ids[id] = true
	}
	return ids
}

func keyID(pub crypto.PublicKey) (string, error) {
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		return "", err
	}
	return k.ID()
}

// signBytes signs a message as TUF wants it of the kind of key. ECDSA is
// deterministic (RFC 6979), so that the same input gives the same bytes.
func signBytes(s crypto.Signer, b []byte) ([]byte, error) {
	digest := sha256.Sum256(b)
	switch pub := s.Public().(type) {
	case *ecdsa.PublicKey:
		return s.Sign(nil, digest[:], crypto.SHA256)
	case ed25519.PublicKey:
		return s.Sign(nil, b, crypto.Hash(0))
	case *rsa.PublicKey:
		return nil, fmt.Errorf("an RSA key of %d bits cannot sign a repository: %w: take an ECDSA P-256 key", pub.N.BitLen(), mios.ErrInvalid)
	}
	return nil, fmt.Errorf("a %T cannot sign a repository: %w", s.Public(), mios.ErrInvalid)
}

// tufSigner lets go-tuf sign with a [crypto.Signer].
type tufSigner struct{ crypto.Signer }

// SignMessage implements [signature.Signer].
func (s tufSigner) SignMessage(message io.Reader, _ ...signature.SignOption) ([]byte, error) {
	var b bytes.Buffer
	if _, err := b.ReadFrom(message); err != nil {
		return nil, err
	}
	return signBytes(s.Signer, b.Bytes())
}

// PublicKey implements [signature.PublicKeyProvider].
func (s tufSigner) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return s.Public(), nil
}
