package delta

import (
	"path"
	"slices"
	"strings"
)

// A matcher finds the old file that a new one is compared with.
type matcher struct {
	old   *tree
	names map[string][]*file // by shape of the name, sorted by path
}

func newMatcher(old *tree) *matcher {
	m := &matcher{old: old, names: map[string][]*file{}}
	for _, f := range old.files {
		s := shape(f.name)
		m.names[s] = append(m.names[s], f)
	}
	for _, list := range m.names {
		slices.SortFunc(list, func(a, b *file) int { return strings.Compare(a.name, b.name) })
	}
	return m
}

// match returns the old file for f: the one of its path, else the one that has
// most of the blocks that f is copied from, else the one whose path is most like
// its own; or nil.
func (m *matcher) match(f *file, copied func(uint64) uint32) *file {
	if old := m.old.byName[f.name]; old != nil {
		return old
	}
	if old := m.byContent(f, copied); old != nil {
		return old
	}
	return m.byName(f)
}

// byContent counts whose blocks f is copied from.
func (m *matcher) byContent(f *file, copied func(uint64) uint32) *file {
	count := map[uint32]int{}
	best, most := uint32(0), 0
	for _, x := range f.extents {
		for b := x.StartBlock; b < x.StartBlock+x.NumBlocks; b++ {
			from := copied(b)
			if from >= lastMark {
				continue
			}
			owner := m.old.owner[from]
			if owner == 0 {
				continue
			}
			count[owner]++
			if n := count[owner]; n > most || n == most && owner < best {
				best, most = owner, n
			}
		}
	}
	if most == 0 {
		return nil
	}
	return m.old.files[best-1]
}

// byName looks among the files whose names differ in digits only.
func (m *matcher) byName(f *file) *file {
	var best *file
	most := -1
	for _, old := range m.names[shape(f.name)] {
		if n := alike(old.name, f.name); n > most {
			best, most = old, n
		}
	}
	return best
}

// shape is a file's name without what changes from version to version: libfoo-1.2.so
// and libfoo-1.10.so have one, and so have /app/~~x1==/base.apk and /app/~~y2==/base.apk
// only by their names.
func shape(name string) string {
	var b strings.Builder
	digits := false
	for _, c := range []byte(path.Base(name)) {
		switch {
		case c >= '0' && c <= '9':
			if !digits {
				b.WriteByte('0')
			}
			digits = true
			continue
		case digits && (c == '.' || c == '-' || c == '_' || c == '+' || c == '~'):
			continue // 1.2 is as 1.2.3
		}
		digits = false
		b.WriteByte(c)
	}
	return b.String()
}

// alike is how many bytes two paths have in common at their ends.
func alike(a, b string) int {
	n, k := min(len(a), len(b)), 0
	for k < n && a[k] == b[k] {
		k++
	}
	end := 0
	for end < n-k && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	return k + end
}
