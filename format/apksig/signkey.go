package apksig

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
)

// ParsePrivateKey reads a private key in PKCS #8, DER, unencrypted: RSA, ECDSA
// or DSA.
func ParsePrivateKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("private key: it cannot sign")
	}
	return s, nil
}
