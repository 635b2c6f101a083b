package inspect

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/internal/conformance"
)

// sweeps are the folders of the vectors, and what their files are: by patterns
// of names, the first that matches. A file that no pattern names is inspected,
// too, and only has to be survived.
var sweeps = []struct {
	set   string
	kinds [][]string // pattern, kinds that are right
}{
	{"apksig", [][]string{{"*.apk", "apk"}, {"*.idsig", "idsig"}, {"*.jar", "jar", "zip"}, {"rsa-2048-2-1.x509.pem", "pem"}, {"*.x509.pem", "certificate"}, {"*.pk8", "private_key"},
		{"*lineage-invalid-magic", "unknown"}, {"*lineage*", "lineage"},
	}},
	{"avb", nil},
	{"bootloader", [][]string{
		{"boot_*.img", "boot"}, {"init_boot_*.img", "boot"}, {"vendor_boot_*.img", "vendor_boot"}, {"vbmeta_*.img", "vbmeta"}, {"vbmeta_*.bin", "vbmeta"},
		{"dtb*.img", "dtbo"}, {"*.dtb", "dtb"}, {"*.vbmeta", "vbmeta"}, {"testkey_*.pem", "private_key", "public_key"}, {"testkey_*pub.bin", "avb_public_key"},
		{"gpt_test_*.bin", "gpt"}, {"sparse_test.bin", "sparse"}, {"sparse_test_blk1024.bin", "sparse"}, {"cert_metadata.bin", "avb_cert_metadata"},
	}},
	{"mkbootimg", nil},
	{"liblp", [][]string{{"super.img", "super"}, {"super_empty.img", "super_empty"}}},
	{"sparse", [][]string{{"*.sparse", "sparse"}}},
	{"update_engine", [][]string{{"*payload.bin", "payload"}}},
	{"ota_zip", [][]string{{"random.zip", "unknown"}, {"*.zip", "ota"}, {"*.x509.pem", "certificate"}}},
	{"apps", [][]string{{"*.apk", "apk"}}},
	{"fdroid", [][]string{{"*.apk", "apk"}}},
	{"zip", [][]string{{"bad_filename.zip", "unknown"}, {"*.zip", "zip"}, {"*.apk", "apk"}}},
	{"keyattestation", [][]string{{"*.pem", "pem", "certificate"}}},
	{"init", nil},
	{"webpush", nil},
}

// TestConformance inspects every file of the vectors: none ends the program, and
// those of which the name says what they are, are said to be that.
func TestConformance(t *testing.T) {
	for _, sweep := range sweeps {
		t.Run(sweep.set, func(t *testing.T) {
			root := conformance.Dir(t, sweep.set)
			tally := conformance.New(t, "inspect "+sweep.set)
			table := make(map[string]int)
			err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() && sweep.set == "avb" && d.Name() == "blobs" {
					return fs.SkipDir // TestConformanceBlobs unpacks them
				}
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				r, err := Inspect(context.Background(), name, Options{})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return nil
				}
				table[r.Kind]++
				want := wanted(sweep.kinds, filepath.Base(name))
				ok := r.Title != "" && (want == nil || slices.Contains(want, r.Kind))
				tally.Case(ok)
				if !ok {
					t.Errorf("%s is %s, want %v", name, r.Kind, want)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %v", sweep.set, table)
		})
	}
}

func wanted(kinds [][]string, base string) []string {
	for _, k := range kinds {
		if ok, _ := path.Match(k[0], base); ok {
			return k[1:]
		}
	}
	return nil
}

// largeBlob is from how many bytes on recorded files are left out: they are
// images of noise, which take long under the race detector.
const largeBlob = 4 << 20

// TestConformanceBlobs looks into the recorded files of avbtool and mkbootimg,
// whose names say nothing: whatever has a magic is what that says. AOSP's test
// keys are among them, and must be called so.
func TestConformanceBlobs(t *testing.T) {
	magics := map[string]string{"AVB0": "vbmeta", "ANDROID!": "boot", "VNDRBOOT": "vendor_boot", "\x3a\xff\x26\xed": "sparse", "-----BEGIN ": "private_key public_key certificate pem"}
	for _, set := range []string{"avb", "mkbootimg"} {
		t.Run(set, func(t *testing.T) {
			dir := filepath.Join(conformance.Dir(t, set), "blobs")
			list, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			tally, tests := conformance.New(t, "inspect "+set+" blobs"), 0
			for _, d := range list {
				b := blob(t, filepath.Join(dir, d.Name()))
				if len(b) > largeBlob {
					continue
				}
				s := &scan{ctx: t.Context(), left: budget}
				r := s.inspect(&input{ReaderAt: bytes.NewReader(b), name: d.Name(), size: int64(len(b))})
				if strings.Contains(words(t, r), "AOSP's public test key") {
					tests++
				}
				for magic, kinds := range magics {
					if bytes.HasPrefix(b, []byte(magic)) {
						ok := slices.Contains(strings.Fields(kinds), r.Kind)
						tally.Case(ok)
						if !ok {
							t.Errorf("%s is %s, want %s", d.Name(), r.Kind, kinds)
						}
					}
				}
			}
			if set == "avb" && tests < 50 {
				t.Errorf("%d blobs with a test key of AOSP's", tests)
			}
		})
	}
}

func blob(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return b
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		tb.Fatal(err)
	}
	if b, err = io.ReadAll(io.LimitReader(z, largeBlob+1)); err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestConformanceParts looks into what real packages are made of.
func TestConformanceParts(t *testing.T) {
	dir := conformance.Dir(t, "apps")
	tally := conformance.New(t, "inspect parts of apps")
	names, err := filepath.Glob(filepath.Join(dir, "*.apk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		z, err := zip.OpenReader(name)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for _, f := range z.File {
			want := map[string]string{".dex": "dex", ".arsc": "arsc", ".so": "elf"}[path.Ext(f.Name)]
			if f.Name == "AndroidManifest.xml" {
				want = "axml"
			}
			if want == "" {
				continue
			}
			b := must(io.ReadAll(must(f.Open())))
			s := &scan{ctx: t.Context(), left: budget}
			r := s.inspect(&input{ReaderAt: bytes.NewReader(b), name: "a part", size: int64(len(b))})
			ok := r.Kind == want && r.OK()
			tally.Case(ok)
			if !ok {
				t.Errorf("%s of %s is %s, want %s", f.Name, filepath.Base(name), words(t, r), want)
			}
		}
	}
}

// TestConformanceVerdict compares what is said to be wrong, or not, with what
// AOSP's own tests and tools say of the same files.
func TestConformanceVerdict(t *testing.T) {
	t.Run("apksig", func(t *testing.T) {
		root := conformance.Dir(t, "apksig")
		tally := conformance.New(t, "inspect apksig verdicts")
		for _, f := range rows(t, filepath.Join(root, "expect.tsv")) {
			if len(f) < 5 || f[1] != "" || f[2] != "" || f[3] != "verify" || f[4] != "verified" && f[4] != "not_verified" {
				continue
			}
			r, err := Inspect(context.Background(), filepath.Join(root, "apks", f[0]), Options{})
			if err != nil {
				t.Fatal(err)
			}
			signed := slices.ContainsFunc(r.Signatures, func(s Signature) bool { return s.State == verified })
			ok := signed == (f[4] == "verified")
			tally.Case(ok)
			if !ok {
				t.Errorf("%s: %s by AOSP; here %s", f[0], f[4], words(t, r))
			}
		}
	})
	t.Run("avb", func(t *testing.T) {
		root := conformance.Dir(t, "avb")
		tally := conformance.New(t, "inspect vbmeta verdicts")
		b, err := os.ReadFile(filepath.Join(root, "vbmeta_verify.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			var c struct{ Blob, Result string }
			if err := json.Unmarshal(line, &c); err != nil {
				t.Fatal(err)
			}
			in := blob(t, filepath.Join(root, "blobs", c.Blob+".gz"))
			s := &scan{ctx: t.Context(), left: budget}
			r := s.inspect(&input{ReaderAt: bytes.NewReader(in), name: "vbmeta.img", size: int64(len(in))})
			ok := r.OK() == (c.Result == "OK" || c.Result == "OK_NOT_SIGNED")
			tally.Case(ok)
			if !ok {
				t.Errorf("%s: %s by libavb; here %s", c.Blob, c.Result, words(t, r))
			}
		}
	})
}

// rows are the lines of a file, by their tabs, without comments.
func rows(tb testing.TB, name string) (out [][]string) {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.Split(strings.TrimRight(line, "\n"), "\t"))
		}
	}
	return out
}
