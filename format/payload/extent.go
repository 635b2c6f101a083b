package payload

import (
	"context"
	"fmt"
	"io"
	"sort"

	"mios"
	"mios/internal/readat"
)

// blocksOf returns how many blocks the extents have, and no more than limit+1.
func blocksOf(xs []Extent, limit uint64) (n uint64) {
	for _, x := range xs {
		if n += x.NumBlocks; n > limit { // neither is near the largest number: see check
			return limit + 1
		}
	}
	return n
}

// An extentWriter writes to extents of a partition, one after the other. It is
// an io.Writer that takes so many bytes and no more.
type extentWriter struct {
	ctx     context.Context
	to      io.WriterAt
	extents []Extent
	block   uint64
	done    uint64 // bytes of the first extent
}

// left is how many bytes the extents still take.
func (w *extentWriter) left() (n uint64) {
	for _, x := range w.extents {
		n += x.NumBlocks * w.block
	}
	return n - w.done
}

func (w *extentWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	for n := 0; ; {
		if n == len(b) {
			return n, nil
		}
		if len(w.extents) == 0 {
			return n, fmt.Errorf("data is longer than its destination: %w", mios.ErrInvalid)
		}
		x := w.extents[0]
		part := b[n:]
		part = part[:min(uint64(len(part)), x.NumBlocks*w.block-w.done)]
		k, err := w.to.WriteAt(part, int64(x.StartBlock*w.block+w.done))
		if err != nil {
			return n + k, err
		}
		if n, w.done = n+k, w.done+uint64(k); w.done == x.NumBlocks*w.block {
			w.extents, w.done = w.extents[1:], 0
		}
	}
}

// A ZeroerAt is a target that has another way to zeros than to write them, such
// as a new file that reads as zeros where nothing is written. No operation
// writes what another has written, so that it need not know what there is.
type ZeroerAt interface {
	ZeroAt(off, n int64) error
}

// zero makes all extents zeros.
func (w *extentWriter) zero(z ZeroerAt) error {
	for _, x := range w.extents {
		if err := z.ZeroAt(int64(x.StartBlock*w.block), int64(x.NumBlocks*w.block)); err != nil {
			return err
		}
	}
	return nil
}

// An extentReader reads extents of a partition as one file.
type extentReader struct {
	ctx   context.Context
	from  io.ReaderAt
	block uint64
	at    []Extent
	ends  []int64 // of each extent, in the file
}

func newExtentReader(ctx context.Context, from io.ReaderAt, extents []Extent, block uint64) *extentReader {
	r := &extentReader{ctx: ctx, from: from, block: block, at: extents, ends: make([]int64, len(extents))}
	var end int64
	for i, x := range extents {
		end += int64(x.NumBlocks * block)
		r.ends[i] = end
	}
	return r
}

func (r *extentReader) size() int64 {
	if len(r.ends) == 0 {
		return 0
	}
	return r.ends[len(r.ends)-1]
}

func (r *extentReader) ReadAt(b []byte, off int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fmt.Errorf("read at %d: %w", off, mios.ErrInvalid)
	}
	n := 0
	first := sort.Search(len(r.ends), func(i int) bool { return r.ends[i] > off })
	for i := first; n < len(b) && i < len(r.at); i++ {
		x := r.at[i]
		in := off + int64(n) - (r.ends[i] - int64(x.NumBlocks*r.block))
		part := b[n:min(int64(len(b)), r.ends[i]-off)]
		if err := readat.Full(r.from, part, int64(x.StartBlock*r.block)+in); err != nil {
			return n, err
		}
		n += len(part)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
