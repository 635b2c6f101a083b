package fsimage

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxDepth is how deep folders may lie within each other: paths of the most
// bytes that Linux takes, PATH_MAX, have fewer.
const maxDepth = 2048

// Walk calls fn for n and all below it, each folder before what it holds, and
// that sorted by name. Paths begin with name, which is that of n: "" for a
// root makes "etc" and "etc/hosts". [fs.SkipDir] from fn leaves a folder out. A
// folder that is in two places, or in itself, ends the walk with an error, as
// do an entry of another type than its inode and two entries of one name.
func (f *FS) Walk(name string, n Node, fn func(name string, n Node) error) error {
	w := walker{f: f, fn: fn, seen: map[uint64]bool{}}
	return w.walk(name, n, 0)
}

type walker struct {
	f    *FS
	fn   func(string, Node) error
	seen map[uint64]bool // folders
}

func (w *walker) walk(name string, n Node, depth int) error {
	info := n.Info()
	if info.Mode.IsDir() {
		switch {
		case w.seen[info.Num]:
			return fmt.Errorf("%s: %w", name, w.f.bad(n, "a folder in two places, or in itself"))
		case depth > maxDepth:
			return fmt.Errorf("%s: %w", name, w.f.bad(n, "folders lie deeper than %d", maxDepth))
		}
		w.seen[info.Num] = true
	}
	err := w.fn(name, n)
	switch {
	case err == fs.SkipDir && info.Mode.IsDir():
		return nil
	case err != nil || !info.Mode.IsDir():
		return err
	}
	entries, err := w.f.Entries(n)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, e := range entries {
		child, err := w.f.src.Node(e.Num)
		full := path.Join(name, e.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
		if t := child.Info().Mode.Type(); e.Type != fs.ModeIrregular && t != e.Type {
			return fmt.Errorf("%s: %w", full, w.f.bad(child, "of type %v, its entry says %v", t, e.Type))
		}
		if err := w.walk(full, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Entries returns what a folder holds, sorted by name. Two of one name are an
// error.
func (f *FS) Entries(dir Node) ([]Entry, error) {
	var list []Entry
	for e, err := range dir.Entries() {
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(list); i++ {
		if list[i].Name == list[i-1].Name {
			return nil, f.bad(dir, "two entries are named %q", list[i].Name)
		}
	}
	return list, nil
}

// ValidName reports whether a name may stand in a folder: one that is not
// empty, and neither . nor .., has no slash and no NUL, and at most 255 bytes.
func ValidName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsAny(name, "/\x00")
}
