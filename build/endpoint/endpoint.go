// Package endpoint finds which servers of Google's, and of chip makers', a build
// still names: in file systems, ramdisks, packages, their code and resources. It
// finds names, not connections: one that is there may never be asked, and one
// that is put together from parts or sent by another server is not found.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"mios/internal/readat"
)

// A Finding is a host that is named.
type Finding struct {
	Host    string   `json:"host"`
	Service string   `json:"service"`
	Set     string   `json:"set"` // as [Host.Set]
	Files   []string `json:"files"`
	Count   int      `json:"count"` // of all places
	// Answered is set where the product has endpoints of its own for it: the name
	// is left as a default that is not used.
	Answered bool `json:"answered,omitempty"`
}

// A Report is what was found, by host.
type Report struct {
	Findings []Finding `json:"findings"`
	Files    int       `json:"files"` // that were read
	Bytes    int64     `json:"bytes"`
	// Unknown says that what was asked about is one file in no format that can be
	// opened: names that are compressed in it were not seen.
	Unknown bool `json:"unknown,omitempty"`
}

// Options say what is reported.
type Options struct {
	Harmless bool // names that nobody asks too: of XML namespaces, in licences
	MaxFiles int  // that a finding lists; 0 is all
	// Answered are the endpoints that the product sets, as in [Host.Set].
	Answered []string
	// Progress is told how many bytes are read, from several goroutines; it may be
	// nil.
	Progress func(bytes int64)
}

// Scan reads a file or a folder with all that is in it: images, zips, packages.
// Of a folder that mios build made, what is there twice is read once.
func Scan(ctx context.Context, name string, o Options) (*Report, error) {
	tmp, err := os.MkdirTemp("", "mios-endpoints-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	s := &scanner{ctx: ctx, o: &o, m: newMatcher(), tmp: tmp, found: map[string]map[string]int{}}
	if err := s.path(name); err != nil {
		return nil, err
	}
	r := s.report()
	if fi, err := os.Stat(name); err == nil && !fi.IsDir() {
		r.Unknown = s.plain.Load() > 0
	}
	return r, nil
}

// A scanner is a scan under way.
type scanner struct {
	ctx context.Context
	o   *Options
	m   *matcher
	tmp string // for what must be unpacked to be read anywhere

	mu    sync.Mutex
	found map[string]map[string]int // host, file
	files int
	bytes int64
	plain atomic.Int64 // files of the host that are in no format that can be opened
}

// path scans a file or folder of the host, files of a folder two at a time.
func (s *scanner) path(name string) error {
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return s.file(name, filepath.Base(name))
	}
	_, err = os.Stat(filepath.Join(name, "build.json"))
	ours := err == nil
	var list []string
	err = filepath.WalkDir(name, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != name && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir // of a build under way
		case d.Type().IsRegular() && !(ours && twice(d.Name())):
			list = append(list, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return parallel(s.ctx, list, func(p string) error {
		rel, err := filepath.Rel(name, p)
		if err != nil {
			return err
		}
		return s.file(p, filepath.ToSlash(rel))
	})
}

// twice reports whether a file of a build is made of its other files.
func twice(name string) bool {
	return name == "super.img" || strings.HasSuffix(name, "-img.zip") || strings.HasSuffix(name, ".json")
}

func (s *scanner) file(path, name string) error {
	f, size, err := readat.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.data(f, size, name, 0)
}

// parallel calls do for each of list, two at a time, and returns the first
// error.
func parallel(ctx context.Context, list []string, do func(string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan string)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for name := range work {
				if ctx.Err() != nil {
					continue
				}
				if err := do(name); err != nil {
					cancel(fmt.Errorf("%s: %w", name, err))
				}
			}
		})
	}
	for _, name := range list {
		work <- name
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

const piece = 1 << 20 // what is read at once, in bytes

// text scans bytes as they are.
func (s *scanner) text(r io.Reader, name string) error {
	hits := map[string]int{}
	buf := make([]byte, 0, piece+reach+ahead)
	total, from := int64(0), 0
	for last := false; !last; {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		total += int64(n)
		if last = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !last {
			return err
		}
		to := len(buf)
		if !last {
			to -= ahead
		}
		s.m.scan(buf, from, to, func(host string) { hits[host]++ })
		if cut := to - reach; cut > 0 && !last {
			buf = buf[:copy(buf, buf[cut:])]
			to -= cut
		}
		from = to
	}
	s.note(name, total, hits)
	return nil
}

// note adds what was found in a file.
func (s *scanner) note(name string, size int64, hits map[string]int) {
	s.mu.Lock()
	s.files++
	s.bytes += size
	for host, n := range hits {
		if s.found[host] == nil {
			s.found[host] = map[string]int{}
		}
		s.found[host][name] += n
	}
	done := s.bytes
	s.mu.Unlock()
	if s.o.Progress != nil {
		s.o.Progress(done)
	}
}

// report sorts what was found: by how it is set, and by host.
func (s *scanner) report() *Report {
	r := &Report{Files: s.files, Bytes: s.bytes, Findings: []Finding{}}
	for _, host := range slices.Sorted(maps.Keys(s.found)) {
		if slices.Contains(harmless, host) && !s.o.Harmless {
			continue
		}
		h, ok := find(host)
		if !ok {
			continue
		}
		f := Finding{Host: host, Service: h.Service, Set: h.Set, Files: slices.Sorted(maps.Keys(s.found[host]))}
		for _, n := range s.found[host] {
			f.Count += n
		}
		f.Answered = slices.Contains(s.o.Answered, h.Set)
		if s.o.MaxFiles > 0 && len(f.Files) > s.o.MaxFiles {
			f.Files = f.Files[:s.o.MaxFiles]
		}
		r.Findings = append(r.Findings, f)
	}
	return r
}
