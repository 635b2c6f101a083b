package bsdiff

import (
	"bufio"
	"compress/bzip2"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/andybalholm/brotli"

	"mios/internal/readat"
)

// What patches begin with. Three bytes with compressions follow magicBSDF2.
const (
	magicLegacy = "BSDIFF40"
	magicBSDF2  = "BSDF2"
	headerSize  = 32
)

// A Patch is a parsed patch; its streams stay where they are.
type Patch struct {
	Control, Diff, Extra Compression
	NewSize              int64 // bytes that it makes

	r       io.ReaderAt
	lengths [3]int64 // of the streams
}

// Parse reads the header of the patch in the first size bytes of r.
func Parse(r io.ReaderAt, size int64) (*Patch, error) {
	if size < headerSize {
		return nil, &FormatError{0, fmt.Sprintf("header: %d bytes left, want %d", size, headerSize)}
	}
	var h [headerSize]byte
	if err := readat.Full(r, h[:], 0); err != nil {
		return nil, fmt.Errorf("bsdiff: header: %w", err)
	}
	p := &Patch{r: r}
	kinds := [3]*Compression{&p.Control, &p.Diff, &p.Extra}
	switch {
	case string(h[:8]) == magicLegacy:
		for _, k := range kinds {
			*k = Bzip2
		}
	case string(h[:5]) == magicBSDF2:
		for i, k := range kinds {
			if *k = Compression(h[5+i]); *k > Brotli {
				return nil, &FormatError{5 + int64(i), fmt.Sprintf("stream %d: %v", i, *k)}
			}
		}
	default:
		return nil, &FormatError{0, fmt.Sprintf("begins with %q, want %q or %q", h[:8], magicLegacy, magicBSDF2)}
	}
	left := size - headerSize
	for i, name := range []string{"control stream", "diff stream"} {
		n := parseInt(h[8+8*i:])
		if n < 0 || n > left {
			return nil, &FormatError{8 + 8*int64(i), fmt.Sprintf("%s: %d bytes, %d left", name, n, left)}
		}
		p.lengths[i] = n
		left -= n
	}
	p.lengths[2] = left
	if p.NewSize = parseInt(h[24:]); p.NewSize < 0 {
		return nil, &FormatError{24, fmt.Sprintf("new size is %d", p.NewSize)}
	}
	return p, nil
}

// parseInt reads a number as [appendInt] writes it. What would be -0 is 0.
func parseInt(b []byte) int64 {
	v := binary.LittleEndian.Uint64(b)
	n := int64(v &^ (1 << 63))
	if v>>63 != 0 {
		return -n
	}
	return n
}

// A stream is one of a patch's, expanded as it is read.
type stream struct {
	name string
	r    io.Reader
	off  int64 // expanded bytes that were read
}

// read fills b.
func (s *stream) read(b []byte) error {
	n, err := io.ReadFull(s.r, b)
	s.off += int64(n)
	switch {
	case err == nil:
		return nil
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return s.bad("ends %d bytes early", len(b)-n)
	case errors.Is(err, errSource):
		return fmt.Errorf("bsdiff: %s: %w", s.name, err)
	}
	return s.bad("%v", err)
}

func (s *stream) bad(format string, args ...any) error {
	return &FormatError{s.off, s.name + ": " + fmt.Sprintf(format, args...)}
}

// errSource marks errors of what the patch is read from.
var errSource = errors.New("read patch")

type source struct{ r io.Reader }

func (s source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errSource, err)
	}
	return n, err
}

// open returns stream i.
func (p *Patch) open(i int) *stream {
	off := int64(headerSize)
	for _, n := range p.lengths[:i] {
		off += n
	}
	r := io.Reader(bufio.NewReaderSize(source{io.NewSectionReader(p.r, off, p.lengths[i])}, 32<<10))
	switch []Compression{p.Control, p.Diff, p.Extra}[i] {
	case Bzip2:
		r = bzip2.NewReader(r)
	case Brotli:
		r = brotli.NewReader(r)
	}
	return &stream{name: []string{"control stream", "diff stream", "extra stream"}[i], r: r}
}

// An applier is a patch being applied.
type applier struct {
	ctx                  context.Context
	w                    io.Writer
	old                  io.ReaderAt
	oldSize              int64
	control, diff, extra *stream
	pos                  int64 // in old
	left                 int64 // of what is made
	buf, oldBuf          []byte
}

// bufSize is how many bytes are made at once.
const bufSize = 256 << 10

// Apply writes to w what the patch makes of the oldSize bytes of old: exactly
// NewSize bytes, or an error. It holds less than 1 MiB beside what
// decompressors need, which is at most 4 MiB a stream for bzip2 and 16 MiB for
// brotli. A caller that knows what the new bytes hash to must compare: a patch
// has no checksum.
//
// What a stream has beyond its last byte that is needed is not read, as AOSP's
// bspatch does not. An entry that adds to bytes before or after those of old is
// refused, where others take them for zeros: no generator makes one.
func (p *Patch) Apply(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64) error {
	a := applier{ctx: ctx, w: w, old: old, oldSize: oldSize, left: p.NewSize,
		control: p.open(0), diff: p.open(1), extra: p.open(2)}
	n := min(p.NewSize, bufSize)
	a.buf, a.oldBuf = make([]byte, n), make([]byte, n)
	idle := 0
	for a.left > 0 {
		before := a.left
		if err := a.entry(); err != nil {
			return err
		}
		if a.left != before {
			idle = 0
		} else if idle++; idle > maxIdle {
			return a.control.bad("%d entries that make nothing", idle)
		}
	}
	return ctx.Err()
}

// maxIdle is how many entries on end may make nothing: a stream of nothing
// else compresses to almost none.
const maxIdle = 1000

// entry does what the next control entry says.
func (a *applier) entry() error {
	var b [24]byte
	at := a.control.off
	if err := a.control.read(b[:]); err != nil {
		return err
	}
	add, insert, seek := parseInt(b[0:]), parseInt(b[8:]), parseInt(b[16:])
	bad := func(format string, args ...any) error {
		return &FormatError{at, a.control.name + ": " + fmt.Sprintf(format, args...)}
	}
	switch {
	case add < 0 || insert < 0:
		return bad("entry adds %d bytes, inserts %d", add, insert)
	case add > a.left || insert > a.left-add:
		return bad("entry adds %d bytes, inserts %d, where %d are left to make", add, insert, a.left)
	case add > 0 && (a.pos < 0 || a.pos > a.oldSize || add > a.oldSize-a.pos):
		return bad("entry adds to %d bytes from %d of the old file, which has %d", add, a.pos, a.oldSize)
	}
	if err := a.add(add); err != nil {
		return err
	}
	if err := a.insert(insert); err != nil {
		return err
	}
	if seek > 0 && a.pos > math.MaxInt64-seek || seek < 0 && a.pos < math.MinInt64-seek {
		return bad("entry goes on by %d from %d", seek, a.pos)
	}
	a.pos += seek
	return nil
}

// add writes n bytes of old with differences.
func (a *applier) add(n int64) error {
	for n > 0 {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		b := a.buf[:min(n, int64(len(a.buf)))]
		o := a.oldBuf[:len(b)]
		if err := a.diff.read(b); err != nil {
			return err
		}
		if err := readat.Full(a.old, o, a.pos); err != nil {
			return fmt.Errorf("bsdiff: old file at %#x: %w", a.pos, err)
		}
		for i, c := range o {
			b[i] += c
		}
		if err := a.write(b); err != nil {
			return err
		}
		n -= int64(len(b))
		a.pos += int64(len(b))
	}
	return nil
}

// insert writes n bytes of the extra stream.
func (a *applier) insert(n int64) error {
	for n > 0 {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		b := a.buf[:min(n, int64(len(a.buf)))]
		if err := a.extra.read(b); err != nil {
			return err
		}
		if err := a.write(b); err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

func (a *applier) write(b []byte) error {
	if _, err := a.w.Write(b); err != nil {
		return fmt.Errorf("bsdiff: write: %w", err)
	}
	a.left -= int64(len(b))
	return nil
}
