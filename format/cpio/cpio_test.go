package cpio_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/cpio"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func sample() *cpio.Archive {
	init := cpio.File("init", 0o755, []byte("#!/bin/sh\n"))
	init.Mtime = 1700000000
	return cpio.New(
		cpio.Dir("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		init,
		cpio.File("empty", 0o644, nil),
		cpio.Symlink("sbin", "bin/the name of a folder"),
	)
}

func encode(tb testing.TB, a *cpio.Archive) []byte {
	tb.Helper()
	var b bytes.Buffer
	if n, err := a.WriteTo(&b); err != nil || n != int64(b.Len()) {
		tb.Fatalf("WriteTo = %d, %v; %d bytes written", n, err, b.Len())
	}
	return b.Bytes()
}

// TestGolden compares the bytes of an archive with testdata, and what Parse
// reads in it with what was written.
func TestGolden(t *testing.T) {
	b := encode(t, sample())
	golden := filepath.Join("testdata", "sample.cpio")
	if *update {
		if err := os.WriteFile(golden, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("archive:\n%q\nwant:\n%q", b, want)
	}
	a, err := cpio.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%+v", a.Entries), fmt.Sprintf("%+v", sample().Entries); got != want {
		t.Errorf("Parse = %s, want %s", got, want)
	}
}

func TestParseErrors(t *testing.T) {
	good := encode(t, sample())
	for _, tt := range []struct {
		off  int
		b    string
		want string
	}{
		{0, "070702", `cpio: offset 0x0: magic is "070702"`},
		{6, "x", "cpio: offset 0x6: 'x' is no hexadecimal digit"},
		{6, "aA", "cpio: offset 0x6: hexadecimal digits in both cases"},
		{6 + 8*6, "FFFFFFFF", "cpio: offset 0x74: data of 4294967295 bytes passes the end"},
		{6 + 8*11, "00000000", "cpio: offset 0x5e: name of 0 bytes"},
		{6 + 8*11, "00FFFFFF", "cpio: offset 0x5e: name of 16777215 bytes"},
		{6 + 8*12, "00000001", "cpio: offset 0x66: checksum 0x1"},
		{110, "a\x00v", "cpio: offset 0x6e: name"},
		{len(good) - 1, "x", "cpio: offset"},
	} {
		b := bytes.Clone(good)
		copy(b[tt.off:], tt.b)
		a, err := cpio.Parse(b)
		if _, ok := errors.AsType[*cpio.FormatError](err); !ok || a != nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("Parse with %q at %#x = %v, want a FormatError that begins %q", tt.b, tt.off, err, tt.want)
		}
	}
	for _, n := range []int{0, 109, 115, len(good) - 1} {
		if _, err := cpio.Parse(good[:n]); err == nil {
			t.Errorf("an archive cut to %d bytes was accepted", n)
		}
	}
	if _, err := cpio.Parse(append(bytes.Clone(good), good...)); err == nil {
		t.Error("two archives were taken for one")
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, name := range []string{"", "TRAILER!!!", "a\x00b", strings.Repeat("x", 4096)} {
		if _, err := cpio.New(cpio.Dir(name, 0o755)).WriteTo(new(bytes.Buffer)); err == nil {
			t.Errorf("the name %q was written", name)
		}
	}
}

// TestGNU lists and unpacks an archive of ours with GNU cpio, and reads one of
// its own.
func TestGNU(t *testing.T) {
	gnu, err := exec.LookPath("cpio")
	if err != nil {
		t.Fatal("cpio is not installed: install the Debian package cpio")
	}
	list := exec.Command(gnu, "-itv", "--quiet", "--numeric-uid-gid")
	list.Stdin = bytes.NewReader(encode(t, sample()))
	out, err := list.CombinedOutput()
	for _, want := range []string{"drwxr-xr-x", "5,   1 ", " dev/console\n", "sbin -> bin/the name of a folder\n"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("cpio -itv: %v\n%s\nwant %q", err, out, want)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	pack := exec.Command(gnu, "-o", "-H", "newc", "--quiet")
	pack.Dir, pack.Stdin = dir, strings.NewReader(".\nfile\nlink\n")
	b, err := pack.Output()
	if err != nil {
		t.Fatal(err)
	}
	a, err := cpio.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if e := a.Entries; len(e) != 3 || string(e[1].Data) != "hello" || e[1].Mode != cpio.TypeRegular|0o600 || string(e[2].Data) != "file" {
		t.Errorf("Parse of GNU cpio's archive = %+v", a.Entries)
	}
	if !bytes.Equal(encode(t, a), b) {
		t.Error("GNU cpio's archive is not written as it was read")
	}
}

// FuzzParse checks that nothing makes Parse panic, and that whatever it
// accepts has one encoding.
func FuzzParse(f *testing.F) {
	good := encode(f, sample())
	f.Add(good)
	f.Add(append(bytes.Clone(good), make([]byte, 100)...))
	f.Add(bytes.ToLower(good))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := cpio.Parse(in)
		if err != nil {
			return
		}
		if out := encode(t, a); !bytes.Equal(out, in) {
			t.Errorf("WriteTo wrote %q, Parse read %q", out, in)
		}
	})
}
