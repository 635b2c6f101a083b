package avbtool

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxKeyFile is more than any key file needs, in bytes.
const maxKeyFile = 64 << 10

// LoadKey reads an RSA key as openssl keeps it, PEM or DER: a private one
// (PKCS #1 or #8), or a public one (PKCS #1 or PKIX), for which the signer is
// nil.
func LoadKey(name string) (*rsa.PublicKey, crypto.Signer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(b) > maxKeyFile {
		return nil, nil, fmt.Errorf("key %s: over %d bytes", name, maxKeyFile)
	}
	pub, key, err := ParseKey(b)
	if err != nil {
		return nil, nil, fmt.Errorf("key %s: %w", name, err)
	}
	return pub, key, nil
}

// ParseKey reads what is in the file of [LoadKey].
func ParseKey(b []byte) (*rsa.PublicKey, crypto.Signer, error) {
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	if k, err := x509.ParsePKCS1PrivateKey(b); err == nil {
		return &k.PublicKey, k, nil
	}
	if k, err := x509.ParsePKCS8PrivateKey(b); err == nil {
		if k, ok := k.(*rsa.PrivateKey); ok {
			return &k.PublicKey, k, nil
		}
		return nil, nil, fmt.Errorf("a %T: AVB signs with RSA keys", k)
	}
	if k, err := x509.ParsePKCS1PublicKey(b); err == nil {
		return k, nil, nil
	}
	if k, err := x509.ParsePKIXPublicKey(b); err == nil {
		if k, ok := k.(*rsa.PublicKey); ok {
			return k, nil, nil
		}
		return nil, nil, fmt.Errorf("a %T: AVB signs with RSA keys", k)
	}
	return nil, nil, errors.New("no RSA key in PEM or DER that is not encrypted: openssl genrsa 4096 makes one")
}
