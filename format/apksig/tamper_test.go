package apksig_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/format/apksig"
)

// contents returns the data of a package's entries outside META-INF, by name:
// what a JAR signature covers.
func contents(tb testing.TB, b []byte) map[string]string {
	tb.Helper()
	f, err := apk.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	out := make(map[string]string)
	for i := range f.Entries {
		e := &f.Entries[i]
		if strings.HasPrefix(e.Name, "META-INF/") {
			continue
		}
		r, err := f.OpenEntry(e)
		if err != nil {
			tb.Fatal(err)
		}
		data, _ := io.ReadAll(r) // a CRC-32, or bytes behind the compressed data, are no signature's concern
		out[e.Name] = string(data)
	}
	return out
}

// odd reports whether package apk refuses the package for nothing but a method
// that is not the other header's. What was verified is what the directory's
// stands for, and any that is not zero stands for deflate.
func odd(b []byte) bool {
	_, err := apk.Open(bytes.NewReader(b), int64(len(b)))
	e, ok := errors.AsType[*apk.FormatError](err)
	return ok && e.Odd
}

// TestTampered flips every third byte of packages that are signed in several ways.
// Where one verifies still, nothing may have changed that is signed: with v1 no
// entry outside META-INF, with the other schemes nothing but the signing block.
func TestTampered(t *testing.T) {
	old, newer := fixedSigner(t), ecSigner(t, elliptic.P256())
	for _, tt := range []struct {
		name string
		sign apksig.SignOptions
		o    apksig.Options
	}{
		{"v1", apksig.SignOptions{V1: true}, apksig.Options{MinSDK: 21, MaxSDK: 23}},
		{"v1 for old platforms", apksig.SignOptions{V1: true, MinSDK: 9, Signers: []apksig.Signer{rsaSigner(t, 2048)}}, apksig.Options{MinSDK: 9, MaxSDK: 23}},
		{"v1 of several", apksig.SignOptions{V1: true, Signers: []apksig.Signer{old, newer}}, apksig.Options{MinSDK: 21, MaxSDK: 23}},
		{"v1+v2+v3", apksig.SignOptions{V1: true, V2: true, V3: true}, apksig.Options{MinSDK: 21}},
		{"v2 and v3", apksig.SignOptions{V2: true, V3: true}, apksig.Options{MinSDK: 24}},
		{"v3.1", apksig.SignOptions{V3: true, V2: true, Signers: []apksig.Signer{old, newer}, Lineage: lineageOf(t, old, newer)}, apksig.Options{MinSDK: 24}},
		{"verity", apksig.SignOptions{V3: true, Verity: true}, apksig.Options{MinSDK: 28}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.sign.Signers == nil {
				tt.sign.Signers = []apksig.Signer{old}
			}
			good := sign(t, unsigned(t), tt.sign)
			if res, err := verify(t, good, tt.o); err != nil || !res.Verified() {
				t.Fatalf("Verify = %+v, %v", res, err)
			}
			want, whole := contents(t, good), ""
			if tt.sign.V2 || tt.sign.V3 {
				whole = covered(good)
			}
			b := bytes.Clone(good)
			kept := 0
			for i := range b {
				if i%3 > 0 || i > 0 && b[i] == 0 && b[i-1] == 0 && i%61 > 0 { // of padding, a few
					continue
				}
				b[i] ^= 1 << (i % 8)
				if res, err := verify(t, b, tt.o); err == nil && res.Verified() {
					kept++
					if whole != "" && covered(b) != whole {
						t.Errorf("byte %#x changed, and the package verifies", i)
					}
					if whole == "" && !odd(b) && !maps.Equal(contents(t, b), want) {
						t.Errorf("byte %#x changed, another entry is read, and the package verifies", i)
					}
				}
				b[i] = good[i]
			}
			if kept == len(b) {
				t.Error("every change was let pass")
			}
		})
	}
}

// TestEntries changes what a JAR signature is about, entry by entry, and wants
// AOSP's name for it.
func TestEntries(t *testing.T) {
	signed := sign(t, unsigned(t), apksig.SignOptions{V1: true, Signers: []apksig.Signer{fixedSigner(t)}})
	for _, tt := range []struct {
		name   string
		change func(name string, data []byte) (string, []byte)
		more   map[string]string
		want   string // "": it verifies
	}{
		{"nothing", nil, nil, ""},
		{"other data", func(n string, d []byte) (string, []byte) {
			if n == "assets/a" {
				d = []byte("other")
			}
			return n, d
		}, nil, "JAR_SIG_ZIP_ENTRY_DIGEST_DID_NOT_VERIFY"},
		{"an entry more", nil, map[string]string{"assets/z": "z"}, "JAR_SIG_NO_ZIP_ENTRY_DIGEST_IN_MANIFEST"},
		{"an entry more in META-INF", nil, map[string]string{"META-INF/z": "z"}, ""},
		{"an entry fewer", func(n string, d []byte) (string, []byte) {
			if n == "assets/a" {
				n = ""
			}
			return n, d
		}, nil, "JAR_SIG_MISSING_ZIP_ENTRY_REFERENCED_IN_MANIFEST"},
		{"no manifest", without(".MF"), nil, "JAR_SIG_NO_MANIFEST"},
		{"no signature file", without(".SF"), nil, "JAR_SIG_NO_SIGNATURES"},
		{"no signature block", without(".RSA", ".EC", ".DSA"), nil, "JAR_SIG_NO_SIGNATURES"},
		{"no PKCS #7", instead("junk", ".RSA", ".EC", ".DSA"), nil, "JAR_SIG_PARSE_EXCEPTION"},
		{"other signature file", instead("Signature-Version: 1.0\r\n\r\n", ".SF"), nil, "JAR_SIG_DID_NOT_VERIFY"},
		{"section without a name", instead("Manifest-Version: 1.0\r\n\r\nX: y\r\n\r\n", ".MF"), nil, "JAR_SIG_UNNNAMED_MANIFEST_SECTION"},
		{"section twice", instead("Manifest-Version: 1.0\r\n\r\nName: assets/a\r\n\r\nName: assets/a\r\n\r\n", ".MF"), nil, "JAR_SIG_DUPLICATE_MANIFEST_SECTION"},
		{"other manifest", instead("Manifest-Version: 1.0\r\n\r\nName: assets/a\r\n\r\n", ".MF"), nil, "JAR_SIG_NO_ZIP_ENTRY_DIGEST_IN_SIG_FILE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, err := verify(t, rewrite(t, signed, tt.change, tt.more), apksig.Options{MinSDK: 21, MaxSDK: 23})
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" && !res.Verified() || tt.want != "" && !named(append(res.Errors, res.Warnings...), tt.want) {
				t.Errorf("Verify = %+v, want %q", res, tt.want)
			}
			if res.Verified() != (tt.want == "") {
				t.Errorf("Verified = %v", res.Verified())
			}
		})
	}
}

func without(suffixes ...string) func(string, []byte) (string, []byte) {
	return func(name string, data []byte) (string, []byte) {
		for _, s := range suffixes {
			if strings.HasSuffix(name, s) {
				name = ""
			}
		}
		return name, data
	}
}

func instead(text string, suffixes ...string) func(string, []byte) (string, []byte) {
	return func(name string, data []byte) (string, []byte) {
		for _, s := range suffixes {
			if strings.HasSuffix(name, s) {
				data = []byte(text)
			}
		}
		return name, data
	}
}

// rewrite writes a package's entries anew, each as change gives it, "" for none,
// and some more.
func rewrite(t *testing.T, b []byte, change func(string, []byte) (string, []byte), more map[string]string) []byte {
	t.Helper()
	f, err := apk.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := apk.NewWriter(&out)
	add := func(name string, data []byte) {
		if name != "" {
			if err := w.Add(name, apk.Deflate, bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range f.Entries {
		name := f.Entries[i].Name
		data, err := f.ReadFile(name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			name, data = change(name, data)
		}
		add(name, data)
	}
	for name, data := range more {
		add(name, []byte(data))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestApksignerSigned verifies what Debian's apksigner signed, by each scheme
// that it knows.
func TestApksignerSigned(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	in := filepath.Join(dir, "in.apk")
	if err := os.WriteFile(in, unsigned(t, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/p256.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key := filepath.Join(dir, "key.pk8")
	if err := os.WriteFile(key, block.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--v1-signing-enabled=true", "--v2-signing-enabled=false", "--v3-signing-enabled=false", "--min-sdk-version=18"},
		{"--v1-signing-enabled=false", "--v2-signing-enabled=true", "--v3-signing-enabled=false"},
		{"--v1-signing-enabled=true", "--v2-signing-enabled=true", "--v3-signing-enabled=true", "--min-sdk-version=18"},
	} {
		out := filepath.Join(dir, "out.apk")
		all := append([]string{"sign", "--key", key, "--cert", "testdata/p256.der", "--out", out}, append(args, in)...)
		if text, err := exec.Command("apksigner", all...).CombinedOutput(); err != nil {
			t.Fatalf("apksigner (Debian's package apksigner): %v\n%s", err, text)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		res, err := verify(t, b, apksig.Options{MinSDK: 18})
		if strings.Contains(args[0], "false") {
			res, err = verify(t, b, apksig.Options{MinSDK: 24})
		}
		if err != nil || !res.Verified() || len(res.Warnings) > 0 {
			t.Errorf("%v: Verify = %+v, %v", args, res, err)
		}
	}
}
