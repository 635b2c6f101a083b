// Package dir keeps a tree in a folder, which any web server can serve as it
// is. What is being written has a name that starts with a dot.
package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/internal/atomicfile"
	"mios/storage/tree"
)

// A Tree is a [tree.Tree] in a folder. Its pointers are compared and moved
// under a lock of the kernel's, which holds between processes of one machine.
type Tree struct {
	root string
}

// lockFile is who moves a pointer locks.
const lockFile = ".pointers.lock"

// New returns the tree in the folder root, which is made when something is
// stored.
func New(root string) *Tree { return &Tree{root: root} }

// Root returns the tree's folder.
func (t *Tree) Root() string { return t.root }

func (t *Tree) path(name string) (string, error) {
	if err := tree.CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(t.root, filepath.FromSlash(name)), nil
}

// Point implements [tree.Tree].
func (t *Tree) Point(ctx context.Context, name string, old, b []byte) error {
	path, err := t.path(name)
	if err != nil {
		return err
	}
	unlock, err := t.lock()
	if err != nil {
		return fmt.Errorf("move %s: %w", name, err)
	}
	defer unlock()
	now, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && old == nil:
	case errors.Is(err, fs.ErrNotExist), err == nil && (old == nil || !bytes.Equal(now, old)):
		return fmt.Errorf("move %s: %w: somebody else moved it", name, mios.ErrConflict)
	case err != nil:
		return fmt.Errorf("move %s: %w", name, err)
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path)); err != nil {
		return fmt.Errorf("move %s: %w", name, err)
	}
	if err := atomicfile.WriteBytes(path, b, 0o644); err != nil {
		return fmt.Errorf("move %s: %w", name, err)
	}
	return nil
}

// lock waits until nobody else moves a pointer, which takes no longer than a
// write of a small file.
func (t *Tree) lock() (unlock func() error, err error) {
	if err := atomicfile.MkdirAll(t.root); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(t.root, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

type file struct {
	*os.File
	info fs.FileInfo
}

func (f file) Size() int64         { return f.info.Size() }
func (f file) Modified() time.Time { return f.info.ModTime() }

// Open implements [tree.Tree].
func (t *Tree) Open(ctx context.Context, name string) (tree.File, error) {
	path, err := t.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return nil, fmt.Errorf("open %s: %w", name, mios.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("open %s: a folder: %w", name, mios.ErrNotFound)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return file{f, fi}, nil
}

// isNotDir tells whether a file stood where a path wants a folder.
func isNotDir(err error) bool {
	return errors.Is(err, syscall.ENOTDIR)
}

// List implements [tree.Tree].
func (t *Tree) List(ctx context.Context, folder string) ([]string, error) {
	var names []string
	err := t.walk(folder, func(name string, d fs.DirEntry) error {
		if tree.CheckName(name) == nil {
			names = append(names, name)
		}
		return ctx.Err()
	})
	slices.Sort(names)
	return names, err
}

// Infos is what [tree.Infos] calls. A file that is replaced is another one, of
// another time.
func (t *Tree) Infos(ctx context.Context, folder string) ([]tree.Info, error) {
	var list []tree.Info
	err := t.walk(folder, func(name string, d fs.DirEntry) error {
		fi, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) || tree.CheckName(name) != nil {
			return nil
		}
		if err != nil {
			return err
		}
		tag := fi.ModTime().Format(time.RFC3339Nano)
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			tag += " " + strconv.FormatUint(st.Ino, 10)
		}
		list = append(list, tree.Info{Name: name, Size: fi.Size(), Tag: tag})
		return ctx.Err()
	})
	slices.SortFunc(list, func(a, b tree.Info) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// Sweep removes what writers that were killed left behind. Nobody may be
// writing.
func (t *Tree) Sweep() error {
	return t.walk(".", func(name string, d fs.DirEntry) error {
		if strings.HasPrefix(d.Name(), ".") && strings.Contains(d.Name(), ".tmp-") {
			return os.Remove(filepath.Join(t.root, filepath.FromSlash(name)))
		}
		return nil
	})
}

func (t *Tree) walk(folder string, f func(name string, d fs.DirEntry) error) error {
	if folder != "." {
		if err := tree.CheckName(folder); err != nil {
			return err
		}
	}
	err := fs.WalkDir(os.DirFS(t.root), folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return f(name, d)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

var _ tree.Tree = (*Tree)(nil)
