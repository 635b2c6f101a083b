package static

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"mios"
	"mios/internal/atomicfile"
)

// A coding is a content coding (RFC 9110, section 8.4.1; RFC 7932, RFC 8878).
type coding struct {
	index     int
	name, ext string
	writer    func(w io.Writer) (io.WriteCloser, error)
}

// The codings by index.
const (
	br = iota
	zst
	gz
	identity // that is: none
)

var codings = [identity]coding{
	{br, "br", ".br", func(w io.Writer) (io.WriteCloser, error) { return brotli.NewWriterLevel(w, 9), nil }},
	{zst, "zstd", ".zst", func(w io.Writer) (io.WriteCloser, error) {
		// A window of 8 MiB is what RFC 9659 lets browsers expect.
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(1))
	}},
	{gz, "gzip", ".gz", func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, gzip.BestCompression) }},
}

// Sizes, in bytes, of files that are encoded. Shorter ones fit into a packet as
// they are.
const (
	minEncoded = 1400
	maxEncoded = 256 << 20
	// maxCache is what all encodings may take; those made first go first.
	maxCache = 2 << 30
)

// worth tells whether n bytes in place of size are worth an encoding.
func worth(n, size int64) bool { return n < size-size/16 }

// A variant is an encoding of a file; body and head are set if it is in memory.
type variant struct {
	coding *coding
	size   int64
	body   []byte
	tag    string
	head   head
}

// variants are the encodings of a file, the smallest first.
type variants []variant

// encodes tells whether a file is offered in encodings.
func (s *Service) encodes(name string, size int64) bool {
	return s.Cache != "" && size >= minEncoded && size <= maxEncoded && compressible(name)
}

// encodedPath is where an encoding lies: by the digest of the file, so that no
// change of a name makes it wrong. One that is not worth it is an empty file.
func (s *Service) encodedPath(d mios.Digest, c *coding) string {
	text := d.String()
	return filepath.Join(s.Cache, text[:2], text+c.ext)
}

// statVariants returns the encodings that are there, and whether all were made.
func (s *Service) statVariants(d mios.Digest) (list variants, all bool) {
	all = true
	for i := range codings {
		fi, err := os.Stat(s.encodedPath(d, &codings[i]))
		switch {
		case err != nil:
			all = false
		case fi.Size() > 0:
			list = append(list, variant{coding: &codings[i], size: fi.Size()})
		}
	}
	slices.SortStableFunc(list, func(a, b variant) int { return int(a.size - b.size) })
	return list, all
}

// readVariants reads the encodings of a small file; nil if they have to be made.
func (s *Service) readVariants(e *entry) *variants {
	list, all := s.statVariants(e.digest)
	if !all {
		return nil
	}
	for i := range list {
		v := &list[i]
		b, err := os.ReadFile(s.encodedPath(e.digest, v.coding))
		if err != nil {
			return nil
		}
		v.body, v.tag = b, e.tag+"-"+v.coding.name
		v.head = e.headOf(v.tag, v.coding.name, len(b))
	}
	return &list
}

// A maker makes encodings, one file after the other, beside the requests.
type maker struct {
	mu      sync.Mutex
	waiting map[mios.Digest]bool
	queue   []func()
	running bool
	failed  time.Time // when it failed last
	made    int
}

// Limits of the maker.
const (
	maxQueue = 256         // beyond it, the next request asks again
	respite  = time.Minute // after a failure: a disk that is full stays so for a while
	// sweepEvery is after how many files the cache is looked through.
	sweepEvery = 256
)

// wantSmall has the encodings of a file in memory made.
func (s *Service) wantSmall(e *entry) {
	s.want(e.digest, e.name, func(ctx context.Context) error {
		if err := s.makeAll(ctx, e.digest, bytes.NewReader(e.body)); err != nil {
			return err
		}
		e.variants.Store(s.readVariants(e))
		return nil
	})
}

// wantLarge has the encodings of a large file made.
func (s *Service) wantLarge(e *entry) {
	s.want(e.digest, e.name, func(ctx context.Context) error { return s.Prepare(ctx, e.name) })
}

func (s *Service) want(d mios.Digest, name string, work func(context.Context) error) {
	m := &s.maker
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting[d] || len(m.waiting) >= maxQueue || time.Since(m.failed) < respite {
		return
	}
	if m.waiting == nil {
		m.waiting = map[mios.Digest]bool{}
	}
	m.waiting[d] = true
	m.queue = append(m.queue, func() {
		err := work(context.Background())
		if err != nil && !errors.Is(err, mios.ErrNotFound) {
			s.Log.Warn("no encodings: the file is served as it is", "name", name, "err", err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waiting, d)
		if err != nil {
			m.failed = time.Now()
		}
	})
	if !m.running {
		m.running = true
		go m.run()
	}
}

// run works until nothing waits.
func (m *maker) run() {
	for {
		m.mu.Lock()
		if len(m.queue) == 0 {
			m.running = false
			m.mu.Unlock()
			return
		}
		work := m.queue[0]
		m.queue = m.queue[1:]
		m.mu.Unlock()
		work()
	}
}

// makeAll makes all encodings of r, whose digest is d.
func (s *Service) makeAll(ctx context.Context, d mios.Digest, r io.ReadSeeker) error {
	if _, all := s.statVariants(d); all {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.encodedPath(d, &codings[0])), 0o755); err != nil {
		return err
	}
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for i := range codings {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := encode(s.encodedPath(d, &codings[i]), &codings[i], readerContext{ctx, r}, size); err != nil {
			return err
		}
	}
	s.maker.mu.Lock()
	s.maker.made++
	due := s.maker.made%sweepEvery == 1
	s.maker.mu.Unlock()
	if !due {
		return nil
	}
	return s.sweep()
}

// encode writes an encoding of r, which has size bytes, or an empty file if it
// is not worth it.
func encode(path string, c *coding, r io.Reader, size int64) error {
	return atomicfile.Fill(path, 0o644, func(f *os.File) error {
		w, err := c.writer(f)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		if fi, err := f.Stat(); err != nil || worth(fi.Size(), size) {
			return err
		}
		return f.Truncate(0)
	})
}

// sweep removes the encodings that were made first, when all take too much.
func (s *Service) sweep() error {
	type made struct {
		path string
		size int64
		at   time.Time
	}
	var all []made
	var total int64
	err := filepath.WalkDir(s.Cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return nil // another process removed it
		}
		total += fi.Size() + 4096
		all = append(all, made{path, fi.Size() + 4096, fi.ModTime()})
		return nil
	})
	if err != nil || total <= maxCache {
		return err
	}
	slices.SortFunc(all, func(a, b made) int { return a.at.Compare(b.at) })
	for _, m := range all {
		if total <= maxCache/2 {
			break
		}
		if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= m.size
	}
	return nil
}
