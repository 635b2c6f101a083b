package fstree

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"mios/format/fsimage"
)

// A recorder passes changes on to an editor, and notes what must be in the
// image then.
type recorder struct {
	fsimage.Editor
	ctx   context.Context
	want  map[string]*expected // nil: nothing
	count int
}

// An expected is what a path should lead to.
type expected struct {
	size   int64
	sum    hash.Hash     // of a file's data; or nil
	target string        // of a link
	attr   *fsimage.Attr // of what is new; or nil
	order  int           // of the change among the others
}

// data has r hashed while it is read.
func (e *expected) data(ctx context.Context, r io.Reader) io.Reader {
	e.sum = sha256.New()
	return io.TeeReader(cancelReader{ctx, r}, e.sum)
}

type cancelReader struct {
	ctx context.Context
	r   io.Reader
}

func (r cancelReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// note notes what is at a path after a change, if that could be made.
func (c *recorder) note(name string, w *expected, err error) error {
	if err == nil {
		c.count++
		w.order = c.count
		c.want[name] = w
	}
	return err
}

// Replace implements [fsimage.Editor].
func (c *recorder) Replace(name string, r io.Reader, size int64) error {
	w := &expected{size: size}
	if old := c.want[name]; old != nil {
		w.attr = old.attr
	}
	return c.note(name, w, c.Editor.Replace(name, w.data(c.ctx, r), size))
}

// Add implements [fsimage.Editor].
func (c *recorder) Add(name string, a fsimage.Attr, r io.Reader, size int64) error {
	a.Mode &^= fs.ModeType
	w := &expected{size: size, attr: &a}
	return c.note(name, w, c.Editor.Add(name, a, w.data(c.ctx, r), size))
}

// Mkdir implements [fsimage.Editor].
func (c *recorder) Mkdir(name string, a fsimage.Attr) error {
	a.Mode = a.Mode&^fs.ModeType | fs.ModeDir
	return c.note(name, &expected{attr: &a}, c.Editor.Mkdir(name, a))
}

// Symlink implements [fsimage.Editor].
func (c *recorder) Symlink(target, name string, a fsimage.Attr) error {
	a.Mode = 0o777 | fs.ModeSymlink
	return c.note(name, &expected{target: target, attr: &a}, c.Editor.Symlink(target, name, a))
}

// Remove implements [fsimage.Editor].
func (c *recorder) Remove(name string) error {
	if err := c.Editor.Remove(name); err != nil {
		return err
	}
	for other := range c.want {
		if strings.HasPrefix(other, name+"/") {
			delete(c.want, other)
		}
	}
	c.want[name] = nil
	return nil
}

// check compares an image with what was noted, and looks at each of its folders
// and inodes.
func (c *recorder) check(f *fsimage.FS) error {
	root, err := f.Root()
	if err != nil {
		return err
	}
	if err := f.Walk("", root, func(string, fsimage.Node) error { return c.ctx.Err() }); err != nil {
		return err
	}
	last := map[uint64]int{} // change of the data that a file got last, by whichever name
	for name, w := range c.want {
		if w == nil {
			continue
		}
		if n, err := f.Lookup(name, false); err == nil {
			last[n.Info().Num] = max(last[n.Info().Num], w.order)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.want)) {
		if err := c.checkOne(f, name, c.want[name], last); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *recorder) checkOne(f *fsimage.FS, name string, want *expected, last map[uint64]int) error {
	n, err := f.Lookup(name, false)
	if want == nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, errors.New("it is still there"))
	}
	if err != nil {
		return err
	}
	info := n.Info()
	if want.sum != nil && want.order == last[info.Num] {
		got := sha256.New()
		if _, err := f.Copy(got, n); err != nil {
			return err
		}
		if info.Size != want.size || !bytes.Equal(got.Sum(nil), want.sum.Sum(nil)) {
			return errors.New("it holds other data than it was given")
		}
	}
	if want.target != "" {
		if target, err := n.Target(); err != nil || target != want.target {
			return fmt.Errorf("it leads to %q, not to %q: %w", target, want.target, err)
		}
	}
	if a := want.attr; a != nil {
		return checkAttr(n, a)
	}
	return nil
}

func checkAttr(n fsimage.Node, a *fsimage.Attr) error {
	info := n.Info()
	if info.Mode != a.Mode || info.UID != a.UID || info.GID != a.GID || !a.ModTime.IsZero() && info.ModTime.Unix() != a.ModTime.Unix() {
		return fmt.Errorf("it is %v of %d:%d, %v, not %v of %d:%d, %v", info.Mode, info.UID, info.GID, info.ModTime, a.Mode, a.UID, a.GID, a.ModTime)
	}
	got, err := n.Xattrs()
	if err != nil {
		return err
	}
	same := len(got) == len(a.Xattrs)
	for _, x := range a.Xattrs {
		same = same && slices.ContainsFunc(got, func(g fsimage.Xattr) bool { return g.Name == x.Name && bytes.Equal(g.Value, x.Value) })
	}
	if !same {
		return fmt.Errorf("its attributes are %q, not %q", got, a.Xattrs)
	}
	return nil
}
