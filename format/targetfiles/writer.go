package targetfiles

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"strings"
)

// zipDate is 2009-01-01, the date that releasetools give what they write
// (common.py, ZipWrite).
const zipDate = (2009-1980)<<9 | 1<<5 | 1

// A Writer writes a target-files zip or folder: the same calls give the same
// bytes. Close must be called at the end.
type Writer struct {
	zip   *zip.Writer
	root  *os.Root
	names map[string]bool
}

// NewWriter returns a writer of a zip to w. Zips and entries of more than 4 GiB
// are zip64.
func NewWriter(w io.Writer) *Writer {
	return &Writer{zip: zip.NewWriter(w), names: make(map[string]bool)}
}

// NewDirWriter returns a writer of files below the folder dir, which is there.
func NewDirWriter(dir string) (*Writer, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Writer{root: root, names: make(map[string]bool)}, nil
}

// A Header describes an entry that is written anew. Its date is 2009-01-01.
type Header struct {
	Name  string      // with slashes, without one at the end
	Mode  fs.FileMode // type and permissions; a link's data is its target
	Store bool        // uncompressed, so that it can be read anywhere
}

// Header returns a header for new data in place of e's: of its name and mode,
// stored if e is so in a zip. What comes from a folder is compressed in a zip, as
// a build does that makes one.
func (e *Entry) Header() Header {
	return Header{Name: e.Name, Mode: e.Mode, Store: e.zip != nil && e.Stored()}
}

// Stores says whether Add writes the bytes of an entry as they are.
func (w *Writer) Stores(h Header) bool { return w.root != nil || h.Store }

// Add writes an entry with the bytes of r, which may be nil for a folder.
func (w *Writer) Add(h Header, r io.Reader) error {
	if err := w.take(h.Name); err != nil {
		return err
	}
	if w.root != nil {
		return w.addFile(h, r)
	}
	//lint:ignore SA1019 Modified would add an extra field
	zh := &zip.FileHeader{Name: h.Name, Method: zip.Deflate, ModifiedDate: zipDate}
	zh.SetMode(h.Mode)
	if h.Mode.IsDir() {
		zh.Name += "/"
	}
	if h.Store || !h.Mode.IsRegular() {
		zh.Method = zip.Store
	}
	out, err := w.zip.CreateHeader(zh)
	if err == nil && !h.Mode.IsDir() {
		_, err = io.Copy(out, r)
	}
	if err != nil {
		return fmt.Errorf("targetfiles: write %s: %w", h.Name, err)
	}
	return nil
}

// Copy writes an entry of a source as it is there: of a zip to a zip its
// compressed bytes, with its header's time.
func (w *Writer) Copy(e *Entry) error {
	if w.zip == nil || e.zip == nil {
		if e.Mode.IsDir() {
			return w.Add(e.Header(), nil)
		}
		r, err := e.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		return w.Add(e.Header(), r)
	}
	if err := w.take(e.Name); err != nil {
		return err
	}
	h := e.zip.FileHeader
	h.Extra = withoutZip64(h.Extra)
	if h.CompressedSize64 >= math.MaxUint32 || h.UncompressedSize64 >= math.MaxUint32 {
		h.Flags |= 1 << 3 // the sizes follow the data: the header in front has no room for them
	}
	raw, err := e.zip.OpenRaw()
	if err != nil {
		return fmt.Errorf("targetfiles: %s: %w", e.Name, err)
	}
	out, err := w.zip.CreateRaw(&h)
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{out}, raw, make([]byte, min(1<<20, e.CompressedSize+1)))
	}
	if err != nil {
		return fmt.Errorf("targetfiles: write %s: %w", e.Name, err)
	}
	return nil
}

// Close ends the zip. It does not close the writer below.
func (w *Writer) Close() error {
	if w.root != nil {
		return w.root.Close()
	}
	return w.zip.Close()
}

func (w *Writer) take(name string) error {
	if !fs.ValidPath(name) || name == "." {
		return fmt.Errorf("targetfiles: write %q: not a name below a folder", name)
	}
	if w.names[name] {
		return fmt.Errorf("targetfiles: write %s: it was written already", name)
	}
	w.names[name] = true
	return nil
}

func (w *Writer) addFile(h Header, r io.Reader) error {
	if err := w.root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
		return err
	}
	switch h.Mode.Type() {
	case fs.ModeDir:
		return w.root.MkdirAll(h.Name, h.Mode.Perm()|0o700)
	case fs.ModeSymlink:
		var to strings.Builder
		if _, err := io.Copy(&to, io.LimitReader(r, maxLink)); err != nil {
			return err
		}
		return w.root.Symlink(to.String(), h.Name)
	}
	f, err := w.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, h.Mode.Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// withoutZip64 returns extra fields without that of sizes beyond 4 GiB, which
// the writer adds where it must.
func withoutZip64(extra []byte) []byte {
	var out []byte
	for len(extra) >= 4 {
		n := 4 + int(binary.LittleEndian.Uint16(extra[2:]))
		if n > len(extra) {
			break
		}
		if binary.LittleEndian.Uint16(extra) != 1 {
			out = append(out, extra[:n]...)
		}
		extra = extra[n:]
	}
	return append(out, extra...)
}
