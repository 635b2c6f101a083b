package apksig_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/format/apksig"
)

// TestSandbox wants all that is wrong with packages for the second sandbox: that
// v1 is not enough for them, and what is wrong with v1.
func TestSandbox(t *testing.T) {
	root, err := apk.ParseText([]byte(strings.Replace(manifestText, "<manifest ", `<manifest android:targetSandboxVersion="2" `, 1)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	by := []apksig.Signer{fixedSigner(t)}
	for _, tt := range []struct {
		name string
		pkg  []byte
		v1   bool
		want []string
	}{
		{"unsigned", b.Bytes(), false, []string{"JAR_SIG_NO_MANIFEST", "NO_SIG_FOR_TARGET_SANDBOX_VERSION"}},
		{"v1", sign(t, b.Bytes(), apksig.SignOptions{V1: true, Signers: by}), true, []string{"NO_SIG_FOR_TARGET_SANDBOX_VERSION"}},
		{"v1+v2", sign(t, b.Bytes(), apksig.SignOptions{V1: true, V2: true, Signers: by}), true, nil},
	} {
		res, err := verify(t, tt.pkg, apksig.Options{MinSDK: 21})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var got []string
		for _, i := range res.Errors {
			got = append(got, i.Name)
		}
		if !slices.Equal(got, tt.want) || res.VerifiedBy(apksig.V1) != tt.v1 {
			t.Errorf("%s: errors %v, by v1 %v, want %v, %v", tt.name, got, res.VerifiedBy(apksig.V1), tt.want, tt.v1)
		}
	}
}

// TestOddMethod has a method in a local header that is not the directory's, which
// is what counts: the package verifies, as on devices, but is not taken as one
// that all readers read alike.
func TestOddMethod(t *testing.T) {
	b := sign(t, unsigned(t), apksig.SignOptions{V1: true, Signers: []apksig.Signer{fixedSigner(t)}})
	b[8] = byte(apk.Store) // of the manifest, which is deflated
	res, err := verify(t, b, apksig.Options{MinSDK: 21, MaxSDK: 23})
	if err != nil || !res.Verified() {
		t.Errorf("Verify = %+v, %v, want verified", res, err)
	}
	const want = "method 0 in the local header, 8 in the directory"
	if _, err := apksig.Inspect(t.Context(), bytes.NewReader(b), int64(len(b)), 23); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Inspect: %v, want %q", err, want)
	}
}
