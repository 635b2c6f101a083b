// Package dir keeps blobs in a folder: aa/aabb… for each, by its digest, and in
// .uploads and .tmp what is not complete.
package dir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"mios"
	"mios/internal/atomicfile"
	"mios/internal/ctxio"
	"mios/storage/blob"
)

// A Store is a [blob.Store] in a folder.
type Store struct{ root string }

// New returns the store in the folder root, which is made when something is
// stored.
func New(root string) *Store { return &Store{root} }

const (
	tmpDir     = ".tmp"     // what Put is writing
	uploadsDir = ".uploads" // ID/info.json, ID/data
)

func (s *Store) path(d mios.Digest) string {
	name := d.String()
	return filepath.Join(s.root, name[:2], name)
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, r io.Reader, want mios.Digest) (mios.Digest, int64, error) {
	d, n, err := s.put(ctx, r, want)
	if err != nil {
		return mios.Digest{}, 0, fmt.Errorf("store blob: %w", err)
	}
	return d, n, nil
}

func (s *Store) put(ctx context.Context, r io.Reader, want mios.Digest) (d mios.Digest, n int64, err error) {
	tmp := filepath.Join(s.root, tmpDir)
	if err := atomicfile.MkdirAll(tmp); err != nil {
		return d, 0, err
	}
	f, err := os.CreateTemp(tmp, "")
	if err != nil {
		return d, 0, err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	h := sha256.New()
	if n, err = io.Copy(io.MultiWriter(f, h), ctxio.Reader(ctx, r)); err != nil {
		return d, 0, err
	}
	d = mios.Digest(h.Sum(nil))
	if err := blob.Verify(d, want); err != nil {
		return d, 0, err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return d, 0, err
	}
	return d, n, s.name(f.Name(), d)
}

// name makes a complete file a blob; it leaves its old place. Of one that is
// there already the time is renewed.
func (s *Store) name(from string, d mios.Digest) error {
	path := s.path(d)
	if err := atomicfile.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Rename(from, path); err != nil {
		return err
	}
	return atomicfile.Sync(filepath.Dir(path))
}

type file struct {
	*os.File
	info fs.FileInfo
}

func (f file) Size() int64         { return f.info.Size() }
func (f file) Modified() time.Time { return f.info.ModTime() }

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, d mios.Digest) (blob.File, error) {
	f, err := os.Open(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", d, mios.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{f, fi}, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, d mios.Digest) error {
	err := os.Remove(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	return atomicfile.Sync(filepath.Dir(s.path(d)))
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		folders, err := readDir(s.root)
		if err != nil {
			yield(blob.Info{}, err)
			return
		}
		for _, folder := range folders {
			if len(folder.Name()) != 2 || !folder.IsDir() {
				continue
			}
			if !s.listFolder(ctx, filepath.Join(s.root, folder.Name()), yield) {
				return
			}
		}
	}
}

func (s *Store) listFolder(ctx context.Context, folder string, yield func(blob.Info, error) bool) bool {
	entries, err := readDir(folder)
	if err != nil {
		yield(blob.Info{}, err)
		return false
	}
	for _, e := range entries {
		d, err := mios.ParseDigest(e.Name())
		if err != nil {
			continue // no blob of ours
		}
		fi, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
			continue
		case err == nil:
			err = ctx.Err()
		}
		if err != nil {
			yield(blob.Info{}, err)
			return false
		}
		if !yield(blob.Info{Digest: d, Size: fi.Size(), Modified: fi.ModTime()}, nil) {
			return false
		}
	}
	return true
}

// readDir is [os.ReadDir]; a folder that is not there is empty.
func readDir(path string) ([]fs.DirEntry, error) {
	list, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

// Uploads implements [blob.Store].
func (s *Store) Uploads() blob.Uploads { return uploads{s} }

var _ blob.Store = (*Store)(nil)
