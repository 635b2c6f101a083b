package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/build/app"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/conformance"
)

var rewrite = flag.Bool("update", false, "rewrite what the tests compare with")

// signingKey is a P-256 key in PKCS #8, for tests alone.
const signingKey = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvj0Ck0xUysPwj3bNJQ06/hOe9npwFkCjL3fZ0brNXG2hRANCAARt9sP/jKiYRCYSphI44eFSXRYiQu8nxKAR2HJi0fIz70HPXqDL+ymdAQVLw9F9II7wYmfgDksCOSxzSd6ztIah"

type file struct {
	name   string
	method apk.Method
	data   []byte
}

// library is the beginning of an ELF file whose segment is aligned.
func library(align uint64) []byte {
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint64(b[32:], 64) // e_phoff
	le.PutUint16(b[54:], 56) // e_phentsize
	le.PutUint16(b[56:], 1)  // e_phnum
	le.PutUint32(b[64:], 1)  // PT_LOAD
	le.PutUint64(b[64+48:], align)
	return b
}

// signed returns a package with a text manifest and more files.
func signed(t *testing.T, manifest string, files ...file) []byte {
	t.Helper()
	root, err := apk.ParseText([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	for _, f := range append([]file{{apk.ManifestName, apk.Store, apk.AppendXML(nil, root)}}, files...) {
		if err := w.Add(f.name, f.method, bytes.NewReader(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(signingKey)
	if err != nil {
		t.Fatal(err)
	}
	k, err := apksig.ParsePrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := app.Certificate(k)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	o := apksig.SignOptions{Signers: []apksig.Signer{{Key: k, Certificate: cert}}, V2: true, V3: true}
	if err := apksig.Sign(context.Background(), bytes.NewReader(b.Bytes()), int64(b.Len()), o, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func packages(t *testing.T) (older, newer []byte) {
	t.Helper()
	older = signed(t, string(read(t, "old.xml")), file{"classes.dex", apk.Store, read(t, "old.dex")},
		file{"lib/arm64-v8a/libone.so", apk.Store, library(4096)}, file{"assets/a.txt", apk.Store, []byte("assets")})
	newer = signed(t, string(read(t, "new.xml")), file{"classes.dex", apk.Store, read(t, "new.dex")},
		file{"lib/arm64-v8a/libone.so", apk.Store, library(16384)}, file{"lib/x86_64/libtwo.so", apk.Store, library(16384)})
	return older, newer
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from:\n%s", name, got)
	}
}

// TestGolden holds the JSON, whose fields do not change.
func TestGolden(t *testing.T) {
	older, newer := packages(t)
	ctx := context.Background()
	a, err := Describe(ctx, bytes.NewReader(older), int64(len(older)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "app.golden", a)
	d, err := Compare(ctx, Package{bytes.NewReader(older), "old", int64(len(older))}, Package{bytes.NewReader(newer), "new", int64(len(newer))}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "diff.golden", d)
	back, err := Compare(ctx, Package{bytes.NewReader(newer), "old", int64(len(newer))}, Package{bytes.NewReader(older), "new", int64(len(older))}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if back.Update.OK || !slices.ContainsFunc(back.Update.Reasons, func(s string) bool { return strings.Contains(s, "went down") }) {
		t.Errorf("update to the old version: %+v, want that it is refused", back.Update)
	}
	if !slices.EqualFunc(back.References.Removed, d.References.Added, func(a, b Reference) bool { return a.Class == b.Class && slices.Equal(a.Members, b.Members) }) {
		t.Errorf("what is new in one direction is not gone in the other: %+v, %+v", d.References.Added, back.References.Removed)
	}
}

// TestDocumented holds the fields of the JSON against docs/apks.md.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/apks.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for name, e := range v {
				if n++; !strings.Contains(string(doc), "`"+name+"`") {
					t.Errorf("docs/apks.md does not say what `%s` is", name)
				}
				walk(e)
			}
		}
	}
	for _, name := range []string{"app.golden", "diff.golden", "splits.golden"} {
		var v any
		if err := json.Unmarshal(read(t, name), &v); err != nil {
			t.Fatal(err)
		}
		walk(v)
	}
	if n < 50 {
		t.Errorf("%d fields: the walk is broken", n)
	}
}

// TestVerifyChanged changes a byte that is signed.
func TestVerifyChanged(t *testing.T) {
	b, _ := packages(t)
	b[len(b)/3] ^= 1
	s, err := Verify(context.Background(), bytes.NewReader(b), int64(len(b)), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Verified || len(s.Errors) == 0 || s.Errors[0].Name == "" || s.Errors[0].Scheme == "" {
		t.Errorf("Verify = %+v, want an error with its name and scheme", s)
	}
}

func TestBroken(t *testing.T) {
	b, _ := packages(t)
	for _, in := range [][]byte{nil, b[:len(b)/2], []byte("nope")} {
		_, err := Describe(context.Background(), bytes.NewReader(in), int64(len(in)), Options{})
		if _, ok := errors.AsType[*apk.FormatError](err); !ok {
			t.Errorf("Describe(%d bytes) = %v, want a FormatError", len(in), err)
		}
	}
	bad := signed(t, string(read(t, "old.xml")), file{"classes.dex", apk.Store, []byte("dex\n035\x00")})
	_, err := Compare(context.Background(), Package{bytes.NewReader(bad), "bad.apk", int64(len(bad))}, Package{bytes.NewReader(b), "b.apk", int64(len(b))}, Options{})
	if err == nil || err.Error() != "bad.apk: classes.dex: dex: offset 0x0: header: 8 bytes left, want 112" {
		t.Errorf("Compare = %v, want the file, the entry and the offset", err)
	}
}

func TestCertificate(t *testing.T) {
	if c := certificate([]byte("nope")); len(c.Digest) != 64 || c.Subject != "" {
		t.Errorf("certificate of no certificate: %+v", c)
	}
	older, _ := packages(t)
	s, err := Verify(context.Background(), bytes.NewReader(older), int64(len(older)), VerifyOptions{})
	if err != nil || len(s.Signers) != 1 {
		t.Fatalf("Verify: %+v, %v", s, err)
	}
	if got := s.Signers[0].Key; got != "ecdsa-p256" {
		t.Errorf("key %q", got)
	}
}

func TestContinues(t *testing.T) {
	who := func(d string, lineage ...Ancestor) []Signer {
		return []Signer{{Certificate: Certificate{Digest: d}, Lineage: lineage}}
	}
	before := func(d string, caps ...string) Ancestor { return Ancestor{Certificate{Digest: d}, caps} }
	for _, tt := range []struct {
		was, is []Signer
		want    bool
	}{
		{who("a"), who("a"), true},
		{who("a"), who("b"), false},
		{who("a"), who("b", before("a", "installed-data"), before("b")), true},
		{who("a"), who("b", before("a", "permission"), before("b")), false},
		{who("b", before("a", "rollback"), before("b")), who("a"), true},
		{who("b", before("a", "installed-data"), before("b")), who("a"), false},
		{append(who("a"), who("b")...), append(who("b"), who("a")...), true},
		{append(who("a"), who("b")...), who("a"), false},
	} {
		if got := continues(tt.was, tt.is); got != tt.want {
			t.Errorf("continues(%v, %v) = %v", tt.was, tt.is, got)
		}
	}
}

// TestSplits describes a base package and what some devices need beside it.
func TestSplits(t *testing.T) {
	manifest := func(split string) string {
		return `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.example.app" android:versionCode="7"` + split +
			`><uses-sdk android:minSdkVersion="24"/><application/></manifest>`
	}
	var list []Package
	add := func(name string, b []byte) {
		list = append(list, Package{bytes.NewReader(b), name, int64(len(b))})
	}
	add("base.apk", signed(t, manifest("")))
	for _, abi := range []string{"arm64-v8a", "x86_64"} {
		split := ` split="config.` + strings.ReplaceAll(abi, "-", "_") + `"`
		add(abi+".apk", signed(t, manifest(split), file{"lib/" + abi + "/liba.so", apk.Store, library(16384)}))
	}
	add("de.apk", signed(t, manifest(` split="config.de"`)))
	changed := signed(t, manifest(` split="config.fr"`), file{"assets/a", apk.Store, make([]byte, 9000)})
	changed[len(changed)/2] ^= 1
	add("fr.apk", changed)
	device, err := ParseDevice("arm64-v8a,420dpi,de,sdk34")
	if err != nil {
		t.Fatal(err)
	}
	a, err := DescribeSet(context.Background(), list, Options{}, device)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "splits.golden", a.Splits)
	if _, err := DescribeSet(context.Background(), list[1:], Options{}, device); err == nil {
		t.Error("splits without a base are described")
	}
	for _, s := range []string{"", "arm65", "dpi", "sdk", "0dpi", "de,,fr"} {
		if d, err := ParseDevice(s); err == nil {
			t.Errorf("ParseDevice(%q) = %+v, want an error", s, d)
		}
	}
}

func TestGroups(t *testing.T) {
	for name, want := range map[string]string{
		"android.permission.CAMERA": GroupPerson, "android.permission.SYSTEM_ALERT_WINDOW": GroupSetting,
		"android.permission.INTERNET": GroupInstall, "org.example.CAMERA": GroupOther,
	} {
		if got, _ := groupOf(name); got != want {
			t.Errorf("groupOf(%s) = %s, want %s", name, got, want)
		}
	}
	if got := Android(32); got != "Android 12L (SDK 32)" {
		t.Errorf("Android(32) = %s", got)
	}
	if got := Android(10000); got != "SDK 10000" {
		t.Errorf("Android(10000) = %s", got)
	}
}

// TestConformance describes real apps, and compares them with each other.
func TestConformance(t *testing.T) {
	apks, err := filepath.Glob(filepath.Join(conformance.Dir(t, "fdroid"), "repo", "*.apk"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(conformance.Dir(t, "apps"), "*.apk"))
	if err != nil {
		t.Fatal(err)
	}
	tally := conformance.New(t, "apps described")
	var last Package
	for _, path := range append(apks, more...) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		p := Package{f, filepath.Base(path), fi.Size()}
		if last.ReaderAt == nil {
			last = p
		}
		a, err := Describe(context.Background(), f, p.Size, Options{})
		if err == nil {
			_, err = Compare(context.Background(), last, p, Options{})
		}
		total := int64(0)
		if a != nil {
			for _, part := range a.Parts {
				total += part.Size
			}
		}
		ok := err == nil && total == p.Size && a.Package != "" && a.Signature != nil
		tally.Case(ok)
		if !ok {
			t.Errorf("%s: %v, parts of %d bytes of %d", p.Name, err, total, p.Size)
		}
		last = p
	}
}

// TestToday describes apps for old platforms as those of today see them: JAR
// signatures count where there is nothing newer.
func TestToday(t *testing.T) {
	for _, tt := range []struct {
		set, file string
		schemes   []string
		warnings  bool // of v1, which Verify has
	}{
		{"apps", "ApiDemos-debug.apk", []string{"v2"}, true},
		{"apksig", "apks/v1-only-two-signers.apk", []string{"v1"}, false},
	} {
		f, err := os.Open(filepath.Join(conformance.Dir(t, tt.set), tt.file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		a, err := Describe(t.Context(), f, fi.Size(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := a.Signature
		if a.MinSDK >= TodaySDK || !s.Verified || s.MinSDK != TodaySDK || !slices.Equal(s.Schemes, tt.schemes) || len(s.Warnings) > 0 {
			t.Errorf("%s, for SDK %d: %v for SDK %d by %v, warnings %v", tt.file, a.MinSDK, s.Verified, s.MinSDK, s.Schemes, s.Warnings)
		}
		whole, err := Verify(t.Context(), f, fi.Size(), VerifyOptions{})
		if err != nil || !slices.Contains(whole.Schemes, "v1") || len(whole.Warnings) > 0 != tt.warnings {
			t.Errorf("%s: Verify = %+v, %v", tt.file, whole, err)
		}
	}
}

func TestELFAlign(t *testing.T) {
	for _, align := range []uint64{4096, 16384, 65536} {
		if got := elfAlignOf(library(align)); got != int64(align) {
			t.Errorf("alignment %d, want %d", got, align)
		}
	}
	whole := library(16384)
	for n := range whole {
		if got := elfAlignOf(whole[:n]); got != 0 {
			t.Errorf("alignment %d of %d bytes", got, n)
		}
	}
	far := library(16384)
	binary.LittleEndian.PutUint64(far[32:], 1<<63) // e_phoff
	if got := elfAlignOf(far); got != 0 {
		t.Errorf("alignment %d of headers that are not there", got)
	}
	narrow := make([]byte, 52+32)
	copy(narrow, "\x7fELF\x01\x01\x01")
	binary.LittleEndian.PutUint32(narrow[28:], 52)
	binary.LittleEndian.PutUint16(narrow[42:], 32)
	binary.LittleEndian.PutUint16(narrow[44:], 1)
	binary.LittleEndian.PutUint32(narrow[52:], 1)
	binary.LittleEndian.PutUint32(narrow[52+28:], 4096)
	if got := elfAlignOf(narrow); got != 4096 {
		t.Errorf("alignment %d of a 32-bit library, want 4096", got)
	}
}
