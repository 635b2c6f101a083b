package imagetest

import (
	"bytes"
	"crypto/sha256"
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
	Only  string   // the folder in which names are made and removed; "": everywhere
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
		skip = skip || u.Only != "" && name != u.Only && !strings.HasPrefix(name, u.Only+"/")
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
