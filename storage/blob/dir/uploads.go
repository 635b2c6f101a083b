package dir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/internal/atomicfile"
	"mios/internal/ctxio"
	"mios/internal/digest"
	"mios/storage/blob"
)

// leftover is how old what a writer has left behind must be to be removed.
const leftover = 24 * time.Hour

const (
	infoFile = "info.json" // a blob.UploadOptions; who changes the upload locks it
	dataFile = "data"
)

type uploads struct{ s *Store }

func (u uploads) dir(id string) string { return filepath.Join(u.s.root, uploadsDir, id) }

// Create implements [blob.Uploads].
func (u uploads) Create(ctx context.Context, o blob.UploadOptions) (string, error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	info, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	id := blob.NewID()
	making, parent := u.dir(".new-"+id), u.dir("")
	err = atomicfile.MkdirAll(making)
	if err == nil {
		err = atomicfile.WriteBytes(filepath.Join(making, dataFile), nil, 0o600)
	}
	if err == nil {
		err = atomicfile.WriteBytes(filepath.Join(making, infoFile), info, 0o600)
	}
	if err == nil {
		err = os.Rename(making, u.dir(id))
	}
	if err == nil {
		err = atomicfile.Sync(parent)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("begin upload: %w", err), os.RemoveAll(making))
	}
	return id, nil
}

// Get implements [blob.Uploads].
func (u uploads) Get(ctx context.Context, id string) (*blob.Upload, error) {
	if err := blob.CheckID(id); err != nil {
		return nil, err
	}
	up, err := u.read(id)
	if err == nil {
		err = up.Live(time.Now())
	}
	if err != nil {
		return nil, err
	}
	return up, nil
}

// read returns an upload, expired or not.
func (u uploads) read(id string) (*blob.Upload, error) {
	up := &blob.Upload{ID: id}
	b, err := os.ReadFile(filepath.Join(u.dir(id), infoFile))
	if err == nil {
		err = json.Unmarshal(b, &up.UploadOptions)
	}
	if err == nil {
		var fi fs.FileInfo
		if fi, err = os.Stat(filepath.Join(u.dir(id), dataFile)); err == nil {
			up.Offset = fi.Size()
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("upload %s: %w", id, mios.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", id, err)
	}
	return up, nil
}

// lock keeps others from changing an upload, until unlock.
func (u uploads) lock(id string) (unlock func() error, err error) {
	f, err := os.Open(filepath.Join(u.dir(id), infoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("upload %s: %w", id, mios.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("upload %s: %w: somebody else is sending it: try again", id, mios.ErrConflict)
	}
	return f.Close, nil
}

// Append implements [blob.Uploads].
func (u uploads) Append(ctx context.Context, id string, offset int64, r io.Reader) (int64, error) {
	if err := blob.CheckID(id); err != nil {
		return 0, err
	}
	unlock, err := u.lock(id)
	if err != nil {
		return 0, err
	}
	defer unlock()
	up, err := u.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	if up.Offset != offset {
		return up.Offset, fmt.Errorf("upload %s: %w: it is at %d, not at %d", id, mios.ErrConflict, up.Offset, offset)
	}
	f, err := os.OpenFile(filepath.Join(u.dir(id), dataFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return offset, fmt.Errorf("upload %s: %w", id, err)
	}
	r = ctxio.Reader(ctx, r)
	n, err := io.Copy(f, io.LimitReader(r, up.Limit()-offset))
	if err == nil && offset+n == up.Limit() {
		err = blob.AtEnd(r, up.Limit())
	}
	return offset + n, errors.Join(err, f.Sync(), f.Close())
}

// Finish implements [blob.Uploads].
func (u uploads) Finish(ctx context.Context, id string, want mios.Digest) (mios.Digest, int64, error) {
	if err := blob.CheckID(id); err != nil {
		return mios.Digest{}, 0, err
	}
	unlock, err := u.lock(id)
	if err != nil {
		return mios.Digest{}, 0, err
	}
	defer unlock()
	up, err := u.Get(ctx, id)
	if err == nil {
		err = up.Complete()
	}
	if err != nil {
		return mios.Digest{}, 0, err
	}
	data := filepath.Join(u.dir(id), dataFile)
	d, err := digest.File(data)
	if err == nil {
		err = blob.Verify(d, want)
	}
	if err == nil {
		err = u.keep(data, d)
	}
	if err != nil {
		return mios.Digest{}, 0, fmt.Errorf("upload %s: %w", id, err)
	}
	return d, up.Offset, u.remove(id)
}

// keep makes an upload's bytes a blob, and leaves them where they are, so that
// who is killed here can finish it again.
func (u uploads) keep(data string, d mios.Digest) error {
	tmp := filepath.Join(u.s.root, tmpDir)
	if err := atomicfile.MkdirAll(tmp); err != nil {
		return err
	}
	link := filepath.Join(tmp, blob.NewID())
	if err := errors.Join(os.Chmod(data, 0o644), os.Link(data, link)); err != nil {
		return errors.Join(err, os.RemoveAll(link))
	}
	return errors.Join(u.s.name(link, d), os.RemoveAll(link)) // link stays where both are the same file already
}

// Remove implements [blob.Uploads].
func (u uploads) Remove(ctx context.Context, id string) error {
	if err := blob.CheckID(id); err != nil {
		return nil
	}
	unlock, err := u.lock(id)
	if errors.Is(err, mios.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return u.remove(id)
}

func (u uploads) remove(id string) error {
	gone := u.dir(".gone-" + id)
	if err := os.Rename(u.dir(id), gone); err != nil {
		return fmt.Errorf("upload %s: %w", id, err)
	}
	return errors.Join(atomicfile.Sync(u.dir("")), os.RemoveAll(gone))
}

// Sweep implements [blob.Uploads].
func (u uploads) Sweep(ctx context.Context) (int, error) {
	n := 0
	for _, folder := range []string{tmpDir, uploadsDir} {
		path := filepath.Join(u.s.root, folder)
		list, err := readDir(path)
		if err != nil {
			return n, err
		}
		for _, e := range list {
			if err := ctx.Err(); err != nil {
				return n, err
			}
			swept, err := u.sweep(path, e)
			if err != nil {
				return n, err
			}
			if swept {
				n++
			}
		}
	}
	return n, nil
}

// sweep removes an entry if nobody needs it.
func (u uploads) sweep(folder string, e fs.DirEntry) (bool, error) {
	if blob.CheckID(e.Name()) == nil && filepath.Base(folder) == uploadsDir {
		up, err := u.read(e.Name())
		if err != nil || up.Live(time.Now()) == nil {
			return false, nil // a damaged one is for people to look at
		}
		err = u.Remove(context.Background(), e.Name())
		return err == nil, ignore(err, mios.ErrConflict)
	}
	fi, err := e.Info()
	if err != nil || time.Since(fi.ModTime()) < leftover {
		return false, ignore(err, fs.ErrNotExist)
	}
	if strings.HasPrefix(e.Name(), ".") || filepath.Base(folder) == tmpDir {
		return true, os.RemoveAll(filepath.Join(folder, e.Name()))
	}
	return false, nil
}

// ignore returns err unless it is of a kind.
func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}
