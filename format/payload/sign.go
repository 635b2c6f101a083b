package payload

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"mios"
)

// ErrSignature is what a payload's signature, metadata's or whole, comes to if
// none of the keys made it. It is a [mios.ErrDenied].
var ErrSignature = fmt.Errorf("signed by none of the trusted keys: %w", mios.ErrDenied)

// ErrData is what an operation's data comes to if it is not what the manifest
// names. It is a [mios.ErrInvalid].
var ErrData = fmt.Errorf("not what was signed for: %w", mios.ErrInvalid)

// ErrSource is what a partition that is installed comes to if it is not the one
// that the payload was made from. It is a [mios.ErrInvalid].
var ErrSource = fmt.Errorf("not the system that the payload was made from: %w", mios.ErrInvalid)

// Sign returns the message with each signer's PKCS #1 v1.5 signature over a
// SHA-256 digest. The signers' keys are RSA.
func Sign(digest [sha256.Size]byte, signers []crypto.Signer) (*Signatures, error) {
	s := new(Signatures)
	for i, k := range signers {
		pub, ok := k.Public().(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("payload key %d: %T, want an RSA key", i, k.Public())
		}
		sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("payload key %d: %w", i, err)
		}
		if err := rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig); err != nil {
			return nil, fmt.Errorf("payload key %d: its signature does not verify", i)
		}
		s.Signatures = append(s.Signatures, Signature{Data: sig, UnpaddedSize: uint32(len(sig))})
	}
	return s, nil
}

// signaturesSize returns how long what Sign returns will be.
func signaturesSize(signers []crypto.Signer) (int, error) {
	s := new(Signatures)
	for i, k := range signers {
		pub, ok := k.Public().(*rsa.PublicKey)
		if !ok {
			return 0, fmt.Errorf("payload key %d: %T, want an RSA key", i, k.Public())
		}
		s.Signatures = append(s.Signatures, Signature{Data: make([]byte, pub.Size()), UnpaddedSize: uint32(pub.Size())})
	}
	return len(s.Encode()), nil
}

// Verify returns nil if one of the signatures is one of the keys' over the
// digest, and else an error that wraps [ErrSignature].
func (s *Signatures) Verify(digest [sha256.Size]byte, keys []*rsa.PublicKey) error {
	if s == nil {
		return ErrSignature
	}
	for _, sig := range s.Signatures {
		data := sig.Data
		if n := sig.UnpaddedSize; n > 0 && int64(n) <= int64(len(data)) {
			data = data[:n]
		}
		for _, k := range keys {
			if rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], data) == nil {
				return nil
			}
		}
	}
	return ErrSignature
}

// Verify checks the signature over header and manifest.
func (m *Metadata) Verify(keys []*rsa.PublicKey) error {
	if err := m.Signatures.Verify(m.Hash(), keys); err != nil {
		return fmt.Errorf("metadata signature: %w", err)
	}
	return nil
}

// ParseKeys reads the public keys of a PEM file with one or more PUBLIC KEY
// blocks, such as update_engine's update-payload-key.pub.pem.
func ParseKeys(b []byte) ([]*rsa.PublicKey, error) {
	var keys []*rsa.PublicKey
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("payload key %d: %s in the PEM file, want PUBLIC KEY (openssl pkey -pubout makes it of a private key): %w", len(keys), block.Type, mios.ErrInvalid)
		}
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("payload key %d: %v: %w", len(keys), err, mios.ErrInvalid)
		}
		pub, ok := k.(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("payload key %d: %T, want an RSA key: %w", len(keys), k, mios.ErrInvalid)
		}
		keys = append(keys, pub)
	}
	if len(keys) == 0 {
		return nil, errors.Join(errors.New("payload keys: no PUBLIC KEY in the PEM file"), mios.ErrInvalid)
	}
	return keys, nil
}
