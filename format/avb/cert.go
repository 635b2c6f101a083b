package avb

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// What keys of the avb_cert extension are for (formerly avb_atx): the texts
// whose SHA-256 a certificate's usage is.
const (
	UsageSigning               = "com.google.android.things.vboot"
	UsageIntermediateAuthority = "com.google.android.things.vboot.ca"
	UsageUnlock                = "com.google.android.things.vboot.unlock"
)

// Sizes of avb_cert's structures, in bytes (libavb_cert/avb_cert_types.h).
const (
	CertificateSize   = certSignedSize + certSignatureSize
	CertMetadataSize  = 4 + 2*CertificateSize
	CertProductIDSize = 16
	CertChallengeSize = 16

	certKeySize       = 8 + 2*4096/8
	certSignedSize    = 4 + certKeySize + 2*sha256.Size + 8
	certSignatureSize = 4096 / 8
	certVersion       = 1
)

// A Certificate of the avb_cert extension says what a key of 4096 bits is for
// (AvbCertCertificate).
type Certificate struct {
	PublicKey  []byte   // in AVB's encoding
	Subject    [32]byte // SHA-256 of what the key is for: for a signing key, the product's ID
	Usage      [32]byte // SHA-256 of a usage, as [UsageSigning]
	KeyVersion uint64   // older ones are refused
	Signature  []byte   // of the authority; empty: to be appended
}

// NewCertificate returns a certificate that is not signed yet.
func NewCertificate(key *rsa.PublicKey, subject []byte, usage string, version uint64) (*Certificate, error) {
	encoded, err := certKey(key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &Certificate{PublicKey: encoded, Subject: sha256.Sum256(subject), Usage: sha256.Sum256([]byte(usage)), KeyVersion: version}, nil
}

func certKey(key *rsa.PublicKey) ([]byte, error) {
	if n := key.N.BitLen(); n != 4096 {
		return nil, fmt.Errorf("avb: RSA key of %d bits: avb_cert wants 4096", n)
	}
	return EncodePublicKey(key)
}

func (c *Certificate) signed() []byte {
	b := binary.LittleEndian.AppendUint32(nil, certVersion)
	b = append(append(append(b, c.PublicKey...), c.Subject[:]...), c.Usage[:]...)
	return binary.LittleEndian.AppendUint64(b, c.KeyVersion)
}

// Bytes returns the encoded certificate, without a signature's bytes if it has
// none.
func (c *Certificate) Bytes() []byte { return append(c.signed(), c.Signature...) }

// Sign signs the certificate with the authority's key, of 4096 bits.
func (c *Certificate) Sign(authority crypto.Signer) (err error) {
	c.Signature, err = signCert(authority, c.signed())
	return err
}

// Verify tells whether the certificate is signed by the authority's key, in
// AVB's encoding.
func (c *Certificate) Verify(authority []byte) error {
	pub, err := ParsePublicKey(authority)
	if err != nil {
		return err
	}
	sum := sha512.Sum512(c.signed())
	if err := rsa.VerifyPKCS1v15(pub, crypto.SHA512, sum[:], c.Signature); err != nil {
		return fmt.Errorf("avb: certificate: the authority has not signed it: %w", err)
	}
	return nil
}

// signCert signs as all of avb_cert is signed, and checks the signer's answer.
func signCert(key crypto.Signer, data []byte) ([]byte, error) {
	pub, ok := key.Public().(*rsa.PublicKey)
	if !ok || pub.N.BitLen() != 4096 {
		return nil, fmt.Errorf("avb: avb_cert: the key is not an RSA key of 4096 bits")
	}
	sum := sha512.Sum512(data)
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA512)
	if err != nil {
		return nil, fmt.Errorf("avb: avb_cert: %w", err)
	}
	if err := rsa.VerifyPKCS1v15(pub, crypto.SHA512, sum[:], sig); err != nil {
		return nil, fmt.Errorf("avb: avb_cert: the signer returned a wrong signature: %v", err)
	}
	return sig, nil
}

// ParseCertificate reads a signed certificate that fills b. Errors are
// [*FormatError]. It verifies nothing: see [Certificate.Verify].
func ParseCertificate(b []byte) (*Certificate, error) {
	if len(b) != CertificateSize {
		return nil, bad(0, "certificate of %d bytes, want %d", len(b), CertificateSize)
	}
	le := binary.LittleEndian
	if v := le.Uint32(b); v != certVersion {
		return nil, bad(0, "certificate of version %d, want %d", v, certVersion)
	}
	c := &Certificate{PublicKey: append([]byte(nil), b[4:][:certKeySize]...)}
	rest := b[4+certKeySize:]
	rest = rest[copy(c.Subject[:], rest):]
	rest = rest[copy(c.Usage[:], rest):]
	c.KeyVersion = le.Uint64(rest)
	c.Signature = append([]byte(nil), rest[8:]...)
	return c, nil
}

// CertMetadata is the public key metadata of a vbmeta image that is signed in
// the way of avb_cert (AvbCertPublicKeyMetadata).
type CertMetadata struct {
	Intermediate, Signing *Certificate
}

// ParseCertMetadata reads the metadata that fills b.
func ParseCertMetadata(b []byte) (*CertMetadata, error) {
	if len(b) != CertMetadataSize {
		return nil, bad(0, "avb_cert metadata of %d bytes, want %d", len(b), CertMetadataSize)
	}
	if v := binary.LittleEndian.Uint32(b); v != certVersion {
		return nil, bad(0, "avb_cert metadata of version %d, want %d", v, certVersion)
	}
	pik, err := ParseCertificate(b[4:][:CertificateSize])
	if err != nil {
		return nil, err
	}
	psk, err := ParseCertificate(b[4+CertificateSize:])
	if err != nil {
		return nil, err
	}
	return &CertMetadata{pik, psk}, nil
}

// Bytes returns the encoded metadata. Both certificates must be signed.
func (m *CertMetadata) Bytes() ([]byte, error) {
	b := binary.LittleEndian.AppendUint32(nil, certVersion)
	b = append(append(b, m.Intermediate.Bytes()...), m.Signing.Bytes()...)
	if len(b) != CertMetadataSize {
		return nil, fmt.Errorf("avb: avb_cert metadata: a certificate is not signed")
	}
	return b, nil
}

// CertPermanentAttributes returns what is burnt into a device of the product
// with that ID (AvbCertPermanentAttributes): the root authority's key.
func CertPermanentAttributes(root *rsa.PublicKey, productID []byte) ([]byte, error) {
	if len(productID) != CertProductIDSize {
		return nil, fmt.Errorf("avb: product ID of %d bytes: want %d", len(productID), CertProductIDSize)
	}
	key, err := certKey(root)
	if err != nil {
		return nil, fmt.Errorf("permanent attributes: %w", err)
	}
	b := binary.LittleEndian.AppendUint32(nil, certVersion)
	return append(append(b, key...), productID...), nil
}

// CertUnlockCredential returns what unlocks a device
// (AvbCertUnlockCredential): two certificates, and the signature of the unlock
// key over the device's challenge, without which it is to be appended.
func CertUnlockCredential(intermediate, unlock *Certificate, challenge []byte, key crypto.Signer) ([]byte, error) {
	m := CertMetadata{intermediate, unlock} // begins in the same way
	b, err := m.Bytes()
	if err != nil || key == nil {
		return b, err
	}
	if len(challenge) != CertChallengeSize {
		return nil, fmt.Errorf("avb: unlock challenge of %d bytes: want %d", len(challenge), CertChallengeSize)
	}
	sig, err := signCert(key, challenge)
	if err != nil {
		return nil, err
	}
	return append(b, sig...), nil
}
