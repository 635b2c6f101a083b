package key

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"mios"
	"mios/internal/atomicfile"
)

// maxFile is more than any key file needs, in bytes.
const maxFile = 64 << 10

// Generate makes a new private key.
func Generate(alg Algorithm) (crypto.Signer, error) {
	switch alg {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case Ed25519:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}
	return nil, fmt.Errorf("key algorithm %q: %w", alg, mios.ErrInvalid)
}

// AlgorithmOf names the algorithm of a public key, in the manner of the
// constants also where it is none of them.
func AlgorithmOf(pub crypto.PublicKey) Algorithm {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return Algorithm(fmt.Sprintf("rsa%d", k.N.BitLen()))
	case *ecdsa.PublicKey:
		return Algorithm("ecdsa-" + strings.ToLower(strings.ReplaceAll(k.Params().Name, "-", "")))
	case ed25519.PublicKey:
		return Ed25519
	}
	return Algorithm(fmt.Sprintf("%T", pub))
}

// Fingerprint is the SHA-256 of a public key's PKIX form, in hexadecimal.
func Fingerprint(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// Load reads one private key: PKCS#8 in PEM (NAME.pem), the same encrypted
// with age and a passphrase (NAME.pem.age), or a helper (NAME.helper). A file
// that others than its owner may use is refused.
func Load(path string, pass Passphrase) (crypto.Signer, error) {
	b, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(path, extHelper):
		return loadHelper(path, b)
	case strings.HasSuffix(path, extAge):
		if b, err = decrypt(path, b, pass); err != nil {
			return nil, err
		}
	}
	return parsePrivate(path, b)
}

// readPrivate reads a file that must be its owner's alone.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key %s: its mode is %04o, so others than its owner may use it: %w: chmod 600 %s",
			path, fi.Mode().Perm(), mios.ErrDenied, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("key %s: over %d bytes: %w", path, maxFile, mios.ErrInvalid)
	}
	return b, nil
}

func decrypt(path string, b []byte, pass Passphrase) ([]byte, error) {
	if pass == nil {
		return nil, fmt.Errorf("key %s is encrypted and there is no passphrase: %w", path, mios.ErrDenied)
	}
	phrase, err := pass(path)
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(phrase)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	r, err := age.Decrypt(bytes.NewReader(b), id)
	if err != nil {
		return nil, fmt.Errorf("key %s: wrong passphrase or a broken file: %v: %w", path, err, mios.ErrDenied)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return nil, fmt.Errorf("key %s: %v: %w", path, err, mios.ErrInvalid)
	}
	return plain, nil
}

func parsePrivate(path string, b []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("key %s: no PKCS#8 private key (BEGIN PRIVATE KEY) in it: %w: openssl pkcs8 -topk8 -nocrypt makes one", path, mios.ErrInvalid)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %v: %w", path, err, mios.ErrInvalid)
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key %s: a %T cannot sign: %w", path, k, mios.ErrInvalid)
	}
	return signer, nil
}

// Save writes a private key that is in memory as PKCS#8, with mode 0600, and
// encrypted where passphrase is not empty (path then ends in ".pem.age"). The
// comment stands before the key and may be empty.
func Save(path string, k crypto.Signer, passphrase, comment string) error {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if comment != "" {
		fmt.Fprintf(&b, "# %s\n", comment)
	}
	if err := pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		return err
	}
	if passphrase != "" {
		if b, err = encrypt(b.Bytes(), passphrase); err != nil {
			return err
		}
	}
	return atomicfile.Write(path, &b, 0o600)
}

func encrypt(plain []byte, passphrase string) (b bytes.Buffer, err error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return b, err
	}
	w, err := age.Encrypt(&b, to)
	if err != nil {
		return b, err
	}
	if _, err := w.Write(plain); err != nil {
		return b, err
	}
	return b, w.Close()
}

// LoadPublic reads a public key: PKIX in PEM (BEGIN PUBLIC KEY).
func LoadPublic(path string) (crypto.PublicKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("key %s: no public key (BEGIN PUBLIC KEY) in it: %w", path, mios.ErrInvalid)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %v: %w", path, err, mios.ErrInvalid)
	}
	return pub, nil
}

// SavePublic writes what [LoadPublic] reads.
func SavePublic(path string, pub crypto.PublicKey) error {
	b, err := MarshalPublic(pub)
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(path, b, 0o644)
}

// MarshalPublic returns a public key as PKIX in PEM.
func MarshalPublic(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
