package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"mios"
	"mios/format/targetfiles"
)

// A workDir is a folder for what is being made, beside what it becomes. It is
// locked while its process lives, so that the next run can tell what one that
// was killed has left.
type workDir struct {
	path string
	lock *os.File
	mu   sync.Mutex
	n    int
}

const (
	workPrefix = ".mios-target-files-"
	lockName   = "lock"
)

// newWorkDir makes a folder beside the file out, and removes those that nobody
// uses any more.
func newWorkDir(out string) (*workDir, error) {
	parent := filepath.Dir(out)
	if err := sweepWork(parent); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, workPrefix+"*")
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("write %s: %w", out, pe.Err) // without the temporary name
		}
		return nil, err
	}
	lock, err := os.Create(filepath.Join(dir, lockName))
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &workDir{path: dir, lock: lock}, nil
}

// sweepWork removes the folders in parent whose process has ended.
func sweepWork(parent string) error {
	list, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), workPrefix) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		lock, err := os.Open(filepath.Join(dir, lockName))
		if err != nil {
			continue // it is being made this moment, or is not ours
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = os.RemoveAll(dir)
		}
		lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// remove removes the folder.
func (w *workDir) remove() error {
	return errors.Join(os.RemoveAll(w.path), w.lock.Close())
}

// name returns a new file's name in the folder, which ends in that of base.
func (w *workDir) name(base string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return filepath.Join(w.path, fmt.Sprintf("%d-%s", w.n, filepath.Base(base)))
}

// A content is what an entry of the result holds: bytes, or a file in the
// working folder.
type content struct {
	bytes []byte
	file  string
	size  int64
}

func bytesContent(b []byte) *content { return &content{bytes: b, size: int64(len(b))} }

func fileContent(name string) (*content, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	return &content{file: name, size: fi.Size()}, nil
}

// open opens the content to be read anywhere.
func (c *content) open() (readAtCloser, error) {
	if c.file == "" {
		return nopReaderAt{bytes.NewReader(c.bytes)}, nil
	}
	return os.Open(c.file)
}

type readAtCloser interface {
	io.ReaderAt
	io.Closer
}

type nopReaderAt struct{ io.ReaderAt }

func (nopReaderAt) Close() error { return nil }

// A signing is one run.
type signing struct {
	ctx  context.Context
	o    *Options
	src  *targetfiles.Source
	ring *keyring
	work *workDir

	misc  *targetfiles.Dict // nil of a folder of images
	apks  *targetfiles.ApkCerts
	apexs *targetfiles.ApexKeys

	certs certMap // of packages: the old certificate, and the vendor's
	// avbKeys are keys of vbmeta images, in AVB's encoding, by what they replace.
	avbKeys map[string][]byte
	trusted map[string]bool // the vendor's own public keys, by keyID

	lost map[string]any // public keys that are replaced, by keyID

	files        []*file           // that get other content
	twins        map[string][]twin // of entries
	unknown      []string          // packages of which nobody says whose they are
	seen         map[string]bool   // names of packages and APEXes
	ramdiskCerts bool              // a ramdisk holds certificates for updates
	ota          otaKeys

	unpacked map[string]string   // files of compressed entries
	images   map[string]*image   // by entry
	contents map[string]*content // new, by entry
	removed  map[string]bool     // entries that go

	mu     sync.Mutex
	report Report
}

func newSigning(ctx context.Context, src *targetfiles.Source, work *workDir, o *Options) (*signing, error) {
	if o.Keys == nil {
		return nil, fmt.Errorf("sign target-files: no keys: %w", mios.ErrInvalid)
	}
	if o.Tags == nil {
		o.Tags = DefaultTags
	}
	if err := checkTags(o.Tags); err != nil {
		return nil, err
	}
	return &signing{
		seen: map[string]bool{},
		ctx:  ctx, o: o, src: src, ring: newKeyring(o), work: work,
		avbKeys: map[string][]byte{}, trusted: map[string]bool{}, lost: map[string]any{}, twins: map[string][]twin{}, unpacked: map[string]string{},
		images: map[string]*image{}, contents: map[string]*content{}, removed: map[string]bool{},
	}, nil
}

// say tells what is being done.
func (s *signing) say(what string, done, total int64) {
	if s.o.Progress != nil {
		s.o.Progress(what, done, total)
	}
}

// change notes a change. Several may be noted at once.
func (s *signing) change(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Changes = append(s.report.Changes, c)
}

// set gives an entry new content.
func (s *signing) set(name string, c *content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contents[name] = c
}

// open opens an entry to be read anywhere, as it was; a compressed one is
// unpacked into the working folder, once.
func (s *signing) open(e *targetfiles.Entry) (readAtCloser, error) {
	if e.Stored() {
		return e.ReaderAt()
	}
	s.mu.Lock()
	name := s.unpacked[e.Name]
	s.mu.Unlock()
	if name == "" {
		var err error
		if name, err = s.unpack(e); err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.unpacked[e.Name] = name
		s.mu.Unlock()
	}
	return os.Open(name)
}

// unpack writes an entry to a file.
func (s *signing) unpack(e *targetfiles.Entry) (string, error) {
	r, err := e.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	name := s.work.name(e.Name)
	return name, writeFile(name, &contextReader{s.ctx, r})
}

func writeFile(name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, r, make([]byte, 1<<20))
	return errors.Join(err, f.Close())
}

// A contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// parallel calls do for each of list, two at a time, and returns the first
// error.
func parallel[T any](ctx context.Context, list []T, do func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan T)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for t := range work {
				if ctx.Err() != nil {
					continue
				}
				if err := do(t); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, t := range list {
		work <- t
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
