package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mios"
	"mios/internal/atomicfile"
	"mios/internal/ctxio"
	"mios/storage/tree"
)

// Create implements [tree.Tree].
func (t *Tree) Create(ctx context.Context, name string, r io.Reader) (err error) {
	f, err := t.newFile(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.discard()) }()
	for _, step := range []func() error{
		func() error { return f.write(ctxio.Reader(ctx, r)) }, f.sync, f.link,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("store %s: %w", name, err)
		}
	}
	return f.syncFolder()
}

// CreateAll is what [tree.CreateAll] calls. All files are written before the first
// is made durable, so that one commit of a file system's journal does for many,
// and each folder is made durable once.
func (t *Tree) CreateAll(ctx context.Context, files map[string][]byte) (err error) {
	var list []*newFile
	for name := range files {
		f, err := t.newFile(name)
		if err != nil {
			return err
		}
		list = append(list, f)
	}
	defer func() {
		for _, f := range list {
			err = errors.Join(err, f.discard())
		}
	}()
	for _, step := range []func(f *newFile) error{
		func(f *newFile) error { return f.write(bytes.NewReader(files[f.name])) }, (*newFile).sync, (*newFile).link,
	} {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(tree.Creators)
		for _, f := range list {
			g.Go(func() error {
				err := context.Cause(ctx)
				if err == nil {
					err = step(f)
				}
				if err != nil {
					return fmt.Errorf("store %s: %w", f.name, err)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	synced := map[string]bool{}
	for _, f := range list {
		if folder := filepath.Dir(f.path); !synced[folder] {
			synced[folder] = true
			if err := f.syncFolder(); err != nil {
				return err
			}
		}
	}
	return nil
}

// A newFile is one that is being stored.
type newFile struct {
	name, path string
	temp       *os.File // nil if the tree has it already
}

func (t *Tree) newFile(name string) (*newFile, error) {
	path, err := t.path(name)
	return &newFile{name: name, path: path}, err
}

// write writes what r yields beside the name, unless the name has it already.
func (f *newFile) write(r io.Reader) error {
	switch same, err := sameContent(f.path, r); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !same:
		return errOther
	default:
		return nil
	}
	dir := filepath.Dir(f.path)
	if err := atomicfile.MkdirAll(dir); err != nil {
		return err
	}
	var err error
	if f.temp, err = os.CreateTemp(dir, "."+filepath.Base(f.path)+".tmp-*"); err != nil {
		return err
	}
	if _, err := io.Copy(f.temp, r); err != nil {
		return err
	}
	if err := f.temp.Chmod(0o644); err != nil {
		return err
	}
	// The disk may begin: this has places found for the bytes, which would be a
	// commit of its own for each file that sync is called for. It is no more than advice.
	_ = unix.SyncFileRange(int(f.temp.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	return nil
}

// sync makes the bytes durable.
func (f *newFile) sync() error {
	if f.temp == nil {
		return nil
	}
	return f.temp.Sync()
}

// link gives the file its name. Of several who do so at once, one does, and those
// with the same bytes do not mind.
func (f *newFile) link() error {
	if f.temp == nil {
		return nil
	}
	if err := os.Link(f.temp.Name(), f.path); !errors.Is(err, fs.ErrExist) { // a rename would replace it
		return err
	}
	if _, err := f.temp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	same, err := sameContent(f.path, f.temp)
	if err == nil && !same {
		err = errOther
	}
	return err
}

// syncFolder makes the name durable.
func (f *newFile) syncFolder() error { return atomicfile.Sync(filepath.Dir(f.path)) }

// discard removes what lies beside the name.
func (f *newFile) discard() error {
	if f.temp == nil {
		return nil
	}
	return errors.Join(f.temp.Close(), os.Remove(f.temp.Name()))
}

var errOther = fmt.Errorf("%w: other bytes have that name", mios.ErrConflict)

// sameContent compares a file with what r yields. It reads nothing of r where
// there is no file.
func sameContent(path string, r io.Reader) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(f, a)
		m, errB := io.ReadFull(r, b)
		switch {
		case n != m || !bytes.Equal(a[:n], b[:m]):
			return false, nil
		case ended(errA) && ended(errB):
			return true, nil
		case errA != nil && !ended(errA):
			return false, errA
		case errB != nil && !ended(errB):
			return false, errB
		}
	}
}

func ended(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
