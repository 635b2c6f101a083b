package imagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/fsimage"
)

// Memory is an image in memory.
type Memory struct {
	B    []byte
	Most int // bytes that it may become; 0: any
}

// ReadAt implements [io.ReaderAt].
func (m *Memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.B).ReadAt(p, off) }

// WriteAt implements [io.WriterAt].
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	if end := off + int64(len(p)); end > int64(len(m.B)) {
		if err := m.Truncate(end); err != nil {
			return 0, err
		}
	}
	return copy(m.B[off:], p), nil
}

// Truncate implements [fsimage.File].
func (m *Memory) Truncate(size int64) error {
	if m.Most > 0 && size > int64(m.Most) {
		return fmt.Errorf("an image of %d bytes, of which there may be %d", size, m.Most)
	}
	if more := size - int64(len(m.B)); more > 0 {
		m.B = append(m.B, make([]byte, more)...)
	}
	m.B = m.B[:size]
	return nil
}

// Read reads an image into memory.
func Read(tb testing.TB, name string) *Memory {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return &Memory{B: b}
}

// Save writes the image to a file, with holes for zeros, and returns its name.
func (m *Memory) Save(tb testing.TB) string {
	tb.Helper()
	f, err := os.Create(filepath.Join(tb.TempDir(), "image"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	const step = 64 << 10
	none := make([]byte, step)
	for at := 0; at < len(m.B); at += step {
		if p := m.B[at:min(at+step, len(m.B))]; !bytes.Equal(p, none[:len(p)]) {
			if _, err := f.WriteAt(p, int64(at)); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := f.Truncate(int64(len(m.B))); err != nil {
		tb.Fatal(err)
	}
	return f.Name()
}

// Changed is how many blocks of bs bytes differ in two images.
func Changed(a, b []byte, bs int) int {
	n := 0
	for at := 0; at < max(len(a), len(b)); at += bs {
		if !bytes.Equal(a[min(at, len(a)):min(at+bs, len(a))], b[min(at, len(b)):min(at+bs, len(b))]) {
			n++
		}
	}
	return n
}

// CheckErrors has an editor of an image of the small tree refuse what it must.
func CheckErrors(tb testing.TB, e fsimage.Editor) {
	tb.Helper()
	none := strings.NewReader("")
	for _, tt := range []struct {
		what      string
		err, want error
	}{
		{"replace of nothing", e.Replace("folder/none", none, 0), fs.ErrNotExist},
		{"replace in nothing", e.Replace("none/x", none, 0), fs.ErrNotExist},
		{"replace in a file", e.Replace("folder/log/x", none, 0), fs.ErrNotExist},
		{"replace of a folder", e.Replace("folder", none, 0), fs.ErrInvalid},
		{"replace of a link", e.Replace("folder/inner/link", none, 0), fs.ErrInvalid},
		{"replace of an absolute path", e.Replace("/folder/log", none, 0), fs.ErrInvalid},
		{"replace with too little", e.Replace("folder/log", strings.NewReader("abc"), 10_000), io.ErrUnexpectedEOF},
		{"add over a file", e.Add("folder/log", fsimage.Attr{}, none, 0), fs.ErrExist},
		{"add in nothing", e.Add("none/x", fsimage.Attr{}, none, 0), fs.ErrNotExist},
		{"add in a file", e.Add("folder/log/x", fsimage.Attr{}, none, 0), fs.ErrInvalid},
		{"add of a long name", e.Add("folder/"+strings.Repeat("x", 256), fsimage.Attr{}, none, 0), fs.ErrInvalid},
		{"add outside", e.Add("../x", fsimage.Attr{}, none, 0), fs.ErrInvalid},
		{"add of the root", e.Add(".", fsimage.Attr{}, none, 0), fs.ErrInvalid},
		{"mkdir over a folder", e.Mkdir("folder", fsimage.Attr{}), fs.ErrExist},
		{"symlink to nothing", e.Symlink("", "folder/x", fsimage.Attr{}), fs.ErrInvalid},
		{"attributes of one name", e.Mkdir("folder/x", fsimage.Attr{Xattrs: []fsimage.Xattr{{Name: "user.x"}, {Name: "user.x"}}}), fs.ErrInvalid},
		{"an attribute of no kind", e.Mkdir("folder/x", fsimage.Attr{Xattrs: []fsimage.Xattr{{Name: "x"}}}), fs.ErrInvalid},
		{"remove of nothing", e.Remove("folder/none"), fs.ErrNotExist},
		{"remove of the root", e.Remove("."), fs.ErrInvalid},
	} {
		if !errors.Is(tt.err, tt.want) {
			tb.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
	if err := e.Replace("folder/log", strings.NewReader("too much"), 3); err == nil {
		tb.Error("replace with too much: no error")
	}
}

// editErrors are those of an editor that say nothing against an image.
var editErrors = []error{fs.ErrNotExist, fs.ErrExist, fs.ErrInvalid, fsimage.ErrNoSpace}

// growth is how much longer [EditAll] lets an image become, in bytes.
const growth = 1 << 20

// EditAll makes changes of all kinds in an image that may be hostile: it is a
// copy of b. What the editor refuses it must refuse with an error that says where the image
// is wrong, and it must not write behind what it was given.
func EditAll(b []byte, open func(f fsimage.File, size int64, o fsimage.EditOptions) (fsimage.Editor, error)) error {
	most := len(b) + growth
	m := &Memory{B: bytes.Clone(b), Most: most}
	e, err := open(m, int64(len(b)), fsimage.EditOptions{MaxSize: int64(most)})
	if err != nil {
		return err
	}
	a := fsimage.Attr{Mode: 0o644, Xattrs: []fsimage.Xattr{{Name: "security.selinux", Value: []byte("u:object_r:system_file:s0\x00")}}}
	data := func(n int) (io.Reader, int64) { return strings.NewReader(strings.Repeat("d", n)), int64(n) }
	replace := func(name string, n int) func() error {
		return func() error { r, size := data(n); return e.Replace(name, r, size) }
	}
	add := func(name string, n int) func() error {
		return func() error { r, size := data(n); return e.Add(name, a, r, size) }
	}
	for _, change := range []func() error{
		replace("folder/log", 100_000), replace("folder/short", 10), replace("folder/random", 0),
		func() error { return e.Remove("folder/again") },
		add("folder/new", 70_000), add("new", 5),
		func() error { return e.Mkdir("folder/inner/deep", a) },
		add("folder/inner/deep/file", 3000),
		func() error { return e.Symlink(strings.Repeat("x", 100), "folder/inner/far", a) },
		replace("folder/new", 20), replace("folder/inner/tiny", 9000),
		func() error { return e.Remove("folder/inner") },
		func() error { return e.Remove("folder") },
	} {
		if err := change(); err != nil && !known(err) {
			return err
		}
	}
	_, err = e.Commit()
	return err
}

func known(err error) bool {
	for _, k := range editErrors {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}
