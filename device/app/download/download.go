// Package download brings files of the repository to disk, whole and with the
// digest that was signed for. What it has of one outlives a broken connection, a
// restart and a power cut: it goes on at the byte where it ended.
//
// It decides nothing: who calls it says which file, and which ones are still
// wanted.
package download

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mios"
	"mios/api/repo"
	"mios/internal/atomicfile"
)

// A Fetcher brings files of the repository. *fetch.Client is one.
type Fetcher interface {
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error)
	// Distrust hears that a file had other bytes than were signed for: the next one
	// comes from another mirror, if there is one.
	Distrust()
}

// A Dir is a folder of downloads. One goroutine at a time may use it.
type Dir struct {
	Path  string
	Fetch Fetcher
	// Tries is how often a file is fetched whose bytes are wrong; 0 means twice.
	Tries int
}

// flushEvery is after how many bytes what came is flushed to the medium: a power
// cut costs no more.
const flushEvery = 4 << 20

// part is the end of the name of a file that is not whole.
const part = ".part"

// Has returns how many of a file's bytes are there.
func (d *Dir) Has(t repo.Target) int64 {
	if fi, err := os.Stat(d.file(t.SHA256)); err == nil {
		return fi.Size()
	}
	if fi, err := os.Stat(d.file(t.SHA256) + part); err == nil && fi.Size() <= t.Length {
		return fi.Size()
	}
	return 0
}

func (d *Dir) file(sum mios.Digest) string { return filepath.Join(d.Path, sum.String()) }

// Get returns the path of a file, which it fetches as far as it is not there. It
// tells have how many bytes there are, now and then. The error wraps
// [repo.ErrHash] where the repository's bytes are not those that were signed
// for; after any other error what came is kept.
func (d *Dir) Get(ctx context.Context, t repo.Target, have func(int64)) (string, error) {
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return "", err
	}
	path := d.file(t.SHA256)
	if fi, err := os.Stat(path); err == nil && fi.Size() == t.Length {
		have(t.Length)
		return path, nil
	}
	tries := max(d.Tries, 2)
	for {
		fresh, err := d.bring(ctx, t, have)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, repo.ErrHash) {
			return "", err
		}
		// What was there before may have been wrong, by a power cut or by a mirror
		// that is not asked any more. It starts again without it.
		if err := os.Remove(path + part); err != nil {
			return "", err
		}
		d.Fetch.Distrust()
		if tries--; fresh && tries <= 0 {
			return "", err
		}
	}
}

// bring fetches what is missing of a file. fresh says that all of it came now.
func (d *Dir) bring(ctx context.Context, t repo.Target, have func(int64)) (fresh bool, err error) {
	path := d.file(t.SHA256)
	f, err := os.OpenFile(path+part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := f.Chmod(0o644); err != nil { // whatever the umask is: it becomes an app's
		return false, err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return false, err
	}
	if n > t.Length { // no part of this file
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return false, err
		}
		if err := f.Truncate(0); err != nil {
			return false, err
		}
		n = 0
		h.Reset()
	}
	have(n)
	if n < t.Length {
		if err := d.receive(ctx, f, h, t, n, have); err != nil {
			return n == 0, err
		}
	}
	if got := mios.Digest(h.Sum(nil)); got != t.SHA256 {
		return n == 0, fmt.Errorf("%s: SHA-256 is %s, %s was signed for: %w", t.Path, got, t.SHA256, repo.ErrHash)
	}
	if err := errors.Join(f.Sync(), os.Rename(path+part, path)); err != nil {
		return n == 0, err
	}
	return n == 0, atomicfile.Sync(d.Path)
}

// receive appends the bytes from offset n on.
func (d *Dir) receive(ctx context.Context, f *os.File, h hash.Hash, t repo.Target, n int64, have func(int64)) error {
	r, err := d.Fetch.Open(ctx, t.File(), n, t.Length-n)
	if err != nil {
		return err
	}
	defer r.Close()
	for n < t.Length {
		w, err := io.CopyN(io.MultiWriter(f, h), &told{r, n, have}, min(flushEvery, t.Length-n))
		if n += w; err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return errors.Join(fmt.Errorf("%s: after %d of %d bytes: %w", t.Path, n, t.Length, err), f.Sync())
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// told counts what it reads from n on.
type told struct {
	r    io.Reader
	n    int64
	have func(int64)
}

func (t *told) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	t.have(t.n)
	return n, err
}

// Make returns the path of a file, which fill makes of other files if it is not
// there. The error wraps [repo.ErrHash] if that is another one.
func (d *Dir) Make(t repo.Target, fill func(w io.Writer) error) (string, error) {
	path := d.file(t.SHA256)
	if fi, err := os.Stat(path); err == nil && fi.Size() == t.Length {
		return path, nil
	}
	h := sha256.New()
	return path, atomicfile.Fill(path, 0o644, func(f *os.File) error {
		if err := fill(io.MultiWriter(f, h)); err != nil {
			return err
		}
		if got := mios.Digest(h.Sum(nil)); got != t.SHA256 {
			return fmt.Errorf("%s: SHA-256 is %s, %s was signed for: %w", t.Path, got, t.SHA256, repo.ErrHash)
		}
		return nil
	})
}

// Keep removes all but the files with those digests, and those of them that
// nothing was added to since before.
func (d *Dir) Keep(wanted map[mios.Digest]bool, before time.Time) error {
	entries, err := os.ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		sum, err := mios.ParseDigest(strings.TrimSuffix(e.Name(), part))
		fi, infoErr := e.Info()
		if err == nil && wanted[sum] && infoErr == nil && !fi.ModTime().Before(before) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.Path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
