package sign_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"path/filepath"
	"testing"

	"mios/build/sign"
	"mios/build/sign/signtest"
	"mios/key"
)

// vendorKeys makes a folder of a vendor's keys.
func vendorKeys(t *testing.T) sign.Folder {
	t.Helper()
	dir := t.TempDir()
	for name, bits := range map[string]int{
		"releasekey": 2048, "platform": 2048, "shared": 2048, "media": 2048, "networkstack": 2048,
		"com.android.hello": 4096, "com.android.compressed": 4096, "avb": 4096, "avb-boot": 2048,
	} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Save(filepath.Join(dir, name+".pem"), k, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	return sign.Folder{Path: dir}
}

func TestTargetFiles(t *testing.T) {
	target := signtest.New(t, signtest.Options{})
	in := target.Zip(t)
	out := filepath.Join(t.TempDir(), "signed.zip")
	r, err := sign.TargetFiles(context.Background(), in, out, sign.Options{Keys: vendorKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Changes {
		t.Logf("%+v", c)
	}
}
