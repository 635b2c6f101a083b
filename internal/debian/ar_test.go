package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios/internal/tool"
)

// deb makes a package of control and data files with Debian's dpkg-deb.
func deb(t testing.TB, control string, files map[string]string) []byte {
	t.Helper()
	dpkg, err := tool.Look("dpkg-deb")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	all := map[string]string{"DEBIAN/control": control}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "x.deb")
	if b, err := exec.Command(dpkg, "--root-owner-group", "-Zxz", "-b", dir, out).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v: %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const testControl = `Package: test
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: for a test
 of two lines
`

func TestArchive(t *testing.T) {
	b := deb(t, testControl, map[string]string{"usr/share/a": "hello", "usr/share/b": ""})
	members, err := arMembers(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	fields, err := control(members)
	if err != nil {
		t.Fatal(err)
	}
	if fields["Package"] != "test" || fields["Description"] != "for a test\nof two lines" {
		t.Errorf("control = %q", fields)
	}
	path := filepath.Join(t.TempDir(), "x.tar")
	for range 2 { // unpacked, and found unpacked
		if err := unpackTar(members, path); err != nil {
			t.Fatal(err)
		}
		checkTar(t, path)
	}
	if err := os.WriteFile(path, []byte("spoiled"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unpackTar(members, path); err != nil {
		t.Fatal(err)
	}
	checkTar(t, path)
}

func checkTar(t *testing.T, path string) {
	t.Helper()
	x, err := indexTar(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.f.Close()
	if got, err := x.read("usr/share/a"); err != nil || string(got) != "hello" {
		t.Errorf("usr/share/a = %q, %v", got, err)
	}
	if _, err := x.read("usr/share"); err == nil {
		t.Error("a folder was read")
	}
}

func TestArchiveRefuses(t *testing.T) {
	head := func(name, size, end string) string { return fmt.Sprintf("%-16s%-32s%-10s%s", name, "", size, end) }
	for _, test := range []struct{ in, want string }{
		{"", "deb: offset 0x0: not an ar archive"},
		{"!<arch>\nshort", "offset 0x8: member header is cut off"},
		{"!<arch>\n" + head("debian-binary", "4", "xx") + "2.0\n", "offset 0x42: member header does not end"},
		{"!<arch>\n" + head("debian-binary", "-1", "`\n"), "offset 0x38: member size"},
		{"!<arch>\n" + head("debian-binary", "99", "`\n"), "offset 0x38: member size"},
		{"!<arch>\n" + strings.Repeat(head("m", "0", "`\n"), 17), "more than 16 members"},
		{"!<arch>\n" + head("other", "0", "`\n"), "first member is not debian-binary"},
		{"!<arch>\n" + head("debian-binary", "0", "`\n"), "no member control.tar"},
		{"!<arch>\n" + head("debian-binary", "0", "`\n") + head("control.tar.zz", "0", "`\n"), `compression ".zz" is not known`},
	} {
		members, err := arMembers(strings.NewReader(test.in), int64(len(test.in)))
		if err == nil {
			_, err = control(members)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.40q: %v, want %q", test.in, err, test.want)
		}
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(deb(f, testControl, nil))
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	w.WriteHeader(&tar.Header{Name: "control", Size: 11, Mode: 0o644})
	w.Write([]byte("Package: x\n"))
	w.Close()
	f.Add(fmt.Appendf(nil, "!<arch>\n%-48s%-10d`\n%-48s%-10d`\n%s", "debian-binary", 0, "control.tar", plain.Len(), plain.Bytes()))
	f.Fuzz(func(t *testing.T, in []byte) {
		if members, err := arMembers(bytes.NewReader(in), int64(len(in))); err == nil {
			control(members)
		}
	})
}

func TestSoftdep(t *testing.T) {
	pre, post := splitSoftdep([]string{"pre: a b post: c", "post: d", "pre: e", "stray"})
	if got := fmt.Sprint(pre, post); got != "[a b e] [c d]" {
		t.Errorf("splitSoftdep = %s", got)
	}
}

func TestPins(t *testing.T) {
	if n := len(DefaultPins()); n < 2 {
		t.Errorf("%d default pins", n)
	}
	b, err := FormatPins(DefaultPins())
	if err != nil || !bytes.Equal(b, defaultLock) {
		t.Errorf("FormatPins of the default pins differs from kernel.lock.json: %v", err)
	}
	good := string(b)
	for _, test := range []struct{ old, new, want string }{
		{`"line"`, `"lines"`, "unknown field"},
		{`"sha256": "`, `"sha256": "x`, "not 64 lower-case hex digits"},
		{`"6.1.192-2"`, `"-o=x"`, "is not a name or version"},
		{`-cloud-amd64"`, `-amd64"`, "is not of the line"},
		{`"size": `, `"size": -`, "is not between"},
	} {
		if _, err := ParsePins([]byte(strings.Replace(good, test.old, test.new, 1))); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s -> %s: %v, want %q", test.old, test.new, err, test.want)
		}
	}
}

func TestLine(t *testing.T) {
	for _, test := range []struct {
		line, arch, meta, pkg string
		has                   bool
	}{
		{"linux-image-6.1-cloud", "amd64", "linux-image-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", true},
		{"linux-image-6.1-cloud", "amd64", "linux-image-cloud-amd64", "linux-image-6.10.0-56-cloud-amd64", false},
		{"linux-image-6.1-cloud", "amd64", "linux-image-cloud-amd64", "linux-image-6.1.0-56-rt-cloud-amd64", false},
		{"linux-image-6.1", "arm64", "linux-image-arm64", "linux-image-6.1.0-56-arm64", true},
		{"linux-image-6.1", "arm64", "linux-image-arm64", "linux-image-6.1.0-56-cloud-arm64", false},
		{"linux-image-6.12", "amd64", "linux-image-amd64", "linux-image-6.12.57+deb13-amd64", true},
	} {
		l, err := parseLine(test.line)
		if err != nil || l.meta(test.arch) != test.meta || l.has(test.pkg, test.arch) != test.has {
			t.Errorf("%s %s: %v, meta %s, has %s %v", test.line, test.arch, err, l.meta(test.arch), test.pkg, l.has(test.pkg, test.arch))
		}
	}
	if _, err := parseLine("linux-headers-6.1"); err == nil {
		t.Error("parseLine(linux-headers-6.1) succeeded")
	}
}

// TestStatus reads what apt says of a download.
func TestStatus(t *testing.T) {
	var got []int64
	in := "dlstatus:1:0.0000:Retrieving file 1 of 1\nnoise\ndlstatus:1:50.5:x\n" + strings.Repeat("x", 1<<17)
	readStatus(strings.NewReader(in), 1000, func(done, total int64) { got = append(got, done, total) })
	if fmt.Sprint(got) != "[0 1000 505 1000]" {
		t.Errorf("progress = %v", got)
	}
}

// TestFetchRefuses has an apt whose package is not the pinned one.
func TestFetchRefuses(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho other > linux-image-6.1.0-1-cloud-amd64_1_amd64.deb\n"
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	k := &Kernels{Cache: t.TempDir()}
	pin := Pin{Line, "amd64", "linux-image-6.1.0-1-cloud-amd64", "1", 6, strings.Repeat("0", 64)}
	err := k.fetch(context.Background(), &apt{dir: dir, arch: "amd64", etc: "/etc"}, pin)
	if err == nil || !strings.Contains(err.Error(), "downloaded file has SHA-256") {
		t.Errorf("fetch = %v, want a refusal", err)
	}
	if files, _ := filepath.Glob(filepath.Join(k.Cache, "*")); len(files) != 0 {
		t.Errorf("cache holds %v, want nothing", files)
	}
}
