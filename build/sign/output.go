package sign

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mios"
	"mios/format/targetfiles"
	"mios/internal/atomicfile"
)

// copyStep is how much is read and written at a time, in bytes.
const copyStep = 1 << 20

// write writes the result into the working folder, and returns its path there. What
// it wrote is not yet durable.
func (s *signing) write(out string) (string, error) {
	name := filepath.Join(s.work.path, "result")
	if !strings.HasSuffix(out, ".zip") {
		if err := os.Mkdir(name, 0o755); err != nil {
			return "", err
		}
		w, err := targetfiles.NewDirWriter(name)
		if err != nil {
			return "", err
		}
		return name, errors.Join(s.entries(w), w.Close())
	}
	name += ".zip"
	return name, create(name, func(f *os.File) error {
		w := targetfiles.NewWriter(&eagerWriter{f: f})
		return errors.Join(s.entries(w), w.Close(), f.Chmod(0o644))
	})
}

// An eagerWriter has the disk write while more is made, and not all at the end.
type eagerWriter struct {
	f         *os.File
	off, sent int64
}

// eagerStep is how much is sent to the disk at a time, in bytes.
const eagerStep = 32 << 20

func (w *eagerWriter) Write(b []byte) (int, error) {
	n, err := w.f.Write(b)
	w.off += int64(n)
	if n := w.off - w.sent; n >= eagerStep {
		unix.SyncFileRange(int(w.f.Fd()), w.sent, n, unix.SYNC_FILE_RANGE_WRITE)
		w.sent = w.off
	}
	return n, err
}

// entries writes all entries in the order of the source: new ones, and the others
// as they are.
func (s *signing) entries(w *targetfiles.Writer) error {
	var total, done int64
	for _, e := range s.src.Entries {
		total += e.Size
	}
	for _, e := range s.src.Entries {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		done += e.Size
		s.say("write", done, total)
		if s.removed[e.Name] {
			continue
		}
		c := s.contents[e.Name]
		if c == nil {
			s.report.Copied += e.CompressedSize
			if err := w.Copy(e); err != nil {
				return err
			}
			continue
		}
		s.report.Written += c.size
		if err := s.entry(w, e.Header(), c); err != nil {
			return err
		}
	}
	return nil
}

// entry writes an entry that was made anew. The file of one that is stored is
// emptied as it is read: what was not yet written to the disk never is, and
// [verifier] looks at the result alone.
func (s *signing) entry(w *targetfiles.Writer, h targetfiles.Header, c *content) error {
	var in io.Reader
	if c.file != "" && w.Stores(h) {
		f, err := os.OpenFile(c.file, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		in = &emptyingReader{f: f}
	} else {
		r, err := c.open()
		if err != nil {
			return err
		}
		defer r.Close()
		in = io.NewSectionReader(r, 0, c.size)
	}
	return w.Add(h, bufio.NewReaderSize(&contextReader{s.ctx, io.LimitReader(in, c.size)}, copyStep))
}

// An emptyingReader makes a hole of what it has read of a file. A file system
// that has no holes keeps it.
type emptyingReader struct {
	f         *os.File
	off, hole int64
}

// emptyStep is how much is read before it becomes a hole, in bytes.
const emptyStep = 16 << 20

func (r *emptyingReader) Read(b []byte) (int, error) {
	if n := r.off - r.hole; n >= emptyStep {
		unix.Fallocate(int(r.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.hole, n)
		r.hole = r.off
	}
	n, err := r.f.Read(b)
	r.off += int64(n)
	return n, err
}

// place gives the result, which is durable, its name.
func place(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return atomicfile.Sync(filepath.Dir(to))
}

// syncTree makes a file, or the files of a folder, durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() && !d.IsDir() {
			return err
		}
		return atomicfile.Sync(name)
	})
}

// placeable says whether the result may get its name.
func placeable(in, out string) error {
	b, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Lstat(out) // a link to nothing
	}
	switch a, errA := os.Stat(in); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && errA == nil && b != nil && os.SameFile(a, b):
		return fmt.Errorf("%s: %w: the result must have another name than what it is made of", out, mios.ErrConflict)
	case strings.HasSuffix(out, ".zip"):
		return fmt.Errorf("%s: %w: it is there already: remove it, or name another", out, mios.ErrConflict)
	}
	return fmt.Errorf("%s: %w: a folder must not be there yet; a zip ends in .zip", out, mios.ErrConflict)
}

// counter returns what counts one of total things that are through.
func (s *signing) counter(what string, total int64) func() {
	var done atomic.Int64
	return func() { s.say(what, done.Add(1), total) }
}
