package targetfiles

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/internal/tool"
)

// file is an entry of a zip that a test makes.
type file struct {
	name   string
	data   string
	mode   fs.FileMode
	method uint16
}

func makeZip(tb testing.TB, files ...file) []byte {
	tb.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: f.method}
		if f.mode == 0 {
			f.mode = 0o644
		}
		h.SetMode(f.mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			tb.Fatal(err)
		}
		io.WriteString(w, f.data)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

var small = []file{
	{name: "META/misc_info.txt", data: "recovery_api_version=3\nfstab_version=2\n", method: zip.Deflate},
	{name: "IMAGES/system.img", data: strings.Repeat("system", 1000)},
	{name: "SYSTEM/", mode: fs.ModeDir | 0o755},
	{name: "SYSTEM/bin/sh", data: "sh", mode: 0o755, method: zip.Deflate},
	{name: "SYSTEM/bin/ls", data: "sh", mode: fs.ModeSymlink | 0o777},
	{name: "SYSTEM/etc/a", data: "b", mode: fs.ModeSymlink | 0o777},
	{name: "SYSTEM/etc/b", data: "../../META/misc_info.txt", mode: fs.ModeSymlink | 0o777},
}

func open(tb testing.TB, b []byte) *Source {
	tb.Helper()
	s, err := OpenZip(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestOpenZip(t *testing.T) {
	s := open(t, makeZip(t, small...))
	var names []string
	for _, e := range s.Entries {
		names = append(names, e.Name)
	}
	want := []string{
		"META/misc_info.txt", "IMAGES/system.img", "SYSTEM", "SYSTEM/bin/sh", "SYSTEM/bin/ls", "SYSTEM/etc/a", "SYSTEM/etc/b",
	}
	if !slices.Equal(names, want) {
		t.Errorf("entries %v, want %v", names, want)
	}
	if s.Layout != TargetFiles {
		t.Errorf("layout %v", s.Layout)
	}
	b, err := s.ReadFile("SYSTEM/etc/a") // a link to a link to META
	if err != nil || string(b) != small[0].data {
		t.Errorf("ReadFile through links = %q, %v", b, err)
	}
	if to, err := s.Entry("SYSTEM/bin/ls").Link(); to != "sh" || err != nil {
		t.Errorf("Link = %q, %v", to, err)
	}
	if _, err := s.ReadFile("SYSTEM/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile of none: %v", err)
	}
	r, err := s.Entry("IMAGES/system.img").ReaderAt()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := r.ReadAt(got, 600); err != nil || string(got) != "system" {
		t.Errorf("ReadAt = %q, %v", got, err)
	}
	if _, err := s.Entry("SYSTEM/bin/sh").ReaderAt(); !errors.Is(err, ErrCompressed) {
		t.Errorf("ReaderAt of a compressed entry: %v", err)
	}
	if p := FindPartition("system"); s.FolderOf(p) != "SYSTEM" || s.FolderOf(FindPartition("vendor")) != "" {
		t.Errorf("FolderOf(system) = %q", s.FolderOf(p))
	}
}

func TestOpenZipRefuses(t *testing.T) {
	meta := small[0]
	flagged := func(at int, value uint16) []byte { // changes a field of the first directory record
		b := makeZip(t, meta)
		i := bytes.Index(b, []byte("PK\x01\x02"))
		binary.LittleEndian.PutUint16(b[i+at:], value)
		return b
	}
	overlapping := makeZip(t, file{name: "a", data: "aaaaaaaaaaaa"}, file{name: "b", data: "bbbbbbbbbbbb"}, meta)
	i := bytes.Index(overlapping, []byte("PK\x01\x02"))
	j := i + 46 + 1 + int(binary.LittleEndian.Uint16(overlapping[i+30:]))
	binary.LittleEndian.PutUint32(overlapping[j+42:], 0) // b's header is said to be a's
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"nothing", nil, "not a valid zip"},
		{"no META", makeZip(t, file{name: "a.txt"}), "neither META/misc_info.txt nor images"},
		{"twice", makeZip(t, meta, meta), "two entries of this name"},
		{"above", makeZip(t, file{name: "../x"}, meta), "leaves the folder"},
		{"absolute", makeZip(t, file{name: "/x"}, meta), "leaves the folder"},
		{"below a link", makeZip(t, file{name: "SYSTEM/etc/x/y", data: "y"}, file{name: "SYSTEM/etc", data: "/etc", mode: fs.ModeSymlink | 0o777}, meta), "lies below SYSTEM/etc, which is no folder"},
		{"a device", makeZip(t, file{name: "dev", mode: fs.ModeDevice | 0o600}, meta), "neither a file nor a folder nor a link"},
		{"a file that is a folder", makeZip(t, file{name: "x", mode: fs.ModeDir | 0o755}, meta), "disagree"},
		{"encrypted", flagged(8, 1), "encrypted"},
		{"bzip2", flagged(10, 12), "compression method 12"},
		{"stored, of two sizes", flagged(10, 0), "are said to be"},
		{"overlapping", overlapping, "two entries overlap"},
	} {
		_, err := OpenZip(bytes.NewReader(tt.in), int64(len(tt.in)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestLinks follows no link out of the source, and none forever.
func TestLinks(t *testing.T) {
	link := fs.ModeSymlink | 0o777
	s := open(t, makeZip(t, small[0],
		file{name: "loop", data: "loop", mode: link},
		file{name: "out", data: "../../etc/passwd", mode: link},
		file{name: "abs", data: "/etc/passwd", mode: link}))
	for name, want := range map[string]string{"loop": "too many links", "out": "does not exist", "abs": "a path on a device"} {
		if _, err := s.ReadFile(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadFile(%s): %v, want %q", name, err, want)
		}
	}
}

// TestCopy copies a zip entry by entry to a zip and to a folder, and the folder
// to a zip: each has what the first had.
func TestCopy(t *testing.T) {
	in := makeZip(t, small...)
	first := copyZip(t, open(t, in))
	if !bytes.Equal(first, copyZip(t, open(t, in))) {
		t.Error("two copies differ")
	}
	dir := t.TempDir()
	w, err := NewDirWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range open(t, first).Entries {
		if err := w.Copy(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	folder, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for name, s := range map[string]*Source{"copy": open(t, first), "folder": folder, "zip of the folder": open(t, copyZip(t, folder))} {
		for _, f := range small {
			e := s.Entry(strings.TrimSuffix(f.name, "/"))
			if e == nil {
				t.Errorf("%s: no %s", name, f.name)
				continue
			}
			if f.mode != 0 && e.Mode != f.mode {
				t.Errorf("%s: %s: mode %v, want %v", name, f.name, e.Mode, f.mode)
			}
			if e.Mode.IsDir() {
				continue
			}
			if b, err := e.ReadAll(maxText); err != nil || string(b) != f.data {
				t.Errorf("%s: %s = %.20q, %v", name, f.name, b, err)
			}
		}
	}
}

func copyZip(t *testing.T, s *Source) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, e := range s.Entries {
		if err := w.Copy(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestWriter(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, h := range []Header{
		{Name: "META", Mode: fs.ModeDir | 0o755},
		{Name: "META/misc_info.txt", Mode: 0o644},
		{Name: "IMAGES/boot.img", Mode: 0o600, Store: true},
		{Name: "SYSTEM/bin/sh", Mode: fs.ModeSymlink | 0o777},
	} {
		if err := w.Add(h, strings.NewReader("toybox")); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"META", "../x", "/x", "", "."} {
		if err := w.Add(Header{Name: name}, nil); err == nil {
			t.Errorf("Add(%q): no error", name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "t.zip")
	if err := os.WriteFile(name, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, buf.Bytes())
	if e := s.Entry("IMAGES/boot.img"); !e.Stored() || e.Modified.Format("2006-01-02") != "2009-01-01" {
		t.Errorf("boot.img: stored %v, of %v", e.Stored(), e.Modified)
	}
	unzip, err := tool.Look("unzip")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(unzip, "-tqq", name).CombinedOutput(); err != nil {
		t.Errorf("unzip -t: %v\n%s", err, out)
	}
}

func TestIn(t *testing.T) {
	_, err := ParseList([]byte("boot\nsys\x00tem\n"))
	if got := In(ABPartitions, err); got == nil || !strings.HasPrefix(got.Error(), "targetfiles: META/ab_partitions.txt: offset 0x8: ") {
		t.Errorf("In = %v, want the file's name and the place", got)
	}
	named := &FormatError{File: "a", Msg: "b"}
	if got := In("c", named); got != named {
		t.Errorf("In of an error that has a name = %v", got)
	}
	if got := In("c", nil); got != nil {
		t.Errorf("In(nil) = %v", got)
	}
}

// TestFolderToZip has what lies in a folder compressed in a zip, and what a zip
// has stored stored.
func TestFolderToZip(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string]string{"META/misc_info.txt": "ab_update=true\n", "IMAGES/boot.img": strings.Repeat("boot", 10_000)} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(b), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, e := range folder.Entries {
		if err := w.Copy(e); err != nil {
			t.Fatal(err)
		}
		if !folder.Entry(e.Name).Mode.IsDir() && w.Stores(e.Header()) {
			t.Errorf("%s: to be stored", e.Name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if s := open(t, buf.Bytes()); s.Entry("IMAGES/boot.img").Stored() || buf.Len() > 5000 {
		t.Errorf("boot.img is stored: the zip has %d bytes", buf.Len())
	}
}

var zero [32 << 10]byte

// holes is a file that is nearly all zeros, and knows only what is not.
type holes struct {
	size  int64
	parts map[int64][]byte // by offset
}

func (h *holes) Write(b []byte) (int, error) {
	for at := 0; at < len(b); at += len(zero) {
		if p := b[at:min(at+len(zero), len(b))]; !bytes.Equal(p, zero[:len(p)]) {
			h.parts[h.size+int64(at)] = bytes.Clone(p)
		}
	}
	h.size += int64(len(b))
	return len(b), nil
}

func (h *holes) ReadAt(b []byte, off int64) (int, error) {
	n := int(min(int64(len(b)), h.size-off))
	clear(b[:n])
	for at, p := range h.parts {
		if from := max(at, off); from < min(at+int64(len(p)), off+int64(n)) {
			copy(b[from-off:n], p[from-at:])
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// zeros is so many bytes.
type zeros struct{ n int64 }

func (z *zeros) Read(b []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), z.n))
	clear(b[:n])
	z.n -= int64(n)
	return n, nil
}

// TestHuge writes, copies and finds again an entry of more than 4 GiB, and one
// behind it.
func TestHuge(t *testing.T) {
	if testing.Short() {
		t.Skip("copies 8 GiB in memory")
	}
	const size = math.MaxUint32 + 4096
	h := &holes{parts: make(map[int64][]byte)}
	w := NewWriter(h)
	add := func(name string, r io.Reader) {
		if err := w.Add(Header{Name: name, Mode: 0o644, Store: true}, r); err != nil {
			t.Fatal(err)
		}
	}
	add("IMAGES/super.img", &zeros{size})
	add("META/misc_info.txt", strings.NewReader("a=b\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenZip(h, h.size)
	if err != nil {
		t.Fatal(err)
	}
	again := &holes{parts: make(map[int64][]byte)}
	w = NewWriter(again)
	for _, e := range s.Entries {
		if err := w.Copy(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenZip(again, again.size); err != nil {
		t.Fatal(err)
	}
	if e := s.Entry("IMAGES/super.img"); e == nil || e.Size != size {
		t.Errorf("super.img: %+v", e)
	}
	if b, err := s.ReadFile(MiscInfo); string(b) != "a=b\n" || err != nil {
		t.Errorf("misc_info.txt = %q, %v", b, err)
	}
}

func TestImages(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"boot.img", "vbmeta.img", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Layout != Images || s.ImageName("boot") != "boot.img" {
		t.Errorf("layout %v, boot is %q", s.Layout, s.ImageName("boot"))
	}
	if b, err := s.ReadFile(s.ImageName("vbmeta")); string(b) != "vbmeta.img" || err != nil {
		t.Errorf("vbmeta = %q, %v", b, err)
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("an empty folder is opened")
	}
}

func FuzzOpenZip(f *testing.F) {
	f.Add(makeZip(f, small...))
	f.Add(makeZip(f, file{name: "boot.img", data: "x"}))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := OpenZip(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			return
		}
		for _, e := range s.Entries {
			if b, err := e.ReadAll(1 << 16); err == nil && int64(len(b)) != e.Size {
				t.Errorf("%s: %d bytes, and %d are said", e.Name, len(b), e.Size)
			}
		}
	})
}
