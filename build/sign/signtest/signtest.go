// Package signtest makes what a build of AOSP hands to those who sign it: a
// target-files folder, and the zip of it, in the layout of AOSP's releasetools,
// with apps, APEXes, file systems, boot images, a chain of three vbmeta images
// and a super partition, signed throughout with test keys that it makes.
//
// Only tests import it. It takes Debian's mke2fs, debugfs and mkfs.erofs. Test
// keys are made anew in each process, so nothing of it is the same in two runs;
// within one run the same options give the same bytes.
package signtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"testing"
)

// The names of the certificates that META/apkcerts.txt uses, as AOSP's
// build/make/target/product/security does.
const (
	TestKey      = "testkey"
	Platform     = "platform"
	Shared       = "shared"
	Media        = "media"
	NetworkStack = "networkstack"
)

// A Pair is a private key and its certificate.
type Pair struct {
	Name        string // as in META: "platform"
	Key         *rsa.PrivateKey
	Certificate *x509.Certificate
}

// Keys are the test keys that a target-files zip is signed with: what must not
// be left in it once it was signed by a vendor.
type Keys struct {
	Apps map[string]*Pair           // by the names above
	APEX map[string]*Pair           // container keys of APEXes, by APEX name
	AVB  map[string]*rsa.PrivateKey // by name: "testkey_rsa4096", "testkey_rsa2048", and the payload keys of APEXes by APEX name
}

// NewKeys returns this process's test keys.
func NewKeys() *Keys { return newKeys() }

// Public returns all public keys, RSA, in no particular order.
func (k *Keys) Public() []crypto.PublicKey { return k.public() }

// Options say what is made. The zero value makes the smallest: some 30 MiB.
type Options struct {
	// Padding is how many bytes of files are added to the system partition, half
	// of which does not compress: for measurements.
	Padding int64
	// APKs are files of other people's APKs that are added as presigned apps,
	// by the name that they get: "Settings.apk". Those of the conformance vectors
	// are added where MIOS_CONFORMANCE is set.
	APKs map[string]string
	// Tethering adds the APEX com.android.tethering, with the resources of
	// connectivity in it.
	Tethering bool
}

// A Target is a target-files folder that was made.
type Target struct {
	Dir     string
	Keys    *Keys
	Options Options
}

// New makes a target-files folder in a folder that goes with the test.
func New(tb testing.TB, o Options) *Target {
	tb.Helper()
	t := &Target{Dir: tb.TempDir(), Keys: NewKeys(), Options: o}
	t.make(tb)
	return t
}

// Zip writes the zip of the folder, as releasetools' does, beside no other
// files of the test, and returns its path.
func (t *Target) Zip(tb testing.TB) string {
	tb.Helper()
	return t.zip(tb)
}
