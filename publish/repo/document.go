package repo

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"time"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
)

type (
	rootMeta      = tuf.Metadata[tuf.Root]
	timestampMeta = tuf.Metadata[tuf.Timestamp]
	snapshotMeta  = tuf.Metadata[tuf.Snapshot]
	targetsMeta   = tuf.Metadata[tuf.Targets]
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
	if role == tuf.RoleRoot {
		d.root, err = tuf.Parse[tuf.Root](b)
	} else {
		d.targets, err = tuf.Parse[tuf.Targets](b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s metadata: %v: %w", role, err, mios.ErrInvalid)
	}
	return d, nil
}

// meta returns the one of the two that is set.
func (d *document) meta() tuf.Document {
	if d.root != nil {
		return d.root
	}
	return d.targets
}

func (d *document) bytes() ([]byte, error) { return d.meta().Bytes() }

func (d *document) version() int64 { return d.meta().Head().Version }

func (d *document) expires() time.Time { return d.meta().Head().Expires }

// stamp gives the document a new version and a new life, without signatures.
func (d *document) stamp(version int64, signed, expires time.Time) {
	h := d.meta().Head()
	h.Version, h.Expires = version, expires
	if d.root != nil {
		h.Unrecognized = map[string]any{repo.SignedAt: signed.Format(time.RFC3339)}
	}
	*d.signatures() = nil
}

func (d *document) signatures() *[]tuf.Signature { return d.meta().Sigs() }

// signed returns the bytes that signatures are made over.
func (d *document) signed() ([]byte, error) { return d.meta().Canonical() }

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
		if err := sign(d.meta(), s); err != nil {
			return fmt.Errorf("sign %s: %w", d.role, err)
		}
	}
	return nil
}

// A group is a set of keys of which so many have to sign.
type group struct {
	Keys      map[string]*tuf.Key `json:"keys"`
	Threshold int                 `json:"threshold"`
}

// count returns how many of the group's keys have signed the document.
func (g group) count(d *document) int {
	n, err := tuf.Delegation{Keys: g.Keys, KeyIDs: sortedIDs(g)}.Count(d.meta())
	if err != nil {
		return 0
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
	k, err := tuf.NewKey(pub)
	if err != nil {
		return "", err
	}
	return k.ID()
}

// sign signs a document with a key of a kind whose signatures are the same
// whenever the input is: not RSA.
func sign(m tuf.Document, s crypto.Signer) error {
	if pub, ok := s.Public().(*rsa.PublicKey); ok {
		return fmt.Errorf("an RSA key of %d bits cannot sign a repository: %w: take an ECDSA P-256 key", pub.N.BitLen(), mios.ErrInvalid)
	}
	return tuf.Sign(m, s)
}
