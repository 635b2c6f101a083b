package imagetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"mios/format/fsimage"
)

// A Model is what an image should hold, by path. Names of one file lead to one entry.
type Model map[string]*Entry

// An Entry is a file of a model.
type Entry struct {
	Mode     fs.FileMode
	UID, GID uint32
	Time     int64 // in seconds; not of what mke2fs makes itself
	Links    uint32
	Data     [32]byte // of a file, SHA-256
	Size     int64    // of a file
	Target   string   // of a link
	Device   string
	Xattrs   string
}

// ModelOf reads all that an image holds.
func ModelOf(f *fsimage.FS) (Model, error) {
	root, err := f.Root()
	if err != nil {
		return nil, err
	}
	m, byNum := Model{}, map[uint64]*Entry{}
	return m, f.Walk("", root, func(name string, n fsimage.Node) error {
		if name == "" {
			name = "."
		}
		num := n.Info().Num
		if byNum[num] == nil {
			e, err := entryOf(f, n)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			byNum[num] = e
		}
		m[name] = byNum[num]
		return nil
	})
}

func entryOf(f *fsimage.FS, n fsimage.Node) (*Entry, error) {
	i := n.Info()
	e := &Entry{Mode: i.Mode, UID: i.UID, GID: i.GID, Time: i.ModTime.Unix(), Links: i.Links, Device: fmt.Sprint(i.Major, i.Minor)}
	list, err := n.Xattrs()
	if err != nil {
		return nil, err
	}
	e.Xattrs = attributes(list)
	switch {
	case i.Mode.IsRegular():
		sum := sha256.New()
		if _, err := f.Copy(sum, n); err != nil {
			return nil, err
		}
		e.Data, e.Size = [32]byte(sum.Sum(nil)), i.Size
	case i.Mode&fs.ModeSymlink != 0:
		e.Target, err = n.Target()
	}
	return e, err
}

func attributes(list []fsimage.Xattr) string {
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprintf("%s=%q", x.Name, x.Value))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Compare fails a test where an image holds something else.
func (m Model) Compare(tb testing.TB, f *fsimage.FS) {
	tb.Helper()
	got, err := ModelOf(f)
	if err != nil {
		tb.Fatal(err)
	}
	for name, want := range m {
		if g := got[name]; g == nil {
			tb.Errorf("%s is not there", name)
		} else if *g != *want {
			tb.Errorf("%s is %+v, want %+v", name, *g, *want)
		}
	}
	for name := range got {
		if m[name] == nil {
			tb.Errorf("%s is there", name)
		}
	}
	if tb.Failed() {
		tb.FailNow()
	}
}

// A Mutator makes random changes, always the same of a seed, to an image and to
// the model of it.
type Mutator struct {
	Model Model
	R     *rand.Rand
	Most  int      // how large files become, in bytes
	Skip  []string // folders to leave alone
	count int
}

// Change makes one change, and says which.
func (u *Mutator) Change(e fsimage.Editor) (string, error) {
	u.count++
	switch u.R.IntN(8) {
	case 0, 1, 2, 3:
		name := u.pick(func(e *Entry) bool { return e.Mode.IsRegular() })
		if name == "" {
			break
		}
		data := u.data(int(u.Model[name].Size))
		x := u.Model[name]
		x.Data, x.Size = sha256.Sum256(data), int64(len(data))
		return fmt.Sprintf("replace %s by %d bytes", name, len(data)), e.Replace(name, bytes.NewReader(data), int64(len(data)))
	case 4, 5:
		data := u.data(u.R.IntN(u.Most))
		name, a := u.name(), u.attr()
		x := u.entry(name, a, a.Mode, 1)
		x.Data, x.Size = sha256.Sum256(data), int64(len(data))
		return fmt.Sprintf("add %s of %d bytes", name, len(data)), e.Add(name, a, io.MultiReader(bytes.NewReader(data)), int64(len(data)))
	case 6:
		name, a := u.name(), u.attr()
		if u.R.IntN(3) == 0 {
			target := strings.Repeat("../x", 1+u.R.IntN(100))
			u.entry(name, a, 0o777|fs.ModeSymlink, 1).Target = target
			return "symlink " + name, e.Symlink(target, name, a)
		}
		u.entry(name, a, a.Mode|fs.ModeDir, 2)
		u.Model[path.Dir(name)].Links++
		return "mkdir " + name, e.Mkdir(name, a)
	}
	name := u.pick(func(e *Entry) bool { return !e.Mode.IsDir() || u.R.IntN(4) == 0 })
	if name == "" || name == "." {
		return "nothing", nil
	}
	if u.Model[name].Mode.IsDir() {
		u.Model[path.Dir(name)].Links--
	}
	for n := range maps.Keys(u.Model) {
		if n == name || strings.HasPrefix(n, name+"/") {
			if !u.Model[n].Mode.IsDir() {
				u.Model[n].Links--
			}
			delete(u.Model, n)
		}
	}
	return "remove " + name, e.Remove(name)
}

func (u *Mutator) pick(ok func(*Entry) bool) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(u.Model)) {
		skip := slices.ContainsFunc(u.Skip, func(s string) bool { return name == s || strings.HasPrefix(name, s+"/") })
		if !skip && ok(u.Model[name]) {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		return ""
	}
	return list[u.R.IntN(len(list))]
}

// name is a new one, in a folder that is there.
func (u *Mutator) name() string {
	dir := u.pick(func(e *Entry) bool { return e.Mode.IsDir() })
	base := fmt.Sprintf("%c new-%d%s", 'A'+u.R.IntN(60), u.count, strings.Repeat("y", u.R.IntN(60)))
	return path.Join(dir, strings.ReplaceAll(base, "/", "_"))
}

func (u *Mutator) data(near int) []byte {
	size := [...]int{0, near, near + 1, near / 2, u.R.IntN(u.Most), u.R.IntN(5000), 4096 * u.R.IntN(8), near + 5000}[u.R.IntN(8)]
	if u.R.IntN(2) == 0 {
		return text(u.R, size)
	}
	return noise(u.R, size)
}

func (u *Mutator) attr() fsimage.Attr {
	a := fsimage.Attr{
		Mode: [...]fs.FileMode{0o644, 0o600, 0o755, 0o755 | fs.ModeSetuid}[u.R.IntN(4)],
		UID:  [...]uint32{0, 1000, 70_000}[u.R.IntN(3)], GID: [...]uint32{0, 2000, 1 << 31}[u.R.IntN(3)],
	}
	if u.R.IntN(2) == 0 {
		a.ModTime = time.Unix(1_230_768_000, 0)
	}
	switch u.R.IntN(4) {
	case 0:
		a.Xattrs = []fsimage.Xattr{
			{Name: "security.selinux", Value: []byte("u:object_r:system_file:s0\x00")},
			{Name: "security.capability", Value: []byte("\x01\x00\x00\x02\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
		}
	case 1:
		a.Xattrs = []fsimage.Xattr{{Name: "security.selinux", Value: []byte("u:object_r:vendor_file:s0\x00")}}
	case 2:
		a.Xattrs = []fsimage.Xattr{{Name: "user.large", Value: []byte(strings.Repeat("v", 200+u.R.IntN(300)))}}
	}
	return a
}

func (u *Mutator) entry(name string, a fsimage.Attr, mode fs.FileMode, links uint32) *Entry {
	x := &Entry{Mode: mode, UID: a.UID, GID: a.GID, Time: a.ModTime.Unix(), Links: links, Device: "0 0", Xattrs: attributes(a.Xattrs)}
	if a.ModTime.IsZero() {
		x.Time = u.Model[path.Dir(name)].Time
	}
	u.Model[name] = x
	return x
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

// Memory is an image in memory.
type Memory struct{ B []byte }

// ReadAt implements [io.ReaderAt].
func (m *Memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.B).ReadAt(p, off) }

// WriteAt implements [io.WriterAt].
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	if more := off + int64(len(p)) - int64(len(m.B)); more > 0 {
		m.B = append(m.B, make([]byte, more)...)
	}
	return copy(m.B[off:], p), nil
}

// Truncate implements [fsimage.File].
func (m *Memory) Truncate(size int64) error {
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
	return &Memory{b}
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

// CompareDir fails a test where a folder that another program extracted holds other
// names, types, targets or data.
func (m Model) CompareDir(tb testing.TB, dir string) {
	tb.Helper()
	seen := 0
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		seen++
		want := m[name]
		if want == nil || want.Mode.Type() != d.Type() {
			return fmt.Errorf("%s is a %v, want %+v", name, d.Type(), want)
		}
		switch {
		case d.Type().IsRegular():
			b, err := os.ReadFile(path.Join(dir, name))
			if err != nil {
				return err
			}
			if sha256.Sum256(b) != want.Data {
				return fmt.Errorf("%s: other data", name)
			}
		case d.Type() == fs.ModeSymlink:
			if t, err := os.Readlink(path.Join(dir, name)); err != nil || t != want.Target {
				return fmt.Errorf("%s: target %q, %v, want %q", name, t, err, want.Target)
			}
		}
		return nil
	})
	if err != nil || seen != len(m) {
		tb.Fatalf("%d files, want %d: %v", seen, len(m), err)
	}
}
