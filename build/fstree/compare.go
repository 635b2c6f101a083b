package fstree

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"mios/format/fsimage"
	"mios/internal/readat"
)

// A Difference is a file that is not the same in two images.
type Difference struct {
	Path string
	// Old and New are the file's inodes; nil where it is not there.
	Old, New fsimage.Node
	// Changes are what differs, if the file is in both.
	Changes []Change
}

// A Change is a property of a file that is not the same.
type Change struct {
	Name     string // type, mode, owner, size, data, target, device, or xattr and the attribute's name
	Old, New string // for people; of data nothing
}

// Compare calls fn for each file that is in one image only, or is not the same
// in both, in order of their paths. A folder that is in one only is told with all that is
// in it. Times are not compared: builds differ in them.
func Compare(ctx context.Context, a, b *fsimage.FS, fn func(Difference) error) error {
	ra, err := a.Root()
	if err != nil {
		return err
	}
	rb, err := b.Root()
	if err != nil {
		return err
	}
	c := comparer{ctx: ctx, a: a, b: b, fn: fn, seenA: map[uint64]bool{}, seenB: map[uint64]bool{}}
	return c.both("/", ra, rb)
}

type comparer struct {
	ctx          context.Context
	a, b         *fsimage.FS
	fn           func(Difference) error
	seenA, seenB map[uint64]bool // folders
	buf          [2][]byte
}

// both compares what is in both images.
func (c *comparer) both(name string, a, b fsimage.Node) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	changes, err := c.changes(a, b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(changes) > 0 {
		if err := c.fn(Difference{Path: name, Old: a, New: b, Changes: changes}); err != nil {
			return err
		}
	}
	dirA, dirB := a.Info().Mode.IsDir(), b.Info().Mode.IsDir()
	switch {
	case dirA && dirB:
		return c.folders(name, a, b)
	case dirA:
		return c.inside(c.a, name, a, true)
	case dirB:
		return c.inside(c.b, name, b, false)
	}
	return nil
}

// inside tells all below a folder that is in one image only.
func (c *comparer) inside(f *fsimage.FS, name string, n fsimage.Node, old bool) error {
	return f.Walk(name, n, func(full string, n fsimage.Node) error {
		if full == name {
			return nil
		}
		return c.one(full, n, old)
	})
}

func (c *comparer) one(name string, n fsimage.Node, old bool) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if old {
		return c.fn(Difference{Path: name, Old: n})
	}
	return c.fn(Difference{Path: name, New: n})
}

// folders compares what two folders hold.
func (c *comparer) folders(name string, a, b fsimage.Node) error {
	if c.seenA[a.Info().Num] || c.seenB[b.Info().Num] {
		return fmt.Errorf("%s: a folder in two places, or in itself", name)
	}
	c.seenA[a.Info().Num], c.seenB[b.Info().Num] = true, true
	listA, err := c.a.Entries(a)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	listB, err := c.b.Entries(b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for len(listA) > 0 || len(listB) > 0 {
		switch {
		case len(listB) == 0 || len(listA) > 0 && listA[0].Name < listB[0].Name:
			err = c.single(c.a, name, listA[0], true)
			listA = listA[1:]
		case len(listA) == 0 || listB[0].Name < listA[0].Name:
			err = c.single(c.b, name, listB[0], false)
			listB = listB[1:]
		default:
			err = c.pair(path.Join(name, listA[0].Name), listA[0].Num, listB[0].Num)
			listA, listB = listA[1:], listB[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) single(f *fsimage.FS, dir string, e fsimage.Entry, old bool) error {
	full := path.Join(dir, e.Name)
	n, err := f.Node(e.Num)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	if err := c.one(full, n, old); err != nil || !n.Info().Mode.IsDir() {
		return err
	}
	return c.inside(f, full, n, old)
}

func (c *comparer) pair(full string, numA, numB uint64) error {
	a, err := c.a.Node(numA)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	b, err := c.b.Node(numB)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	return c.both(full, a, b)
}

// changes says what of two files differs.
func (c *comparer) changes(a, b fsimage.Node) ([]Change, error) {
	ia, ib := a.Info(), b.Info()
	if ia.Mode.Type() != ib.Mode.Type() {
		return []Change{{"type", Kind(a), Kind(b)}}, nil
	}
	var out []Change
	differ := func(name, old, new string) {
		if old != new {
			out = append(out, Change{name, old, new})
		}
	}
	differ("mode", ia.Mode.String(), ib.Mode.String())
	differ("owner", fmt.Sprintf("%d:%d", ia.UID, ia.GID), fmt.Sprintf("%d:%d", ib.UID, ib.GID))
	switch {
	case ia.Mode&fs.ModeDevice != 0:
		differ("device", fmt.Sprintf("%d:%d", ia.Major, ia.Minor), fmt.Sprintf("%d:%d", ib.Major, ib.Minor))
	case ia.Mode&fs.ModeSymlink != 0:
		ta, err := a.Target()
		if err != nil {
			return nil, err
		}
		tb, err := b.Target()
		if err != nil {
			return nil, err
		}
		differ("target", ta, tb)
	case ia.Mode.IsRegular() && ia.Size != ib.Size:
		differ("size", fmt.Sprint(ia.Size), fmt.Sprint(ib.Size))
	case ia.Mode.IsRegular():
		same, err := c.sameData(a, b)
		if err != nil {
			return nil, err
		}
		if !same {
			out = append(out, Change{Name: "data"})
		}
	}
	more, err := xattrChanges(a, b)
	return append(out, more...), err
}

// sameData compares files of one size.
func (c *comparer) sameData(a, b fsimage.Node) (bool, error) {
	da, db, size := c.a.Data(a), c.b.Data(b), a.Info().Size
	for i := range c.buf {
		if c.buf[i] == nil {
			c.buf[i] = make([]byte, bufferSize)
		}
	}
	for off := int64(0); off < size; off += bufferSize {
		n := min(bufferSize, size-off)
		pa, pb := c.buf[0][:n], c.buf[1][:n]
		if err := readat.Full(da, pa, off); err != nil {
			return false, err
		}
		if err := readat.Full(db, pb, off); err != nil {
			return false, err
		}
		if !bytes.Equal(pa, pb) {
			return false, nil
		}
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
	}
	return true, nil
}

func xattrChanges(a, b fsimage.Node) ([]Change, error) {
	old, err := a.Xattrs()
	if err != nil {
		return nil, err
	}
	now, err := b.Xattrs()
	if err != nil {
		return nil, err
	}
	values := map[string][2]*string{}
	for i, list := range [][]fsimage.Xattr{old, now} {
		for _, x := range list {
			v, s := values[x.Name], attribute(x)
			v[i] = &s
			values[x.Name] = v
		}
	}
	var out []Change
	for name, v := range values {
		switch {
		case v[0] == nil:
			out = append(out, Change{"xattr " + name, "", *v[1]})
		case v[1] == nil:
			out = append(out, Change{"xattr " + name, *v[0], ""})
		case *v[0] != *v[1]:
			out = append(out, Change{"xattr " + name, *v[0], *v[1]})
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return out, nil
}

// attribute is an attribute's value for people: a label as it is, others in
// hexadecimal.
func attribute(x fsimage.Xattr) string {
	if x.Name == "security.selinux" {
		return label(x.Value)
	}
	return fmt.Sprintf("%#x", x.Value)
}
