package sign

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"mios"
	"mios/format/targetfiles"
	"mios/internal/atomicfile"
)

// copyStep is how much is read and written at a time, in bytes.
const copyStep = 1 << 20

// write writes the result into the working folder, and returns its path there.
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
		w := targetfiles.NewWriter(f)
		return errors.Join(s.entries(w), w.Close(), f.Chmod(0o644), f.Sync())
	})
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
		r, err := c.open()
		if err != nil {
			return err
		}
		s.report.Written += c.size
		err = w.Add(e.Header(), bufio.NewReaderSize(&contextReader{s.ctx, io.NewSectionReader(r, 0, c.size)}, copyStep))
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// place gives the result its name.
func place(from, to string) error {
	if fi, err := os.Stat(from); err == nil && fi.IsDir() {
		if err := syncTree(from); err != nil {
			return err
		}
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(to))
}

// syncTree makes the files of a folder durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() && !d.IsDir() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// placeable says whether the result may get its name.
func placeable(in, out string) error {
	if strings.HasSuffix(out, ".zip") {
		a, errA := os.Stat(in)
		b, errB := os.Stat(out)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return fmt.Errorf("%s: %w: the result must have another name than what it is made of", out, mios.ErrConflict)
		}
		return atomicfile.Replaceable(out)
	}
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("%s: %w: a folder must not be there yet; a zip ends in .zip", out, mios.ErrConflict)
	}
	return nil
}

// counter returns what counts one of total things that are through.
func (s *signing) counter(what string, total int64) func() {
	var done atomic.Int64
	return func() { s.say(what, done.Add(1), total) }
}
