package fsimage

import (
	"fmt"
	"io"
)

// A Run is blocks that follow each other.
type Run struct{ Start, Count int64 }

// How a block is used.
const (
	free   = iota // by nobody
	held          // by something that is not known: it is left alone
	single        // by one file, once
	shared        // by several, or by one more than once, or by metadata
)

// Space is who uses the blocks of an image, as an [Editor] must know it: a block is
// only written to if nobody uses it, or one did who does not any more. It takes
// a byte for each block.
type Space struct {
	state []uint8
	low   int64 // no block before it is free
	free  int64 // how many are
	freed []Run // by files; some may be used again
}

// NewSpace returns the space of an image in which all blocks are held.
func NewSpace(blocks int64) *Space {
	s := &Space{state: make([]uint8, blocks), low: blocks}
	for i := range s.state {
		s.state[i] = held
	}
	return s
}

// Blocks is how many there are.
func (s *Space) Blocks() int64 { return int64(len(s.state)) }

// Grow appends free blocks.
func (s *Space) Grow(n int64) {
	s.low, s.free = min(s.low, s.Blocks()), s.free+n
	s.state = append(s.state, make([]uint8, n)...)
}

// Unhold makes a block that is held free.
func (s *Space) Unhold(block int64) {
	if s.state[block] == held {
		s.state[block], s.low = free, min(s.low, block)
		s.free++
	}
}

// clip is the part of a run that is in the image.
func (s *Space) clip(r Run) []uint8 {
	from := min(max(r.Start, 0), s.Blocks())
	to := max(from, min(r.Start+r.Count, s.Blocks()))
	return s.state[from:to]
}

// Use notes that a file uses blocks. What was free, against what the image
// says of itself, is never given away.
func (s *Space) Use(r Run) {
	state := s.clip(r)
	for i, old := range state {
		switch old {
		case held:
			state[i] = single
		case free:
			s.free--
			state[i] = shared
		case single:
			state[i] = shared
		}
	}
}

// Pin notes that blocks are used for ever.
func (s *Space) Pin(r Run) {
	state := s.clip(r)
	for i, old := range state {
		if old == free {
			s.free--
		}
		state[i] = shared
	}
}

// Take gives free blocks to one file.
func (s *Space) Take(r Run) {
	for i := range r.Count {
		if s.state[r.Start+i] != free {
			panic(fmt.Sprintf("fsimage: block %d is taken twice", r.Start+i))
		}
		s.state[r.Start+i] = single
	}
	s.free -= r.Count
}

// Free takes blocks from a file that uses them no more, and returns those that
// nobody else uses, which are free now.
func (s *Space) Free(r Run) []Run {
	var out []Run
	from := min(max(r.Start, 0), s.Blocks())
	for i, old := range s.clip(r) {
		block := from + int64(i)
		if old != single {
			continue
		}
		s.state[block], s.low = free, min(s.low, block)
		s.free++
		out = AppendRun(out, Run{block, 1})
	}
	s.freed = append(s.freed, out...)
	return out
}

// Wipe writes zeros over blocks of bs bytes that files have freed and nobody uses:
// what was taken out of an image is not left in it.
func (s *Space) Wipe(f io.WriterAt, bs int64) error {
	zeros := make([]byte, bs)
	for _, r := range s.freed {
		for b := r.Start; b < r.Start+r.Count; b++ {
			if !s.IsFree(b) {
				continue
			}
			if _, err := f.WriteAt(zeros, b*bs); err != nil {
				return err
			}
		}
	}
	return nil
}

// AppendRun appends a run, which may go on where the last one ends.
func AppendRun(list []Run, r Run) []Run {
	if n := len(list); n > 0 && list[n-1].Start+list[n-1].Count == r.Start {
		list[n-1].Count += r.Count
		return list
	}
	return append(list, r)
}

// IsFree reports whether nobody uses a block of the image.
func (s *Space) IsFree(block int64) bool {
	return block >= 0 && block < s.Blocks() && s.state[block] == free
}

// Owned reports whether one file uses a block, and nothing else.
func (s *Space) Owned(block int64) bool {
	return block >= 0 && block < s.Blocks() && s.state[block] == single
}

// freeRuns calls fn for each run of free blocks, in order, until it is false.
func (s *Space) freeRuns(fn func(Run) bool) {
	for s.low < s.Blocks() && s.state[s.low] != free {
		s.low++
	}
	for at := s.low; at < s.Blocks(); {
		if s.state[at] != free {
			at++
			continue
		}
		end := at
		for end < s.Blocks() && s.state[end] == free {
			end++
		}
		if !fn(Run{at, end - at}) {
			return
		}
		at = end
	}
}

// FreeBlocks is how many blocks nobody uses.
func (s *Space) FreeBlocks() int64 { return s.free }

// Tail is how many blocks at the end nobody uses.
func (s *Space) Tail() int64 {
	n := int64(0)
	for n < s.Blocks() && s.state[s.Blocks()-1-n] == free {
		n++
	}
	return n
}

// Fit returns where n free blocks follow each other: in the first of own that is
// large enough, or in the smallest run that is. Blocks of own must be free.
func (s *Space) Fit(n int64, own []Run) (start int64, ok bool) {
	for _, r := range own {
		if r.Count >= n {
			return r.Start, true
		}
	}
	best := int64(0)
	s.freeRuns(func(r Run) bool {
		if r.Count >= n && (!ok || r.Count < best) {
			start, best, ok = r.Start, r.Count, true
		}
		return best != n
	})
	return start, ok
}

// Gather takes n free blocks for one file: own first, which must be free, then a
// run in which the rest fits, or else what there is, from the beginning. The
// caller sees to it that there are as many.
func (s *Space) Gather(n int64, own []Run) []Run {
	var out []Run
	take := func(r Run) bool {
		r.Count = min(r.Count, n)
		if r.Count > 0 {
			s.Take(r)
			out, n = AppendRun(out, r), n-r.Count
		}
		return n > 0
	}
	for _, r := range own {
		take(r)
	}
	if n > 0 {
		if start, ok := s.Fit(n, nil); ok {
			take(Run{start, n})
		} else {
			s.freeRuns(take)
		}
	}
	if n > 0 {
		panic(fmt.Sprintf("fsimage: %d blocks are not there", n))
	}
	return out
}

// WriteBlocks writes size bytes of r into runs of blocks of bs bytes, and
// zeros behind them. r must have neither less nor more.
func WriteBlocks(f io.WriterAt, r io.Reader, size int64, runs []Run, bs int64) error {
	buf := make([]byte, min(max(size, 1), copySize)+bs)
	left := size
	for _, run := range runs {
		at, end := run.Start*bs, (run.Start+run.Count)*bs
		for at < end {
			p := buf[:min(int64(len(buf))/bs*bs, end-at)]
			n := min(int64(len(p)), left)
			if _, err := io.ReadFull(r, p[:n]); err != nil {
				return short(err)
			}
			clear(p[n:])
			if _, err := f.WriteAt(p, at); err != nil {
				return err
			}
			at, left = at+int64(len(p)), left-n
		}
	}
	if left > 0 {
		return fmt.Errorf("fsimage: %d bytes in %v", size, runs)
	}
	return AtEnd(r, size)
}

// AtEnd returns an error unless r is at its end, behind size bytes.
func AtEnd(r io.Reader, size int64) error {
	var b [1]byte
	switch n, err := io.ReadFull(r, b[:]); {
	case n > 0:
		return fmt.Errorf("more than the %d bytes that were promised", size)
	case err != io.EOF:
		return err
	}
	return nil
}

func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ReadData reads size bytes of r, which must have neither less nor more. size is
// that of something small.
func ReadData(r io.Reader, size int64) ([]byte, error) {
	p := make([]byte, size)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, short(err)
	}
	return p, AtEnd(r, size)
}
