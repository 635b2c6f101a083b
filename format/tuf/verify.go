package tuf

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// A Delegation is the keys that sign a role, of which so many must.
type Delegation struct {
	Keys      map[string]*Key // among them those of KeyIDs
	KeyIDs    []string
	Threshold int
}

// A Delegator is metadata that names the keys of other roles: [*Root] and
// [*Targets].
type Delegator interface {
	// Delegation returns who signs a role, or an error if this metadata does not
	// speak of it.
	Delegation(role string) (Delegation, error)
}

// Delegation returns the keys of a top-level role.
func (r *Root) Delegation(role string) (Delegation, error) {
	k := r.Roles[role]
	if k == nil {
		return Delegation{}, fmt.Errorf("tuf: root names no role %q", role)
	}
	return Delegation{r.Keys, k.KeyIDs, k.Threshold}, nil
}

// Delegation returns the keys of a role that t delegates to.
func (t *Targets) Delegation(role string) (Delegation, error) {
	if g := t.Delegations; g != nil {
		for _, r := range g.Roles {
			if r.Name == role {
				return Delegation{g.Keys, r.KeyIDs, r.Threshold}, nil
			}
		}
		if s := g.SuccinctRoles; s != nil && s.Has(role) {
			return Delegation{g.Keys, s.KeyIDs, s.Threshold}, nil
		}
	}
	return Delegation{}, fmt.Errorf("tuf: nobody delegates to the role %q", role)
}

// Verify checks that enough keys of a role signed m, which is what the role
// says.
func Verify(by Delegator, role string, m Document) error {
	g, err := by.Delegation(role)
	if err != nil {
		return err
	}
	return g.Verify(m)
}

// Verify checks that enough keys signed m. What is verified is the canonical
// form of m as it is here, whatever the file looked like: nothing in m that it
// would leave out is believed.
func (g Delegation) Verify(m Document) error {
	if g.Threshold < 1 || len(g.KeyIDs) == 0 {
		return fmt.Errorf("tuf: %d of %d keys have to sign, which anybody could", g.Threshold, len(g.KeyIDs))
	}
	n, err := g.Count(m)
	if err != nil {
		return err
	}
	if n < g.Threshold {
		return fmt.Errorf("tuf: signed by %d keys, want %d", n, g.Threshold)
	}
	return nil
}

// Count returns how many keys signed m. One that goes by two names counts
// once.
func (g Delegation) Count(m Document) (int, error) {
	b, err := m.Canonical()
	if err != nil {
		return 0, err
	}
	signed := map[string]bool{} // by the key itself
	for _, id := range g.KeyIDs {
		k := g.Keys[id]
		if k == nil {
			return 0, fmt.Errorf("tuf: key %.16q is not there", id)
		}
		pub, err := k.PublicKey()
		if err != nil {
			return 0, fmt.Errorf("key %.16q: %w", id, err)
		}
		for _, s := range *m.Sigs() {
			if s.KeyID == id && verify(pub, b, s.Sig) {
				der, err := x509.MarshalPKIXPublicKey(pub)
				if err != nil {
					return 0, fmt.Errorf("tuf: key %.16q: %w", id, err)
				}
				signed[string(der)] = true
			}
		}
	}
	return len(signed), nil
}

// verify checks a signature by a key that [Key.PublicKey] returned.
func verify(pub crypto.PublicKey, b, sig []byte) bool {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		digest, _ := ecdsaDigest(pub, b)
		return ecdsa.VerifyASN1(pub, digest, sig)
	case ed25519.PublicKey:
		return ed25519.Verify(pub, b, sig)
	case *rsa.PublicKey:
		digest := sha256.Sum256(b)
		return rsa.VerifyPSS(pub, crypto.SHA256, digest[:], sig, nil) == nil
	}
	return false
}

// ecdsaDigest hashes b as the scheme of the key's curve wants it.
func ecdsaDigest(pub *ecdsa.PublicKey, b []byte) ([]byte, crypto.Hash) {
	if pub.Curve.Params().BitSize == 384 {
		digest := sha512.Sum384(b)
		return digest[:], crypto.SHA384
	}
	digest := sha256.Sum256(b)
	return digest[:], crypto.SHA256
}

// Sign adds a key's signature to m, in place of an older one by the same key.
// ECDSA is deterministic (RFC 6979), so that the same input gives the same
// bytes; RSA is not.
func Sign(m Document, key crypto.Signer) error {
	k, err := NewKey(key.Public())
	if err != nil {
		return err
	}
	id, err := k.ID()
	if err != nil {
		return err
	}
	b, err := m.Canonical()
	if err != nil {
		return err
	}
	sig, err := sign(key, b)
	if err != nil {
		return err
	}
	AddSignature(m, Signature{KeyID: id, Sig: sig})
	return nil
}

// AddSignature puts a signature in, in place of an older one by the same key.
func AddSignature(m Document, s Signature) {
	list := m.Sigs()
	if i := slices.IndexFunc(*list, func(old Signature) bool { return old.KeyID == s.KeyID }); i >= 0 {
		(*list)[i] = s
	} else {
		*list = append(*list, s)
	}
}

func sign(key crypto.Signer, b []byte) ([]byte, error) {
	switch pub := key.Public().(type) {
	case *ecdsa.PublicKey:
		digest, hash := ecdsaDigest(pub, b)
		return key.Sign(nil, digest, hash)
	case ed25519.PublicKey:
		return key.Sign(nil, b, crypto.Hash(0))
	case *rsa.PublicKey:
		digest := sha256.Sum256(b)
		return key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	}
	return nil, errors.New("tuf: no such key")
}
