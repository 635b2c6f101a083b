package sign

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/format/avb"
	"mios/format/sparse"
	"mios/internal/testkit"
)

func TestEditTags(t *testing.T) {
	for _, tt := range []struct{ tags, changes, want string }{
		{"test-keys", "-test-keys,-dev-keys,+release-keys", "release-keys"},
		{"dev-keys,b,a", "-test-keys,-dev-keys,+release-keys", "a,b,release-keys"},
		{"release-keys", "-test-keys,-dev-keys,+release-keys", "release-keys"},
		{"a,test-keys", "-test-keys", "a"},
		{"test-keys", "+foo,-foo", "test-keys"},
	} {
		if got := editTags(tt.tags, strings.Split(tt.changes, ",")); got != tt.want {
			t.Errorf("editTags(%q, %q) = %q, want %q", tt.tags, tt.changes, got, tt.want)
		}
	}
	for _, bad := range []string{"", "-", "release-keys", "+a b", "+a/b"} {
		if checkTags([]string{bad}) == nil {
			t.Errorf("checkTags(%q) = nil, want an error", bad)
		}
	}
}

// TestRewriteProperties has the cases of releasetools'
// test_sign_target_files_apks.py, and lines that must stay as they are.
func TestRewriteProperties(t *testing.T) {
	for _, tt := range [][2]string{
		{"", ""},
		{"ro.build.fingerprint=foo/bar/dev-keys\n", "ro.build.fingerprint=foo/bar/release-keys\n"},
		{"ro.build.thumbprint=foo/bar/test-keys", "ro.build.thumbprint=foo/bar/release-keys"},
		{"ro.vendor.build.fingerprint=foo/bar/dev-keys", "ro.vendor.build.fingerprint=foo/bar/release-keys"},
		{"ro.bootimage.build.fingerprint=foo/bar/test-keys", "ro.bootimage.build.fingerprint=foo/bar/release-keys"},
		{"ro.build.description='foo bar dev-keys", "ro.build.description='foo bar release-keys"},
		{"ro.build.tags=dev-keys", "ro.build.tags=release-keys"},
		{"ro.product.build.tags=test-keys", "ro.product.build.tags=release-keys"},
		{"# comment ro.build.tags=dev-keys", "# comment ro.build.tags=dev-keys"},
		{"ro.build.display.id=foo dev-keys", "ro.build.display.id=foo"},
		{"ro.build.display.id=foo", "ro.build.display.id=foo"},
		{"ro.build.display.id=dev-keys", "ro.build.display.id=dev-keys"},
		{"sys.build.tags=dev-keys\r\n  x  \n\n", "sys.build.tags=dev-keys\r\n  x  \n\n"},
		{"ro.build.fingerprint=\n", "ro.build.fingerprint=\n"},
	} {
		if got := string(rewriteProperties([]byte(tt[0]), DefaultTags)); got != tt[1] {
			t.Errorf("rewriteProperties(%q) = %q, want %q", tt[0], got, tt[1])
		}
	}
}

// FuzzRewriteProperties: what was rewritten is not rewritten again, and has as
// many lines.
func FuzzRewriteProperties(f *testing.F) {
	f.Add("ro.build.tags=dev-keys\nro.build.fingerprint=a/b:1/C/d:user/test-keys\nro.build.display.id=A dev-keys\n")
	f.Add("ro.build.description=a b test-keys\n#ro.build.tags=dev-keys")
	f.Fuzz(func(t *testing.T, in string) {
		once := rewriteProperties([]byte(in), DefaultTags)
		if twice := rewriteProperties(once, DefaultTags); !bytes.Equal(once, twice) && !strings.Contains(in, "ro.build.display.id") {
			t.Errorf("%q became %q, and then %q", in, once, twice)
		}
		if a, b := strings.Count(in, "\n"), bytes.Count(once, []byte("\n")); a != b {
			t.Errorf("%d lines became %d", a, b)
		}
	})
}

func TestKeyNames(t *testing.T) {
	r := newKeyring(&Options{
		Mapping:  map[string]string{"build/x/media": "m", "shared": "s"},
		AVB:      map[string]string{"boot": "b"},
		Payloads: map[string]string{"a.apex": "p"},
	})
	for _, tt := range []struct {
		got  []string
		want string
	}{
		{r.certificateNames("build/x/testkey"), "releasekey app-releasekey app"},
		{r.certificateNames("build/x/media"), "m"},
		{r.certificateNames("build/y/media"), "media app-media"},
		{r.certificateNames("vendor/a/shared"), "s"},
		{r.certificateNames("build/x/sdk_sandbox"), "sdk_sandbox app-sdk-sandbox"},
		{r.certificateNames("apex/com.android.Tz"), "com.android.Tz app-com-android-tz"},
		{r.payloadNames("a.apex", "x/com.a.pem"), "p"},
		{r.payloadNames("b.apex", "x/com.b.pem"), "com.b avb-com-b avb-apex"},
		{r.avbNames("boot"), "b"},
		{r.avbNames("vbmeta_system"), "avb-vbmeta-system avb_vbmeta_system avb"},
	} {
		if got := strings.Join(tt.got, " "); got != tt.want {
			t.Errorf("names %q, want %q", got, tt.want)
		}
	}
}

// TestFinder puts a key into bytes in every way in which keys are written, at
// every offset that matters, and wants it found.
func TestFinder(t *testing.T) {
	key := testkit.RSA(0)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	lost := map[string]any{}
	for _, pub := range []any{&key.PublicKey, &ec.PublicKey} {
		id, err := keyID(pub)
		if err != nil {
			t.Fatal(err)
		}
		lost[id] = pub
	}
	forms := map[string][]byte{"text": []byte(hex.EncodeToString(key.N.Bytes()))}
	if forms["der"], err = x509.MarshalPKIXPublicKey(&key.PublicKey); err != nil {
		t.Fatal(err)
	}
	if forms["avb"], err = avb.EncodePublicKey(&key.PublicKey); err != nil {
		t.Fatal(err)
	}
	if forms["ec"], err = x509.MarshalPKIXPublicKey(&ec.PublicKey); err != nil {
		t.Fatal(err)
	}
	forms["upper"] = bytes.ToUpper(forms["text"])
	forms["pem"] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: forms["der"]})
	forms["mincrypt"] = slices.Clone(key.N.Bytes())
	slices.Reverse(forms["mincrypt"])
	for name, b := range forms {
		for _, off := range []int{0, 1, 31, 32, 63, 4095, scanStep - 100, scanStep + overlap - 40, 2*scanStep + 17} {
			found := 0
			f := newFinder(lost, nil, func(string, string) { found++ })
			in := append(append(make([]byte, off), b...), make([]byte, 1000)...)
			if err := f.reader("x", bytes.NewReader(in)); err != nil || found == 0 {
				t.Errorf("%s at %d: found %d, %v", name, off, found, err)
			}
		}
	}
	none := newFinder(lost, nil, func(where, key string) { t.Errorf("found %s in bytes without", key) })
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	none.bytes("x", bytes.Repeat(other.N.Bytes(), 100))
	trusted := map[string]bool{}
	for id := range lost {
		trusted[id] = true
	}
	newFinder(lost, trusted, none.report).bytes("der", forms["der"]) // the vendor's own
}

// FuzzFinder looks through anything.
func FuzzFinder(f *testing.F) {
	pub := &testkit.RSA(0).PublicKey
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	f.Add(append([]byte("PK\x03\x04"), der...))
	f.Fuzz(func(t *testing.T, in []byte) {
		find := newFinder(map[string]any{"x": pub}, nil, func(string, string) {})
		for _, name := range []string{"a.apk", "a.apex", "otacerts.zip", "mac_permissions.xml", "k.avbpubkey", "a.img"} {
			_ = find.file(name, bytes.NewReader(in), int64(len(in))) // an error, or none: no panic
		}
	})
}

func TestCutFill(t *testing.T) {
	hole := func(start, blocks uint32) sparse.Chunk {
		return sparse.Chunk{Kind: sparse.Hole, Start: start, Blocks: blocks}
	}
	old := []sparse.Chunk{hole(2, 3), hole(10, 5), hole(20, 100)}
	for _, tt := range []struct {
		start, blocks uint32
		want          string
	}{
		{0, 2, "F0+2"}, {0, 3, "F0+2 H2+1"}, {3, 1, "H3+1"}, {4, 8, "H4+1 F5+5 H10+2"}, {5, 5, "F5+5"},
		{14, 10, "H14+1 F15+5 H20+4"}, {119, 4, "H119+1 F120+3"}, {130, 2, "F130+2"},
	} {
		var got []string
		for _, c := range cutFill(sparse.Chunk{Kind: sparse.Fill, Start: tt.start, Blocks: tt.blocks}, old) {
			kind := "F"
			if c.Kind == sparse.Hole {
				kind = "H"
			}
			got = append(got, fmt.Sprintf("%s%d+%d", kind, c.Start, c.Blocks))
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("cutFill(%d+%d) = %s, want %s", tt.start, tt.blocks, g, tt.want)
		}
	}
}

// TestFinderDepth looks into zips in zips: there are some that hold themselves.
func TestFinderDepth(t *testing.T) {
	f := newFinder(nil, nil, func(where, key string) { t.Errorf("found %s in %s", key, where) })
	var inner []byte
	for depth := range maxNesting {
		err := f.file("a.zip", bytes.NewReader(inner), int64(len(inner)))
		if err != nil {
			t.Errorf("%d deep: %v", depth, err)
		}
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create("a.zip")
		if err == nil {
			_, err = w.Write(inner)
		}
		if err = errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		inner = b.Bytes()
	}
	if err := f.file("a.zip", bytes.NewReader(inner), int64(len(inner))); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("%d deep: %v, want invalid", maxNesting, err)
	}
}
