package app_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/build/app"
	"mios/format/apk"
)

const manifest = `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.mios.t" android:versionCode="1">
<uses-sdk android:minSdkVersion="24"/>
<application android:extractNativeLibs="EXTRACT"><meta-data android:name="mios.executable" android:value="t"/></application>
</manifest>`

// program writes a small program and its manifest into a new folder.
func program(t *testing.T, manifest string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":              "module example.com/t\n\ngo 1.24\n",
		"main.go":             "package main\n\nfunc main() { println(\"hello\") }\n",
		"AndroidManifest.xml": strings.ReplaceAll(manifest, "EXTRACT", "true"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestBuild builds twice, from two folders, and lets Debian's tools judge.
func TestBuild(t *testing.T) {
	k := newKey(t)
	out := t.TempDir()
	var files [2][]byte
	for i := range files {
		path := filepath.Join(out, "a.apk")
		p, err := app.Build(t.Context(), app.Options{Dir: program(t, manifest), Key: k, VersionCode: 5<<32 | 7, VersionName: "five"}, path)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := app.Certificate(k)
		if err != nil {
			t.Fatal(err)
		}
		if p.VersionCode != 5<<32|7 || p.VersionName != "five" || !slices.Equal(p.Signers, []mios.Digest{mios.Sum(cert)}) ||
			!slices.Equal(p.ABIs, []string{"arm64-v8a", "x86_64"}) {
			t.Errorf("Build = %+v", p)
		}
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("built twice, other bytes")
	}
	checkPrograms(t, files[0])
	path := filepath.Join(out, "a.apk")
	for tool, args := range map[string][]string{
		"apksigner": {"verify", "--verbose", path},
		"zipalign":  {"-c", "-p", "4", path},
		"aapt":      {"dump", "badging", path},
	} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: install the Debian package %s", err, tool)
		}
		text, err := exec.Command(tool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", tool, err, text)
		}
		if tool == "apksigner" && !bytes.Contains(text, []byte("(APK Signature Scheme v3): true")) {
			t.Errorf("apksigner:\n%s", text)
		}
	}
}

// checkPrograms wants a static executable for each ABI, whose segments devices
// with memory pages of 16 KiB can map.
func checkPrograms(t *testing.T, b []byte) {
	t.Helper()
	f, err := apk.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for abi, machine := range map[string]elf.Machine{"x86_64": elf.EM_X86_64, "arm64-v8a": elf.EM_AARCH64} {
		b, err := f.ReadFile("lib/"+abi+"/libt.so", 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		e, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if libs, _ := e.ImportedLibraries(); e.Machine != machine || len(libs) > 0 {
			t.Errorf("%s: a program for %v that wants %v", abi, e.Machine, libs)
		}
		for _, seg := range e.Progs {
			if seg.Type == elf.PT_LOAD && (seg.Align < 16<<10 || (seg.Vaddr-seg.Off)%seg.Align != 0) {
				t.Errorf("%s: segment of %#x at %#x aligned to %#x", abi, seg.Off, seg.Vaddr, seg.Align)
			}
		}
	}
}

// TestStored puts native code where it can be mapped from the package.
func TestStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.apk")
	o := app.Options{Dir: program(t, strings.ReplaceAll(manifest, "EXTRACT", "false")), Key: newKey(t), Arches: []mios.Arch{mios.AMD64}}
	if _, err := app.Build(t.Context(), o, path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := apk.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	e := f.Entry("lib/x86_64/libt.so")
	if e == nil || e.Method != apk.Store || e.DataOff%apk.AlignNative != 0 || f.Entry("lib/arm64-v8a/libt.so") != nil {
		t.Errorf("entries %+v", f.Entries)
	}
	if out, err := exec.Command("zipalign", "-c", "-p", "4", path).CombinedOutput(); err != nil {
		t.Errorf("zipalign: %v\n%s", err, out)
	}
}

// TestOld builds for platforms that want a JAR signature.
func TestOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.apk")
	dir := program(t, strings.NewReplacer(`minSdkVersion="24"`, `minSdkVersion="21"`, `versionCode="1"`, `versionCode="1" android:versionCodeMajor="3"`).Replace(manifest))
	m, err := app.ReadManifest(filepath.Join(dir, apk.ManifestName))
	if err != nil || m.Package != "org.mios.t" || m.VersionCode != 3<<32|1 || m.MinSDK != 21 {
		t.Fatalf("ReadManifest = %+v, %v", m, err)
	}
	p, err := app.Build(t.Context(), app.Options{Dir: dir, Key: newKey(t), Arches: []mios.Arch{mios.AMD64}, VersionCode: 9}, path)
	if err != nil || p.VersionCode != 9 {
		t.Fatalf("Build = %+v, %v", p, err)
	}
	text, err := exec.Command("apksigner", "verify", "--verbose", path).CombinedOutput()
	if err != nil || !bytes.Contains(text, []byte("(JAR signing): true")) || !bytes.Contains(text, []byte("(APK Signature Scheme v2): true")) {
		t.Errorf("apksigner: %v\n%s", err, text)
	}
}

func TestBuildRefuses(t *testing.T) {
	const head = `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.mios.t" android:versionCode="1">`
	for _, tt := range []struct{ manifest, main, want string }{
		{"<manifest", "", "AndroidManifest.xml:1:1: "},
		{head + "</manifest>", "", "no application element"},
		{head + "<application/></manifest>", "", "names no program: add <meta-data"},
		{strings.Replace(manifest, `value="t"`, `value="../t"`, 1), "", `program name "../t"`},
		{strings.Replace(manifest, `minSdkVersion="24"`, `minSdkVersion="17"`, 1), "", "raise its minSdkVersion to 18"},
		{strings.Replace(manifest, `versionCode="1"`, `versionCode="0"`, 1), "", "no version code"},
		{manifest, "package main\n\nfunc main() { x }\n", "go build"},
		{manifest, "package other\n", "want a package main"},
	} {
		dir := program(t, tt.manifest)
		if tt.main != "" {
			if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(tt.main), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out := filepath.Join(dir, "a.apk")
		_, err := app.Build(t.Context(), app.Options{Dir: dir, Key: newKey(t), Arches: []mios.Arch{mios.AMD64}}, out)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Build = %v, want an error with %q", err, tt.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%q: a file is there", tt.want)
		}
	}
	if _, err := app.Build(t.Context(), app.Options{Dir: program(t, manifest)}, "x"); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("Build without a key = %v", err)
	}
}

func TestCertificate(t *testing.T) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []crypto.Signer{r, newKey(t)} {
		a, err := app.Certificate(k)
		if err != nil {
			t.Fatal(err)
		}
		b, err := app.Certificate(k)
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("made twice, other bytes (%v)", err)
		}
		cert, err := x509.ParseCertificate(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
			t.Error(err)
		}
	}
}
