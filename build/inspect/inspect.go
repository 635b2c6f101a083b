// Package inspect says what a file is: which of the formats that miOS knows, who
// signed it, what is in it, and what is wrong with it. Folders and zips are
// looked into. It verifies nothing by itself: the formats' own packages do.
package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mios/internal/progress"
	"mios/internal/readat"
)

// Options say how to inspect.
type Options struct {
	// Deep verifies every hash. Without it, hashes are verified as long as that
	// takes about a second, and what was left out is said.
	Deep bool
	// Progress, if not nil, is told how much of something is verified, in bytes,
	// from several goroutines.
	Progress func(what string, done, total int64)
}

// budget is how many bytes are hashed without Options.Deep: some half a second
// of a processor that has instructions for it.
const budget = 512 << 20

// Limits of what is looked at.
const (
	maxDepth = 5         // parts within parts
	maxParts = 4096      // of one report
	maxWhole = 192 << 20 // bytes of what must be read whole, such as a boot image
	maxText  = 4 << 20   // bytes of a text
	headSize = 8 << 10   // bytes that a format is told by
)

// An input is a file, or a part of one.
type input struct {
	io.ReaderAt
	name  string // as it is called, or within what it is part of
	path  string // on disk; "" of a part
	size  int64
	head  []byte // its first bytes
	depth int
}

// base is the last part of the name.
func (in *input) base() string { return filepath.Base(in.name) }

// bytes returns all of the input.
func (in *input) bytes() ([]byte, error) {
	if in.size > maxWhole {
		return nil, fmt.Errorf("%s: at most %s of such a file are read", progress.Size(in.size), progress.Size(maxWhole))
	}
	b := make([]byte, in.size)
	return b, readat.Full(in, b, 0)
}

// parsed reads an input, or a text, and parses it.
func parsed[T any](read func() ([]byte, error), parse func([]byte) (T, error)) (out T, err error) {
	b, err := read()
	if err != nil {
		return out, err
	}
	return parse(b)
}

// section returns n bytes of the input from off on as a part.
func (in *input) section(name string, off, n int64) *input {
	return part(name, io.NewSectionReader(in, off, n), n, in.depth)
}

// part returns an input of depth one more.
func part(name string, r io.ReaderAt, size int64, depth int) *input {
	return &input{ReaderAt: r, name: name, size: size, depth: depth + 1}
}

// A scan is one inspection.
type scan struct {
	ctx  context.Context
	o    Options
	left int64 // bytes that may still be hashed
}

// afford says whether n bytes may be hashed.
func (s *scan) afford(n int64) bool {
	if s.o.Deep {
		return true
	}
	if n > s.left {
		return false
	}
	s.left -= n
	return true
}

// why is the reason for what afford refused.
const why = "it takes a while: --deep does it"

func (s *scan) progress(what string) func(done, total int64) {
	return func(done, total int64) {
		if s.o.Progress != nil {
			s.o.Progress(what, done, total)
		}
	}
}

// Inspect says what the file or folder of that path is. What is wrong with it
// stands in the report: the error is that of what cannot be read at all.
func Inspect(ctx context.Context, path string, o Options) (*Report, error) {
	s := &scan{ctx: ctx, o: o, left: budget}
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		return s.folder(path)
	}
	return s.file(path, 0)
}

// file inspects a file on disk, or a block device.
func (s *scan) file(path string, depth int) (*Report, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	device := fi.Mode().Type()&^os.ModeCharDevice == os.ModeDevice && fi.Mode()&os.ModeCharDevice == 0
	if !fi.Mode().IsRegular() && !device {
		return nil, fmt.Errorf("%s: not a regular file: what is inspected must be read more than once, so put it into one", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	r := s.inspect(&input{ReaderAt: f, name: path, path: path, size: size, depth: depth})
	return r, s.ctx.Err()
}

// inspect says what an input is. Errors of reading stand in the report, too.
func (s *scan) inspect(in *input) *Report {
	r := &Report{Name: in.name, Size: in.size}
	in.head = make([]byte, min(in.size, headSize))
	if err := readat.Full(in, in.head, 0); err != nil {
		r.Kind, r.Title = unknown, "not readable"
		r.fail(err, "")
		return r
	}
	f := find(in)
	if f == nil {
		s.unknown(in, r)
	} else {
		r.Kind, r.Title = f.kind, f.title
		if err := f.read(s, in, r); err != nil {
			r.fail(err, f.advice)
		}
	}
	s.footer(in, r)
	if in.depth == 0 && r.Kind == unknown && len(r.Problems) == 0 {
		r.fail(errUnknown, nearest(in))
	}
	return r
}

// look inspects a part, if it does not lie too deep, and appends it to r.
func (s *scan) look(in *input, r *Report) *Report {
	if in.depth > maxDepth || s.ctx.Err() != nil {
		return nil
	}
	c := s.inspect(in)
	if len(r.Contents) < maxParts {
		r.part(c)
	} else {
		r.More++
	}
	return c
}

// unknown tells of a file that no format takes what can be told.
func (s *scan) unknown(in *input, r *Report) {
	r.Kind, r.Title = unknown, "unknown"
	switch {
	case in.size == 0:
		r.Title = "empty"
	case allZero(in):
		r.Title = "zeros"
	case isText(in.head, in.size):
		r.Title = "text"
		if b, err := in.text(); err == nil && json.Valid(b) {
			r.Title = "JSON"
		}
	}
}

// allZero says whether the first 64 KiB of an input are zeros.
func allZero(in *input) bool {
	b := make([]byte, min(in.size, 64<<10))
	if readat.Full(in, b, 0) != nil {
		return false
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// isCancelled says whether an error is that of an end that somebody asked for.
func isCancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
