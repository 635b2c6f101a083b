package targetfiles

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"path"
	"strings"
	"sync"

	"mios/format/avb"
)

// A TestKey is one of AOSP's public test keys: its private half is in AOSP's
// sources, so everybody can sign with it.
type TestKey struct {
	Path string // of the key in AOSP's sources, without suffix: "build/make/target/product/security/platform"
}

// Name is the last part of Path: "platform", "testkey_rsa4096".
func (k TestKey) Name() string { return path.Base(k.Path) }

//go:embed testkeys.txt
var testKeyList string

// testKeys are all test keys by digest, in hexadecimal: of certificates, of
// their public keys, of keys in AVB's encoding.
var testKeys = sync.OnceValue(func() map[string]TestKey {
	m := make(map[string]TestKey)
	for line := range strings.Lines(testKeyList) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] == "#" {
			continue
		}
		k := TestKey{f[len(f)-1]}
		for _, digest := range f[1 : len(f)-1] {
			m[digest] = k
		}
	}
	return m
})

func findTestKey(b []byte) (TestKey, bool) {
	sum := sha256.Sum256(b)
	k, ok := testKeys()[hex.EncodeToString(sum[:])]
	return k, ok
}

// TestDigest says which test key has that SHA-256, in hexadecimal: of its
// certificate in AOSP, or of the public key in it, in DER.
func TestDigest(digest string) (TestKey, bool) {
	k, ok := testKeys()[digest]
	return k, ok
}

// TestCertificate says which test key a certificate is of: the certificate in
// AOSP, or another one of the same key.
func TestCertificate(c *x509.Certificate) (TestKey, bool) {
	if k, ok := findTestKey(c.Raw); ok {
		return k, true
	}
	return TestPublicKey(c.PublicKey)
}

// TestPublicKey says which test key a public key is, be it of a certificate or
// of AVB.
func TestPublicKey(pub any) (TestKey, bool) {
	if der, err := x509.MarshalPKIXPublicKey(pub); err == nil {
		if k, ok := findTestKey(der); ok {
			return k, true
		}
	}
	if r, ok := pub.(*rsa.PublicKey); ok {
		if b, err := avb.EncodePublicKey(r); err == nil {
			return findTestKey(b)
		}
	}
	return TestKey{}, false
}

// TestAVBKey says which test key a public key in AVB's encoding is.
func TestAVBKey(b []byte) (TestKey, bool) {
	if k, ok := findTestKey(b); ok {
		return k, true
	}
	pub, err := avb.ParsePublicKey(b)
	if err != nil {
		return TestKey{}, false
	}
	return TestPublicKey(pub)
}
