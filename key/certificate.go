package key

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"mios"
)

// Certificate returns the self-signed certificate of an RSA key under a common
// name: what an APK's signer is known by. The same key and name give the same
// bytes; it is valid from 2020 to 2120, which Android does not look at.
func Certificate(k crypto.Signer, commonName string) (*x509.Certificate, error) {
	if _, ok := k.Public().(*rsa.PublicKey); !ok {
		return nil, fmt.Errorf("certificate of a %s key: %w: want an RSA key", AlgorithmOf(k.Public()), mios.ErrInvalid)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, err
	}
	serial := sha256.Sum256(append([]byte(commonName+"\x00"), der...))
	tmpl := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(serial[1:16]),
		Subject:            pkix.Name{CommonName: commonName},
		NotBefore:          time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:           time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	cert, err := x509.CreateCertificate(nil, tmpl, tmpl, k.Public(), k)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", commonName, err)
	}
	return x509.ParseCertificate(cert)
}
