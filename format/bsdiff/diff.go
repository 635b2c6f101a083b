package bsdiff

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/andybalholm/brotli"

	"mios/internal/bzip2"
	"mios/internal/pieces"
)

// Options say how [Diff] works. The zero value makes a BSDF2 patch as small as
// it gets, whatever memory that takes.
type Options struct {
	// Legacy makes a BSDIFF40 patch, which every bspatch applies: bzip2 only.
	Legacy bool
	// Quality is brotli's, 1 to 11. 0 stands for 11 for what is inserted, and
	// for the control stream, up to 256 KiB each, which takes a second; and for
	// 9 above, and for differences, which bzip2 compresses as well as 11 does.
	Quality int
	// Memory bounds what Diff allocates, in bytes, but is never less than
	// 64 MiB; 0 does not bound it. What does not fit with a suffix array of old
	// (see [Memory]) is compared by an index of places in old, 16 bytes from
	// each other if there is room for that, else more: shorter matches may not
	// be found.
	Memory int64
}

// part is how many bytes of new are compared at once: so many whatever machine
// it is, for the patch depends on it.
const part = 4 << 20

// streamMemory is what compressing takes beside what is compressed.
const streamMemory = 64 << 20

// Of brotli: above how many bytes quality 11 takes too long, and the window's
// logarithm, which is at most 22 where it is searched at length.
const (
	slowStream    = 256 << 10
	minWindow     = 10
	maxWindow     = 24
	slowMaxWindow = 22
)

// Memory returns how many bytes [Diff] allocates to compare with so much of an
// old file if Options do not bound it: 4 of the suffix array for each byte, and
// half of one while that is sorted. The size of the new file does not matter.
func Memory(oldSize int64) int64 { return 9*oldSize/2 + streamMemory }

// Diff returns a patch that makes new of old. The same inputs and options give
// the same bytes on every machine. Neither input may have 2 GiB or more. Both
// are only read, so that they may be mapped files.
func Diff(ctx context.Context, old, new []byte, o Options) ([]byte, error) {
	if o.Quality < 0 || o.Quality > brotli.BestCompression {
		return nil, fmt.Errorf("bsdiff: brotli quality %d: want 1 to %d", o.Quality, brotli.BestCompression)
	}
	segments, err := compare(ctx, old, new, o.Memory)
	if err != nil {
		return nil, err
	}
	return encode(ctx, streams{old, new, segments}, o)
}

// A Match is bytes of new that are like bytes of old, at places in both.
type Match struct{ New, Old, Len int }

// Matches returns what new has that is like something in old, in the order of
// new, none over another: what [Diff] makes a patch of, for formats of patches
// that are others. Memory is that of [Options].
func Matches(ctx context.Context, old, new []byte, memory int64) ([]Match, error) {
	segments, err := compare(ctx, old, new, memory)
	if err != nil {
		return nil, err
	}
	matches := make([]Match, len(segments))
	for i, g := range segments {
		matches[i] = Match{g.new, g.old, g.n}
	}
	return matches, nil
}

// compare returns what of new is like something in old.
func compare(ctx context.Context, old, new []byte, memory int64) ([]segment, error) {
	if len(old) > math.MaxInt32 || len(new) > math.MaxInt32 {
		return nil, fmt.Errorf("bsdiff: files of %d and %d bytes: compare less than 2 GiB at once", len(old), len(new))
	}
	var m matcher
	if memory == 0 || Memory(int64(len(old))) <= memory {
		m = newSuffixes(old)
	} else {
		m = newBlocks(old, memory-streamMemory)
	}
	return scanAll(ctx, m, old, new)
}

// scanAll compares the parts of new on all processors.
func scanAll(ctx context.Context, m matcher, old, new []byte) ([]segment, error) {
	parts := make([][]segment, (len(new)+part-1)/part)
	err := pieces.Items(ctx, len(parts), func() func(int) error {
		return func(i int) error {
			parts[i] = scan(m, old, new, i*part, min((i+1)*part, len(new)))
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	var all []segment
	for _, p := range parts {
		all = join(all, p)
	}
	return all, nil
}

// streams are what segments become.
type streams struct {
	old, new []byte
	segments []segment
}

// control writes the control entries: how many bytes to add to old, how many to
// insert, and how far to go in old from there.
func (s streams) control(w io.Writer) error {
	var b []byte
	entry := func(add, insert, seek int) {
		for _, v := range []int{add, insert, seek} {
			b = appendInt(b, int64(v))
		}
	}
	var last segment
	for i, g := range s.segments {
		if i > 0 || g.new > 0 || g.old > 0 {
			entry(last.n, g.new-last.new-last.n, g.old-last.old-last.n)
		}
		last = g
	}
	if len(s.new) > 0 {
		entry(last.n, len(s.new)-last.new-last.n, 0)
	}
	_, err := w.Write(b)
	return err
}

// appendInt appends a number as bsdiff has it: the magnitude, low byte first,
// with the sign in the highest bit.
func appendInt(b []byte, v int64) []byte {
	if v < 0 {
		return binary.LittleEndian.AppendUint64(b, uint64(-v)|1<<63)
	}
	return binary.LittleEndian.AppendUint64(b, uint64(v))
}

// diff writes the differences within segments.
func (s streams) diff(w io.Writer) error {
	buf := make([]byte, 64<<10)
	for _, g := range s.segments {
		for done := 0; done < g.n; {
			b := buf[:min(len(buf), g.n-done)]
			x, y := s.new[g.new+done:][:len(b)], s.old[g.old+done:][:len(b)]
			for i := range b {
				b[i] = x[i] - y[i]
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
			done += len(b)
		}
	}
	return nil
}

// extra writes what is between segments.
func (s streams) extra(w io.Writer) error {
	from := 0
	for _, g := range s.segments {
		if _, err := w.Write(s.new[from:g.new]); err != nil {
			return err
		}
		from = g.new + g.n
	}
	_, err := w.Write(s.new[from:])
	return err
}

// A counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// encode compresses each stream in each way that the format has, and takes the
// smallest; of equal ones bzip2.
func encode(ctx context.Context, s streams, o Options) ([]byte, error) {
	kinds := []Compression{Bzip2, Brotli}
	if o.Legacy {
		kinds = kinds[:1]
	}
	writes := []func(io.Writer) error{s.control, s.diff, s.extra}
	out := make([]bytes.Buffer, len(writes)*len(kinds))
	order := []int{1, 2, 0} // the longest first
	one := func(i int) error {
		stream, kind := order[i/len(kinds)], i%len(kinds)
		quality := o.Quality
		if quality == 0 && stream == 1 {
			quality = 9
		}
		return compress(&out[stream*len(kinds)+kind], kinds[kind], quality, func(w io.Writer) error {
			return writes[stream](&stopper{ctx, w})
		})
	}
	err := pieces.Items(ctx, len(out), func() func(int) error { return one })
	if err != nil {
		return nil, err
	}
	patch := []byte(magicLegacy)
	if !o.Legacy {
		patch = append([]byte(magicBSDF2), 0, 0, 0)
	}
	var best [3][]byte
	for i := range best {
		for k, kind := range kinds {
			if b := out[i*len(kinds)+k].Bytes(); k == 0 || len(b) < len(best[i]) {
				best[i] = b
				if !o.Legacy {
					patch[len(magicBSDF2)+i] = byte(kind)
				}
			}
		}
	}
	patch = appendInt(patch, int64(len(best[0])))
	patch = appendInt(patch, int64(len(best[1])))
	patch = appendInt(patch, int64(len(s.new)))
	return append(append(append(patch, best[0]...), best[1]...), best[2]...), nil
}

// compress writes to w what write writes.
func compress(w io.Writer, kind Compression, quality int, write func(io.Writer) error) error {
	var c io.WriteCloser
	switch kind {
	case Bzip2:
		c = bzip2.NewWriter(w)
	case Brotli:
		var n counter
		if err := write(&n); err != nil {
			return err
		}
		if quality == 0 {
			quality = brotli.BestCompression
			if n > slowStream {
				quality = 9
			}
		}
		most := maxWindow
		if quality > 9 {
			most = slowMaxWindow
		}
		const slack = 16 // that the format takes off a window
		window := min(max(bits.Len64(uint64(n+slack)), minWindow), most)
		c = brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: quality, LGWin: window})
	}
	if err := write(c); err != nil {
		return err
	}
	return c.Close()
}

// stopper is a writer that ends with ctx.
type stopper struct {
	ctx context.Context
	io.Writer
}

func (s *stopper) Write(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Writer.Write(b)
}
