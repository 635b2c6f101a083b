package tuf

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// A Key is a public key as metadata has it. What its type and scheme mean is
// looked at by [Key.PublicKey] alone, so that metadata may name keys of a kind
// that this package does not know.
type Key struct {
	Type         string
	Scheme       string
	Value        KeyValue
	Unrecognized map[string]any
}

// A KeyValue is the key itself: in PEM, or for Ed25519 in hexadecimal.
type KeyValue struct {
	Public       string
	Unrecognized map[string]any
}

// The types and schemes of keys. The type ecdsa-sha2-nistp256 is the
// specification's, ecdsa what go-tuf and python-tuf write.
const (
	typeEd25519   = "ed25519"
	typeRSA       = "rsa"
	typeECDSA     = "ecdsa"
	schemeEd25519 = "ed25519"
	schemePSS     = "rsassa-pss-sha256"
	schemeP256    = "ecdsa-sha2-nistp256"
	schemeP384    = "ecdsa-sha2-nistp384"
)

// minRSA is how many bits of RSA are enough.
const minRSA = 2048

// NewKey returns the key that metadata names pub by: ECDSA over P-256 or P-384,
// Ed25519 or RSA.
func NewKey(pub crypto.PublicKey) (*Key, error) {
	k := new(Key)
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		k.Type, k.Scheme, k.Value.Public = typeEd25519, schemeEd25519, hex.EncodeToString(pub)
		return k, nil
	case *ecdsa.PublicKey:
		switch k.Type = typeECDSA; pub.Curve {
		case elliptic.P256():
			k.Scheme = schemeP256
		case elliptic.P384():
			k.Scheme = schemeP384
		default:
			return nil, errors.New("tuf: an ECDSA key over neither P-256 nor P-384")
		}
	case *rsa.PublicKey:
		k.Type, k.Scheme = typeRSA, schemePSS
	default:
		return nil, fmt.Errorf("tuf: a %T is no key of TUF", pub)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("tuf: key: %w", err)
	}
	k.Value.Public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return k, nil
}

// ID returns the key's identifier: the SHA-256 of its canonical form, in
// hexadecimal. Metadata may call a key otherwise (TAP 12).
func (k *Key) ID() (string, error) {
	b, err := canonical(nil, k.tree())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// PublicKey returns the key: an [*ecdsa.PublicKey], [ed25519.PublicKey] or
// [*rsa.PublicKey] that fits the scheme.
func (k *Key) PublicKey() (crypto.PublicKey, error) {
	if k.Type == typeEd25519 && k.Scheme == schemeEd25519 {
		b, err := hex.DecodeString(k.Value.Public)
		if err != nil || len(b) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("tuf: want an Ed25519 key: %d bytes in hexadecimal", ed25519.PublicKeySize)
		}
		return ed25519.PublicKey(b), nil
	}
	var fits func(pub any) bool
	switch {
	case k.Scheme == schemeP256 && (k.Type == typeECDSA || k.Type == schemeP256):
		fits = isCurve(elliptic.P256())
	case k.Scheme == schemeP384 && (k.Type == typeECDSA || k.Type == schemeP384):
		fits = isCurve(elliptic.P384())
	case k.Scheme == schemePSS && k.Type == typeRSA:
		fits = func(pub any) bool { p, ok := pub.(*rsa.PublicKey); return ok && p.N.BitLen() >= minRSA }
	default:
		return nil, fmt.Errorf("tuf: a key of type %q and scheme %q", k.Type, k.Scheme)
	}
	pub, err := parsePEM(k.Value.Public)
	if err != nil {
		return nil, err
	}
	if !fits(pub) {
		return nil, fmt.Errorf("tuf: a %T of the wrong kind or size for the scheme %q", pub, k.Scheme)
	}
	return pub, nil
}

func isCurve(c elliptic.Curve) func(pub any) bool {
	return func(pub any) bool { p, ok := pub.(*ecdsa.PublicKey); return ok && p.Curve == c }
}

// parsePEM reads one public key, with white space around it at most.
func parsePEM(text string) (crypto.PublicKey, error) {
	b := bytes.TrimSpace([]byte(text))
	block, rest := pem.Decode(b)
	if block == nil || len(rest) > 0 || !bytes.HasPrefix(b, []byte("-----BEGIN "+block.Type)) {
		return nil, errors.New("tuf: want a public key in PEM")
	}
	var pub crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		pub, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		pub, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, fmt.Errorf("tuf: a PEM block %q is no public key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("tuf: public key: %w", err)
	}
	return pub, nil
}

// tree returns null for a nil key, which [Parse] refuses.
func (k *Key) tree() any {
	if k == nil {
		return nil
	}
	o, v := object(k.Unrecognized), object(k.Value.Unrecognized)
	v["public"] = k.Value.Public
	o["keytype"], o["scheme"], o["keyval"] = k.Type, k.Scheme, v
	return o
}

func (k *Key) decode(d *decoder) {
	d.fields("key", []string{"keytype", "scheme", "keyval"}, func(name string) {
		switch name {
		case "keytype":
			k.Type = d.string(name)
		case "scheme":
			k.Scheme = d.string(name)
		case "keyval":
			d.fields(name, []string{"public"}, func(name string) {
				if name == "public" {
					k.Value.Public = d.string(name)
				} else {
					keep(&k.Value.Unrecognized, name, d.value(name))
				}
			})
		default:
			keep(&k.Unrecognized, name, d.value(name))
		}
	})
}

// MarshalJSON implements [json.Marshaler].
func (k *Key) MarshalJSON() ([]byte, error) { return json.Marshal(k.tree()) }

// UnmarshalJSON implements [json.Unmarshaler], as strict as [Parse].
func (k *Key) UnmarshalJSON(b []byte) error {
	d := &decoder{b: b}
	*k = Key{}
	k.decode(d)
	d.end()
	return d.err
}
