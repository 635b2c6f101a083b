package puffin

import (
	"fmt"
	"io"
	"sort"

	"mios/internal/readat"
)

// cacheSize is how many bytes of puffs a reader keeps.
const cacheSize = 8 << 20

// A reader reads a file as if it were puffed.
type reader struct {
	r       io.ReaderAt
	s       *Stream
	p       *puffer
	raw     []byte
	cached  map[int][]byte
	recent  []int // of cached, the last used last
	size    int   // of cached
	fileEnd uint64
}

// newReader returns a reader of r, which s says how to puff.
func newReader(r io.ReaderAt, s *Stream) *reader {
	return &reader{r: r, s: s, p: newPuffer(), cached: map[int][]byte{}, fileEnd: 8 * uint64(s.fileSize())}
}

// ReadAt reads puffed bytes. It is for one goroutine.
func (r *reader) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		at := uint64(off) + uint64(done)
		if at >= r.s.Size {
			return done, io.EOF
		}
		// The first puff that ends after at, and what comes before it.
		i := sort.Search(len(r.s.Puffs), func(i int) bool { return r.s.Puffs[i].end()/8 > at })
		n, err := 0, error(nil)
		if i < len(r.s.Puffs) && at >= r.s.Puffs[i].Offset/8 {
			var puff []byte
			if puff, err = r.puff(i); err == nil {
				n = copy(b[done:], puff[at-r.s.Puffs[i].Offset/8:])
			}
		} else {
			n, err = r.between(i, b[done:], at)
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// between reads from before puff i: whole bytes of the file but for bits of
// deflates.
func (r *reader) between(i int, b []byte, at uint64) (int, error) {
	from, puffed, to, puffedTo := uint64(0), uint64(0), r.fileEnd, r.s.Size
	if i > 0 {
		from, puffed = r.s.Deflates[i-1].end(), r.s.Puffs[i-1].end()/8
	}
	if i < len(r.s.Puffs) {
		to, puffedTo = r.s.Deflates[i].Offset, r.s.Puffs[i].Offset/8
	}
	b = b[:min(uint64(len(b)), puffedTo-at)]
	start := from/8 + at - puffed
	if err := readat.Full(r.r, b, int64(start)); err != nil {
		return 0, fmt.Errorf("puffin: old file at %#x: %w", start, err)
	}
	if end := start + uint64(len(b)); 8*end > to {
		b[len(b)-1] &= 1<<(to&7) - 1
	}
	if 8*start < from {
		b[0] >>= from & 7
	}
	return len(b), nil
}

// puff returns puff i.
func (r *reader) puff(i int) ([]byte, error) {
	if b, ok := r.cached[i]; ok {
		for k, v := range r.recent {
			if v == i {
				copy(r.recent[k:], r.recent[k+1:])
				r.recent[len(r.recent)-1] = i
				break
			}
		}
		return b, nil
	}
	b, err := r.make(i)
	if err != nil {
		return nil, err
	}
	for r.size+len(b) > cacheSize && len(r.recent) > 0 {
		r.size -= len(r.cached[r.recent[0]])
		delete(r.cached, r.recent[0])
		r.recent = r.recent[1:]
	}
	r.cached[i], r.recent, r.size = b, append(r.recent, i), r.size+len(b)
	return b, nil
}

// make reads a deflate and puffs it.
func (r *reader) make(i int) ([]byte, error) {
	x := r.s.Deflates[i]
	start, end := x.Offset/8, (x.end()+7)/8
	if n := int(end - start); cap(r.raw) < n {
		r.raw = make([]byte, n)
	}
	raw := r.raw[:end-start]
	if err := readat.Full(r.r, raw, int64(start)); err != nil {
		return nil, fmt.Errorf("puffin: old file at %#x: %w", start, err)
	}
	want := int(r.s.Puffs[i].Length / 8)
	b, err := r.p.puff(make([]byte, 0, want), raw, int64(x.Offset-8*start), int64(x.end()-8*start))
	if f, ok := err.(*FormatError); ok {
		return nil, &FormatError{f.Off + int64(start), fmt.Sprintf("old file: deflate %d: %s", i, f.Msg)}
	}
	if err == nil && len(b) != want {
		err = &FormatError{int64(start), fmt.Sprintf("old file: deflate %d: %d bytes when puffed, want %d", i, len(b), want)}
	}
	return b, err
}

// A writer takes the bytes of a puffed file, and writes the file.
type writer struct {
	w       io.Writer
	s       *Stream
	h       *huffer
	i       int    // the next deflate
	at      uint64 // in the puffed file
	pos     uint64 // bits of the file
	puff    []byte // what is there of the next puff
	fileEnd uint64
}

func newWriter(w io.Writer, s *Stream) *writer {
	return &writer{w: w, s: s, h: newHuffer(), fileEnd: 8 * uint64(s.fileSize())}
}

// Write takes puffed bytes. What it writes is whole bytes only.
func (w *writer) Write(b []byte) (int, error) {
	all := len(b)
	for {
		if err := w.endPuffs(); err != nil {
			return 0, err
		}
		if len(b) == 0 {
			return all, nil
		}
		var n int
		var err error
		if w.i < len(w.s.Puffs) && w.at >= w.s.Puffs[w.i].Offset/8 {
			n = int(min(uint64(len(b)), w.s.Puffs[w.i].end()/8-w.at))
			w.puff = append(w.puff, b[:n]...)
		} else if n, err = w.between(b); err != nil {
			return 0, err
		}
		w.at += uint64(n)
		b = b[n:]
	}
}

// endPuffs writes the deflates all of which is there; there are empty ones.
func (w *writer) endPuffs() error {
	for w.i < len(w.s.Puffs) && w.at == w.s.Puffs[w.i].end()/8 {
		x := w.s.Deflates[w.i]
		if err := w.h.huff(w.puff); err != nil {
			return fmt.Errorf("puffin: new file: deflate %d: %w", w.i, err)
		}
		// Fewer than 8 bits after the last block belong to the deflate, too.
		done := w.pos + 8*uint64(len(w.h.out.out)) + uint64(w.h.out.n) - w.pos&7
		if done > x.end() || x.end()-done > 7 {
			return &FormatError{int64(x.Offset / 8), fmt.Sprintf("new file: deflate %d: %d bits, want %d", w.i, done-x.Offset, x.Length)}
		}
		w.h.out.write(0, uint(x.end()-done))
		w.pos = x.end()
		w.puff = w.puff[:0]
		w.i++
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

// between writes what comes before the next deflate, and returns how much of b
// that was.
func (w *writer) between(b []byte) (int, error) {
	to := w.fileEnd
	if w.i < len(w.s.Deflates) {
		to = w.s.Deflates[w.i].Offset
	}
	n := 0
	for ; n < len(b) && w.pos < to; n++ {
		if whole := min(uint64(len(b)-n), (to-w.pos)/8); w.pos&7 == 0 && whole > 0 {
			if err := w.flush(); err != nil {
				return 0, err
			}
			if _, err := w.w.Write(b[n:][:whole]); err != nil {
				return 0, err
			}
			w.pos += 8 * whole
			n += int(whole) - 1
			continue
		}
		bits := min(8-w.pos&7, to-w.pos)
		if b[n]>>bits != 0 {
			return 0, &FormatError{int64(w.at) + int64(n), fmt.Sprintf("puffed file: %#x stands for %d bits", b[n], bits)}
		}
		w.h.out.write(uint64(b[n]), uint(bits))
		w.pos += bits
	}
	if n == 0 {
		return 0, &FormatError{int64(w.at), "puffed file goes on after its end"}
	}
	return n, w.flush()
}

// flush writes whole bytes.
func (w *writer) flush() error {
	_, err := w.w.Write(w.h.out.out)
	w.h.out.out = w.h.out.out[:0]
	return err
}

// close reports whether all of the file was written.
func (w *writer) close() error {
	if err := w.endPuffs(); err != nil {
		return err
	}
	if w.i < len(w.s.Puffs) || w.pos != w.fileEnd {
		return &FormatError{int64(w.at), fmt.Sprintf("puffed file ends after %d bits of %d", w.pos, w.fileEnd)}
	}
	return nil
}
