package signtest

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A zipFile is an entry of a zip that is made in memory.
type zipFile struct {
	name   string
	data   []byte
	stored bool
	align  int // of the data, in bytes, where it is stored; 0: 4
}

// zipOf returns a zip as AOSP's tools write APKs: sizes in front of the data,
// and stored data aligned by the extra field 0xd935.
func zipOf(tb testing.TB, files ...zipFile) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		h := &zip.FileHeader{
			Name: f.name, Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(f.data), UncompressedSize64: uint64(len(f.data)),
		}
		data := f.data
		if f.stored {
			h.Method = zip.Store
			align := max(f.align, 4)
			if err := w.Flush(); err != nil {
				tb.Fatal(err)
			}
			start := out.Len() + 30 + len(f.name) + 6
			h.Extra = binary.LittleEndian.AppendUint16(nil, 0xd935)
			pad := (align - start%align) % align
			h.Extra = binary.LittleEndian.AppendUint16(h.Extra, uint16(2+pad))
			h.Extra = binary.LittleEndian.AppendUint16(h.Extra, uint16(align))
			h.Extra = append(h.Extra, make([]byte, pad)...)
		} else {
			data = deflate(tb, f.data)
		}
		h.CompressedSize64 = uint64(len(data))
		e, err := w.CreateRaw(h)
		if err == nil {
			_, err = e.Write(data)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func deflate(tb testing.TB, p []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		_, err = w.Write(p)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// zip writes the folder as AOSP's soong_zip does: META first, then all in order
// of names; links are links, folders are entries, what is small compressed.
func (t *Target) zip(tb testing.TB) string {
	tb.Helper()
	var names []string
	err := filepath.WalkDir(t.Dir, func(p string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(t.Dir, p); rel != "." {
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	rank := func(name string) string {
		if strings.HasPrefix(name, "META") {
			return "0" + name
		}
		return "1" + name
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
	out := filepath.Join(tb.TempDir(), "tester-target_files.zip")
	f, err := os.Create(out)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for _, name := range names {
		if err := t.zipEntry(w, name); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out
}

func (t *Target) zipEntry(w *zip.Writer, name string) error {
	fi, err := os.Lstat(t.path(name))
	if err != nil {
		return err
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: madeAt.UTC()}
	h.SetMode(fi.Mode())
	switch {
	case fi.IsDir():
		h.Name += "/"
		h.Method = zip.Store
		_, err := w.CreateHeader(h)
		return err
	case fi.Mode()&fs.ModeSymlink != 0:
		h.Method = zip.Store
		target, err := os.Readlink(t.path(name))
		if err != nil {
			return err
		}
		e, err := w.CreateHeader(h)
		if err == nil {
			_, err = e.Write([]byte(target))
		}
		return err
	}
	if t.Options.Padding > 0 && (strings.HasSuffix(name, ".img") || strings.HasPrefix(name, paddingDir)) {
		h.Method = zip.Store // measurements are not of this zip's making
	}
	in, err := os.Open(t.path(name))
	if err != nil {
		return err
	}
	defer in.Close()
	e, err := w.CreateHeader(h)
	if err == nil {
		_, err = in.WriteTo(e)
	}
	return err
}
