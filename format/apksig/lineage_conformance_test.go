package apksig_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/apksig"
	"mios/internal/conformance"
)

func digestOf(cert []byte) [32]byte { return sha256.Sum256(cert) }

// lineageFiles are the lineages in the set: the keys in them, and what their
// certificates may do where that is not the default. No keys: it is invalid.
var lineageFiles = map[string]struct {
	keys string
	caps []apksig.Capabilities // nil: the default of all
}{
	"ec-p256-lineage-2-signers":                     {keys: "ec-p256 ec-p256_2"},
	"rsa-1024-lineage-2-signers":                    {keys: "rsa-1024 rsa-1024_2"},
	"rsa-2048-lineage-2-signers":                    {keys: "rsa-2048 rsa-2048_2"},
	"rsa-2048-lineage-2-signers-2-3":                {keys: "rsa-2048_2 rsa-2048_3"},
	"rsa-2048-lineage-3-signers":                    {keys: "rsa-2048 rsa-2048_2 rsa-2048_3"},
	"rsa-2048-lineage-3-signers-1-no-caps":          {keys: "rsa-2048 rsa-2048_2 rsa-2048_3", caps: []apksig.Capabilities{0, 23, 23}},
	"rsa-2048-lineage-no-capabilities-first-signer": {keys: "rsa-2048 rsa-2048_2", caps: []apksig.Capabilities{0, 23}},
	"rsa-2048-to-4096-lineage-2-signers":            {keys: "rsa-2048 rsa-4096"},
	"rsa-2048-lineage-invalid-magic":                {},
	"rsa-2048-lineage-invalid-version":              {},
}

// TestLineageFiles reads AOSP's lineages, and makes those once more whose
// signatures are deterministic.
func TestLineageFiles(t *testing.T) {
	dir := filepath.Join(conformance.Dir(t, "apksig"), "apks")
	tally := conformance.New(t, "apksig lineage files")
	names, err := filepath.Glob(filepath.Join(dir, "*lineage*"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if filepath.Ext(name) == ".apk" {
			continue
		}
		n++
		want, ok := lineageFiles[filepath.Base(name)]
		if !ok {
			t.Errorf("%s is not in the test's table", filepath.Base(name))
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tally.Case(lineageFile(t, dir, filepath.Base(name), b, strings.Fields(want.keys), want.caps))
	}
	if n != len(lineageFiles) {
		t.Errorf("%d files, want %d", n, len(lineageFiles))
	}
}

func lineageFile(t *testing.T, dir, name string, b []byte, keys []string, caps []apksig.Capabilities) bool {
	l, err := apksig.ParseLineage(b)
	if len(keys) == 0 {
		_, ok := errors.AsType[*apksig.FormatError](err)
		if !ok {
			t.Errorf("%s: %v, want a FormatError", name, err)
		}
		return ok
	}
	if err != nil || !bytes.Equal(l.Bytes(), b) {
		t.Errorf("%s: %v, or other bytes", name, err)
		return false
	}
	signers := make([]apksig.Signer, len(keys))
	for i, key := range keys {
		signers[i] = loadSigner(t, filepath.Join(dir, key))
	}
	ours := chain(t, signers...)
	for i := range caps {
		if ours, err = ours.SetCapabilities(signers[i].Certificate, caps[i]); err != nil {
			t.Fatal(err)
		}
	}
	ok := printed(l) == printed(ours) && (strings.HasPrefix(name, "ec-") || bytes.Equal(ours.Bytes(), b))
	if !ok {
		t.Errorf("%s: holds\n%swant\n%s, with deterministic signatures byte for byte", name, printed(l), printed(ours))
	}
	return ok
}

// TestLineageAPKs reads the lineages that signed packages hold.
func TestLineageAPKs(t *testing.T) {
	dir := filepath.Join(conformance.Dir(t, "apksig"), "apks")
	tally := conformance.New(t, "apksig lineages of signed packages")
	for _, tt := range []struct{ apk, want string }{ // want: the file that holds it; "": there is none
		{"golden-aligned-v1v2v3-lineage-out.apk", "rsa-2048-lineage-2-signers"},
		{"golden-unaligned-v2v3-lineage-out.apk", "rsa-2048-lineage-2-signers"},
		{"v1v2v3-with-rsa-2048-lineage-3-signers.apk", "rsa-2048-lineage-3-signers"},
		{"v31-rsa-2048_2-tgt-10000-dev-release.apk", "rsa-2048-lineage-2-signers"},
		{"golden-rsa-out.apk", ""},
		{"v2-only-with-stamp.apk", ""},
	} {
		f, err := os.Open(filepath.Join(dir, tt.apk))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		l, err := apksig.ReadLineage(f, fi.Size())
		ok := tt.want == "" && err != nil
		if tt.want != "" && err == nil {
			b, err := os.ReadFile(filepath.Join(dir, tt.want))
			if err != nil {
				t.Fatal(err)
			}
			ok = bytes.Equal(l.Bytes(), b)
		}
		if !ok {
			t.Errorf("%s: %v, %v; want the lineage %q", tt.apk, l, err, tt.want)
		}
		tally.Case(ok)
	}
}
