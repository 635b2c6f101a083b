package apk_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
	"mios/internal/conformance"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const manifestText = `<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android"
    package="org.mios.test" android:versionCode="7" android:versionName="1.2">
    <uses-sdk android:minSdkVersion="24" android:targetSdkVersion="35"/>
    <uses-permission android:name="android.permission.INTERNET"/>
    <uses-permission android:name="android.permission.VIBRATE" android:maxSdkVersion="30"/>
    <application android:label="Test Ünit" android:hasCode="false">
        <meta-data android:name="mios.executable" android:value="hello"/>
        <meta-data android:name="port" android:value="8080"/>
    </application>
</manifest>
`

func compile(tb testing.TB, text string) []byte {
	tb.Helper()
	root, err := apk.ParseText([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return apk.AppendXML(nil, root)
}

// small returns a package with one entry of each kind.
func small(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	add := func(name string, m apk.Method, data string) {
		if err := w.Add(name, m, strings.NewReader(data)); err != nil {
			tb.Fatal(err)
		}
	}
	add("AndroidManifest.xml", apk.Deflate, string(compile(tb, manifestText)))
	add("assets/ü.txt", apk.Store, "stored")
	add("lib/arm64-v8a/libhello.so", apk.Deflate, strings.Repeat("arm", 1000))
	add("lib/x86_64/libhello.so", apk.Store, strings.Repeat("x86", 1000))
	add("empty", apk.Store, "")
	add("other", apk.Store, "")
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func open(b []byte) (*apk.File, error) { return apk.Open(bytes.NewReader(b), int64(len(b))) }

// TestGolden holds the bytes that the writer makes, and what the reader says of
// them.
func TestGolden(t *testing.T) {
	b := small(t)
	golden(t, "small.apk", b)
	info, err := apk.Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "small.txt", fmt.Appendf(nil, "%+v\n", *info))
	f, err := open(b)
	if err != nil {
		t.Fatal(err)
	}
	zr, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Entries {
		e := &f.Entries[i]
		want, _ := fs.ReadFile(zr, e.Name)
		if got, err := f.ReadFile(e.Name, 1<<20); !bytes.Equal(got, want) || err != nil {
			t.Errorf("ReadFile(%s) = %d bytes, %v; archive/zip has %d", e.Name, len(got), err, len(want))
		}
		if e.Method == apk.Store && e.DataOff%apk.Align != 0 {
			t.Errorf("%s lies at %#x, want a multiple of %d", e.Name, e.DataOff, apk.Align)
		}
		if strings.HasSuffix(e.Name, ".so") && e.Method == apk.Store && e.DataOff%apk.AlignNative != 0 {
			t.Errorf("%s lies at %#x, want a multiple of %d", e.Name, e.DataOff, apk.AlignNative)
		}
	}
	if got, err := f.ReadFile("lib/x86_64/libhello.so", 3000); string(got) != strings.Repeat("x86", 1000) || err != nil {
		t.Errorf("ReadFile = %d bytes, %v", len(got), err)
	}
	if _, err := f.ReadFile("lib/x86_64/libhello.so", 2999); err == nil {
		t.Error("ReadFile passed its limit")
	}
	if _, err := f.ReadFile("nope", 1); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("ReadFile(nope) = %v, want not found", err)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not its golden file:\n%.1000q\nwant\n%.1000q", name, got, want)
	}
}

// TestOpenRefuses changes a good package as an attacker would.
func TestOpenRefuses(t *testing.T) {
	good := small(t)
	dir := int(binary.LittleEndian.Uint32(good[len(good)-6:]))
	at := func(magic string, n int) int { // of the nth header
		i := 0
		for range n {
			i += bytes.Index(good[i:], []byte(magic)) + 1
		}
		return i - 1
	}
	lfh, cdh := func(n int) int { return at("PK\x03\x04", n) }, func(n int) int { return dir + at2(good[dir:], n) }
	put := func(off int, s string) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[off:], s); return b }
	}
	for _, tt := range []struct {
		name string
		edit func([]byte) []byte
		want string
	}{
		{"empty file", func([]byte) []byte { return nil }, "0 bytes are too few"},
		{"cut short", func(b []byte) []byte { return b[:len(b)-30] }, "no end of central directory"},
		{"cut in the end record", func(b []byte) []byte { return b[:len(b)-1] }, "21 bytes left"},
		{"bytes behind", func(b []byte) []byte { return append(b, 0) }, "comment of 0 bytes, but 1 follow"},
		{"end record in the comment", func(b []byte) []byte {
			end := bytes.Clone(b[len(b)-22:])
			b[len(b)-2] = 22
			return append(b, end...)
		}, "another end of central directory record"},
		{"bytes in front", func(b []byte) []byte { return append([]byte("dex\n"), b...) }, "does not end where"},
		{"bytes in front, offsets moved", func(b []byte) []byte { return shift(b, 4) }, "4 bytes before the first entry"},
		{"filler in front that is not zeros", func(b []byte) []byte {
			b = shift(b, 34)
			copy(b, "PK\x03\x04"+strings.Repeat("\x00", 24)+"\x04\x00abcd")
			return b
		}, "34 bytes before the first entry"},
		{"too much filler", func(b []byte) []byte {
			n := (1<<20/30 + 1) * 30
			b = shift(b, uint32(n))
			copy(b, bytes.Repeat([]byte("PK\x03\x04"+strings.Repeat("\x00", 26)), n/30))
			return b
		}, "bytes before the first entry"},
		{"gap before the end record", func(b []byte) []byte {
			return append(append(bytes.Clone(b[:len(b)-22]), 0), b[len(b)-22:]...)
		}, "does not end where"},
		{"two end records, two directories", func(b []byte) []byte { // the whole file again, in its own comment
			n := len(b)
			b = append(b, b...)
			binary.LittleEndian.PutUint16(b[n-2:], uint16(n))
			for i := 1; i <= 6; i++ {
				o := n + dir + at2(b[n+dir:], i) + 42
				binary.LittleEndian.PutUint32(b[o:], binary.LittleEndian.Uint32(b[o:])+uint32(n))
			}
			binary.LittleEndian.PutUint32(b[len(b)-6:], uint32(n+dir))
			return b
		}, "another end of central directory record"},
		{"entry in a gap", func(b []byte) []byte { return insert(b, lfh(6), hidden) }, "that no entry has"},
		{"bytes in a gap", func(b []byte) []byte { return insert(b, lfh(6), "dex\n035\x00") }, "8 bytes behind empty that no entry has"},
		{"entry in a gap, behind filler", func(b []byte) []byte { return insert(b, lfh(6), "\x00\x00"+hidden) }, "behind empty that no entry has"},
		{"entry behind the last one", func(b []byte) []byte { return insert(b, dir, hidden) }, "an entry behind other that the directory does not have"},
		{"entry in front of the first", func(b []byte) []byte { return insert(b, 0, hidden) }, "before the first entry"},
		{"sizes in the descriptor that are others", func(b []byte) []byte {
			b[lfh(5)+6], b[cdh(5)+8] = flagDescriptor, flagDescriptor
			return insert(b, lfh(6), "PK\x07\x08"+strings.Repeat("\x01", 12))
		}, "the data descriptor does not say"},
		{"no descriptor", func(b []byte) []byte {
			b[lfh(6)+6], b[cdh(6)+8] = flagDescriptor, flagDescriptor
			return b
		}, "the data descriptor does not say"},
		{"name of the local header is shorter", put(lfh(5)+26, "\x04"), "another name in the local header"},
		{"entry on another disk", put(cdh(5)+34, "\x01"), "on another disk"},
		{"folder with data", put(cdh(2)+46+len("assets/ü.tx"), "/"), "a folder with 6 bytes"},
		{"zip64 extra field", put(cdh(5)+42, "\xff\xff\xff\xff"), "ZIP64"},
		{"zip64", func(b []byte) []byte {
			loc := append([]byte("PK\x06\x07"), make([]byte, 16)...)
			return append(append(bytes.Clone(b[:len(b)-22]), loc...), b[len(b)-22:]...)
		}, "ZIP64"},
		{"two disks", put(len(good)-22+4, "\x01"), "several disks"},
		{"too few entries", put(len(good)-22+8, "\x05\x00\x05\x00"), "bytes after the last entry"},
		{"too many entries", put(len(good)-22+8, "\x07\x00\x07\x00"), "no entry of the central directory"},
		{"far too many entries", put(len(good)-22+8, "\xff\xff\xff\xff"), "65535 entries in"},
		{"duplicate", put(cdh(6)+46, "empty"), "a second \"empty\""},
		{"absolute", put(cdh(5)+46, "/mpty"), "is absolute"},
		{"parent", put(cdh(5)+46, "../xy"), "leaves its folder"},
		{"NUL", put(cdh(5)+46, "em\x00ty"), "holds a NUL"},
		{"not UTF-8", put(cdh(5)+46, "em\xffty"), "not UTF-8"},
		{"encrypted", put(cdh(5)+8, "\x01"), "encrypted"},
		{"other name", put(cdh(5)+46, "emptY"), "another name in the local header"},
		{"other local name", put(lfh(5)+30, "emptY"), "another name in the local header"},
		{"other method", put(lfh(2)+8, "\x08"), "method 8 in the local header, 0 in the directory"},
		{"other method, and worse", func(b []byte) []byte { return put(lfh(5)+30, "emptY")(put(lfh(2)+8, "\x08")(b)) }, "another name in the local header"},
		{"other CRC", put(lfh(2)+14, "\x00"), "CRC-32 and sizes"},
		{"other flags", put(lfh(2)+6, "\x08"), "flags 0x8"},
		{"no local header", put(lfh(2), "PK\x03\x05"), "no local header"},
		{"stored of two sizes", put(cdh(2)+24, "\x07"), "stored, but of 6 and of 7 bytes"},
		{"bomb", put(cdh(1)+24, "\xff\xff\xff\x7f"), "which deflate cannot do"},
		{"sizes of ZIP64", put(cdh(1)+20, "\xff\xff\xff\xff"), "ZIP64"},
		{"overlap", func(b []byte) []byte { // the last entry's header inside the one before
			h := bytes.Clone(b[lfh(5):][:36])
			off := lfh(5) - 100
			copy(b[off:], h)
			binary.LittleEndian.PutUint32(b[cdh(5)+42:], uint32(off))
			return b
		}, "overlaps"},
		{"data past the directory", func(b []byte) []byte {
			for _, o := range []int{lfh(5) + 18, cdh(5) + 20} {
				binary.LittleEndian.PutUint32(b[o:], 1<<20)
				binary.LittleEndian.PutUint32(b[o+4:], 1<<20)
			}
			return b
		}, "passes the central directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.edit(bytes.Clone(good))
			_, err := open(b)
			if _, ok := errors.AsType[*apk.FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open = %v, want a FormatError with %q", err, tt.want)
			}
		})
	}
}

const flagDescriptor = 1 << 3

// hidden is an entry that no directory has.
const hidden = "PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00x"

// insert puts s at off, and moves all offsets behind it.
func insert(b []byte, off int, s string) []byte {
	le := binary.LittleEndian
	dir := int(le.Uint32(b[len(b)-6:]))
	for i := 1; i <= 6; i++ {
		o := dir + at2(b[dir:], i) + 42
		if at := le.Uint32(b[o:]); int(at) >= off {
			le.PutUint32(b[o:], at+uint32(len(s)))
		}
	}
	le.PutUint32(b[len(b)-6:], uint32(dir+len(s)))
	return slices.Concat(b[:off], []byte(s), b[off:])
}

// at2 returns the offset of the nth entry of a central directory.
func at2(dir []byte, n int) int {
	off := 0
	for range n - 1 {
		le := binary.LittleEndian
		off += 46 + int(le.Uint16(dir[off+28:])) + int(le.Uint16(dir[off+30:]))
	}
	return off
}

// shift puts n bytes in front and moves all offsets with them.
func shift(b []byte, n uint32) []byte {
	le := binary.LittleEndian
	dir := int(le.Uint32(b[len(b)-6:]))
	for i := 1; i <= 6; i++ {
		o := dir + at2(b[dir:], i) + 42
		le.PutUint32(b[o:], le.Uint32(b[o:])+n)
	}
	le.PutUint32(b[len(b)-6:], uint32(dir)+n)
	return append(make([]byte, n), b...)
}

// TestReadRefuses changes data below a directory that stays as it was.
func TestReadRefuses(t *testing.T) {
	good := small(t)
	for name, want := range map[string]string{
		"assets/ü.txt":              "CRC-32 is",
		"lib/arm64-v8a/libhello.so": "apk: offset",
		"AndroidManifest.xml":       "apk: offset",
	} {
		b := bytes.Clone(good)
		f, err := open(b)
		if err != nil {
			t.Fatal(err)
		}
		e := f.Entry(name)
		b[e.DataOff+e.CompressedSize/2] ^= 0xff
		if _, err := f.ReadFile(name, 1<<20); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadFile(%s) = %v, want an error with %q", name, err, want)
		}
	}
}

// TestPeers lets Debian's tools judge what the writer makes.
func TestPeers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "small.apk")
	if err := os.WriteFile(path, small(t), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "zipalign", "-c", "-v", "-p", "4", path)
	out := run(t, "aapt", "dump", "badging", path)
	for _, want := range []string{
		"package: name='org.mios.test' versionCode='7' versionName='1.2'", "sdkVersion:'24'", "targetSdkVersion:'35'",
		"uses-permission: name='android.permission.INTERNET'", "uses-permission: name='android.permission.VIBRATE' maxSdkVersion='30'",
		"native-code: 'arm64-v8a' 'x86_64'",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("aapt dump badging lacks %q:\n%s", want, out)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s (%v)", pattern, err)
	}
	return names
}

// TestZip compares with libziparchive's answers to hostile files.
func TestZip(t *testing.T) {
	dir := conformance.Dir(t, "zip")
	tally := conformance.New(t, "zip (libziparchive)")
	b, err := os.ReadFile(filepath.Join(dir, "ziparchive_expect.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		row := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(row) < 2 {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, row[0]))
		if err != nil {
			t.Fatal(err)
		}
		f, err := open(data)
		var readErr error
		if err == nil {
			for i := range f.Entries {
				if r, err := f.OpenEntry(&f.Entries[i]); err != nil {
					readErr = err
				} else if _, err := io.Copy(io.Discard, r); err != nil {
					readErr = err
				}
			}
		}
		t.Logf("%s: want %s; open: %v; read: %v", row[0], row[1], err, readErr)
		var ok bool
		switch {
		case row[1] == "ok":
			ok = err == nil
		case strings.HasPrefix(row[1], "ok("):
			ok = err == nil && readErr != nil
		default:
			ok = err != nil
		}
		tally.Case(ok)
		if !ok {
			t.Errorf("%s: open: %v; read: %v; want %s", row[0], err, readErr, row[1])
		}
	}
}

// TestZip64 refuses what libziparchive has no answer for: packages do not use it.
func TestZip64(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(conformance.Dir(t, "zip"), "zip64.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(data); err == nil || !strings.Contains(err.Error(), "ZIP64") {
		t.Errorf("Open = %v, want that it is ZIP64", err)
	}
}

func FuzzOpen(f *testing.F) {
	good := small(f)
	f.Add(good)
	f.Add(shift(bytes.Clone(good), 34))
	f.Add(insert(bytes.Clone(good), int(binary.LittleEndian.Uint32(good[len(good)-6:])), hidden))
	// An entry with a descriptor, as archive/zip writes all of its.
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{"a", "dir/", "dir/b"} {
		if _, err := w.Create(name); err != nil {
			f.Fatal(err)
		}
	}
	w.SetComment("PK")
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	if _, err := open(b.Bytes()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := open(b)
		if err != nil {
			return
		}
		for i := range file.Entries {
			r, err := file.OpenEntry(&file.Entries[i])
			if err != nil {
				continue
			}
			n, err := io.Copy(io.Discard, r)
			if n > file.Entries[i].Size || err == nil && n != file.Entries[i].Size {
				t.Errorf("%s: read %d bytes of %d, %v", file.Entries[i].Name, n, file.Entries[i].Size, err)
			}
		}
		file.Info()
		file.Badging()
	})
}

// TestLargeEntry writes an entry that is not kept in memory.
func TestLargeEntry(t *testing.T) {
	data := make([]byte, 17<<20)
	for i := range data {
		data[i] = byte(i >> 12)
	}
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	if err := errors.Join(w.Add("big", apk.Store, bytes.NewReader(data)), w.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := open(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.ReadFile("big", 32<<20); !bytes.Equal(got, data) || err != nil {
		t.Errorf("ReadFile = %d bytes, %v", len(got), err)
	}
}
