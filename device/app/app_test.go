package app

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mios"
	buildapp "mios/build/app"
	"mios/device/sandbox"
	"mios/format/apk"
	"mios/format/apksig"
)

const testPkg = "org.mios.t"

// TestMain lets the test's own program be the sandbox's helper.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox" {
		fmt.Fprintln(os.Stderr, sandbox.Exec(os.Args[2:]))
		os.Exit(127)
	}
	os.Exit(m.Run())
}

func wantRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("packages get uids of their own: run the test as root")
	}
}

var testKeys = sync.OnceValue(func() [2]crypto.Signer {
	var keys [2]crypto.Signer
	for i := range keys {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[i] = k
	}
	return keys
})

// testSpec says which package to make.
type testSpec struct {
	code       int64
	key        int    // of testKeys
	pkg        string // default: testPkg
	minSDK     int    // default: 24
	abi        string // default: x86_64
	executable string // meta-data; default: t
	program    []byte // default: testProgram
	internet   bool
	split      string          // "": the base
	required   bool            // isSplitRequired
	bare       bool            // without native code
	lineage    *apksig.Lineage // that ends with the key
}

func testProgram(code int64) string { return fmt.Sprintf("program %d", code) }

func or[T comparable](v, missing T) T {
	var zero T
	if v == zero {
		return missing
	}
	return v
}

// testPackage makes a signed package. Its last byte is the version code.
func testPackage(t *testing.T, s testSpec) []byte {
	t.Helper()
	permission := ""
	if s.internet {
		permission = `<uses-permission android:name="android.permission.INTERNET"/>`
	}
	if s.split != "" {
		s.pkg = or(s.pkg, testPkg) + `" split="` + s.split
	}
	if s.required {
		s.pkg = or(s.pkg, testPkg) + `" android:isSplitRequired="true`
	}
	root, err := apk.ParseText(fmt.Appendf(nil, `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="%s" android:versionCode="%d">
<uses-sdk android:minSdkVersion="%d"/>%s
<application><meta-data android:name="mios.executable" android:value="%s"/></application></manifest>`,
		or(s.pkg, testPkg), s.code, or(s.minSDK, 24), permission, or(s.executable, "t")))
	if err != nil {
		t.Fatal(err)
	}
	if s.program == nil {
		s.program = []byte(testProgram(s.code))
	}
	method := apk.Deflate
	if len(s.program) > 1<<20 {
		method = apk.Store // compressing is slow under the race detector
	}
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	err = w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root)))
	if !s.bare {
		err = errors.Join(err, w.Add("lib/"+or(s.abi, "x86_64")+"/libt.so", method, bytes.NewReader(s.program)))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	b.WriteByte(byte(s.code)) // the comment of the ZIP file
	binary.LittleEndian.PutUint16(b.Bytes()[b.Len()-3:], 1)
	var out bytes.Buffer
	o := apksig.SignOptions{Signers: []apksig.Signer{testSigner(t, s.key)}, V2: true, V3: true}
	if s.lineage != nil { // the oldest signs v2
		o.Lineage, o.V2 = s.lineage, false
		o.MinSDK, o.RotationMinSDK = 28, 28
	}
	if err := apksig.Sign(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()), o, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func testSigner(t *testing.T, key int) apksig.Signer {
	t.Helper()
	k := testKeys()[key]
	cert, err := buildapp.Certificate(k)
	if err != nil {
		t.Fatal(err)
	}
	return apksig.Signer{Key: k, Certificate: cert}
}

func testConfig(root string) Config {
	return Config{Root: root, SDK: 34, ABI: "x86_64", Debuggable: true, Helper: []string{os.Args[0], "sandbox"}, Log: slog.New(slog.DiscardHandler)}
}

func openTest(t *testing.T, root string, d disk) *Manager {
	t.Helper()
	m, err := open(t.Context(), testConfig(root), d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *Manager) installBytes(ctx context.Context, b []byte, o InstallOptions) (*Status, error) {
	return m.Install(ctx, bytes.NewReader(b), int64(len(b)), o)
}

// wantRefused wants an [*Error] of that code, with a text in its message.
func wantRefused(t *testing.T, err error, code, text string) {
	t.Helper()
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("error %v, want %s with %q", err, code, text)
	}
}

func TestInstallRefuses(t *testing.T) {
	wantRoot(t)
	root := t.TempDir()
	m := openTest(t, root, osDisk{})
	good := testPackage(t, testSpec{code: 5})
	if _, err := m.installBytes(t.Context(), good, InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	tampered := bytes.Clone(good)
	tampered[bytes.Index(tampered, []byte("APK Sig Block 42"))]++
	changed := bytes.Clone(good)
	changed[60]++
	for _, tt := range []struct {
		name       string
		b          []byte
		code, text string
	}{
		{"no ZIP file", []byte("hello, this is no package at all"), CodeNotAPK, "not a ZIP file"},
		{"empty", nil, CodeInvalid, "0 bytes"},
		{"cut short", good[:len(good)/2], CodeNotAPK, "cut short"},
		{"changed", changed, CodeNoCertificates, "V3_SIG_APK_DIGEST_DID_NOT_VERIFY"},
		{"no signature", tampered, CodeNoCertificates, "no JAR signature, and none of another scheme"},
		{"other signer", testPackage(t, testSpec{code: 6, key: 1}), CodeIncompatible, "if you trust the new signer"},
		{"older", testPackage(t, testSpec{code: 4}), CodeDowngrade, "version 5 is installed, which is newer than 4; use -d"},
		{"for a newer platform", testPackage(t, testSpec{code: 6, minSDK: 35}), CodeOlderSDK, "for SDK version 35"},
		{"for another processor", testPackage(t, testSpec{code: 6, abi: "arm64-v8a"}), CodeNoABI, "this device is x86_64"},
		{"no such program", testPackage(t, testSpec{code: 6, executable: "u"}), CodeInvalid, "has no lib/x86_64/libu.so"},
		{"program elsewhere", testPackage(t, testSpec{code: 6, executable: "../t"}), CodeInvalid, `names the program "../t"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := m.installBytes(t.Context(), tt.b, InstallOptions{})
			wantRefused(t, err, tt.code, tt.text)
			checkInstalled(t, m, root, good)
		})
	}
	_, err := m.Install(t.Context(), bytes.NewReader(good[:100]), int64(len(good)), InstallOptions{})
	wantRefused(t, err, CodeAborted, "only 100 of")
	older := testPackage(t, testSpec{code: 4})
	if _, err := m.installBytes(t.Context(), older, InstallOptions{Downgrade: true}); err != nil {
		t.Errorf("downgrade with -d: %v", err)
	}
	checkInstalled(t, m, root, older)
	m.cfg.Debuggable = false
	_, err = m.installBytes(t.Context(), testPackage(t, testSpec{code: 3}), InstallOptions{Downgrade: true})
	wantRefused(t, err, CodeDowngrade, "uninstall it first")
}

// TestUIDs gives a uid of its own to each package, for as long as there is
// anything of it.
func TestUIDs(t *testing.T) {
	wantRoot(t)
	root := t.TempDir()
	m := openTest(t, root, osDisk{})
	install := func(pkg string) int {
		st, err := m.installBytes(t.Context(), testPackage(t, testSpec{code: 1, pkg: pkg}), InstallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return st.UID
	}
	a, b := install("a.a"), install("b.b")
	if a != 10000 || b != 10001 {
		t.Errorf("uids %d and %d, want 10000 and 10001", a, b)
	}
	if err := m.Uninstall(t.Context(), "a.a", true); err != nil {
		t.Fatal(err)
	}
	_, err := m.installBytes(t.Context(), testPackage(t, testSpec{code: 1, pkg: "a.a", key: 1}), InstallOptions{})
	wantRefused(t, err, CodeIncompatible, "has left data")
	m = openTest(t, root, osDisk{})
	if again := install("a.a"); again != a {
		t.Errorf("over its data the package has uid %d, want %d", again, a)
	}
	if err := m.Uninstall(t.Context(), "a.a", false); err != nil {
		t.Fatal(err)
	}
	if c := install("c.c"); c != 10002 {
		t.Errorf("uid %d, want 10002: the one that was never used", c)
	}
	m.store.NextUID = sandbox.LastUID
	if d, e := install("d.d"), install("e.e"); d != sandbox.LastUID || e != a {
		t.Errorf("uids %d and %d, want the last one and the first that is free, %d", d, e, a)
	}
	// A folder that nobody has a record of keeps its owner's uid taken.
	stray := filepath.Join(root, "data", "x.x")
	if err := errors.Join(os.Mkdir(stray, 0o700), os.Chown(stray, 10003, 10003)); err != nil {
		t.Fatal(err)
	}
	m.store.NextUID = 10003
	if f := install("f.f"); f != 10004 {
		t.Errorf("uid %d, want 10004: 10003 has data", f)
	}
	wantRefused(t, m.Uninstall(t.Context(), "nope.nope", false), CodeNotInstalled, "nope.nope is not installed")
}

func TestBrokenState(t *testing.T) {
	for _, text := range []string{
		"", "{", `{"version":2}`, `{"version":1}{}`,
		`{"version":1,"packages":{"a.a":{"uid":10000,"phase":"installed","dir":"1","splits":["../x"]}}}`,
		`{"version":1,"packages":{"a.a":null}}`,
		`{"version":1,"packages":{"a.a":{"uid":0,"phase":"installed","dir":"1"}}}`,
		`{"version":1,"packages":{"a.a":{"uid":10000,"phase":"installed","dir":"../b"}}}`,
		`{"version":1,"packages":{"../a":{"uid":10000,"phase":"kept"}}}`,
		`{"version":1,"packages":{"a.a":{"uid":10000,"phase":"kept"},"b.b":{"uid":10000,"phase":"kept"}}}`,
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "system"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "system", "packages.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), testConfig(root)); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Open with %q = %v, want invalid", text, err)
		}
	}
}
