package super

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"mios/format/sparse"
)

const (
	copyPiece = 1 << 20 // what one worker copies at once, in bytes
	copyBlock = 4096    // zeros are left out in blocks of
)

// CopyData copies the first size bytes of r to w, on all processors, without
// the blocks of zeros: w must read as zeros where nothing is written. Progress
// may be nil.
func CopyData(ctx context.Context, w io.WriterAt, r io.ReaderAt, size int64, progress sparse.Progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var taken, done atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := make([]byte, min(copyPiece, size))
			for ctx.Err() == nil {
				at := taken.Add(copyPiece) - copyPiece
				if at >= size {
					return
				}
				p := buf[:min(copyPiece, size-at)]
				if err := copyAt(w, r, p, at); err != nil {
					cancel(err)
					return
				}
				if n := done.Add(int64(len(p))); progress != nil {
					progress(n, size)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

var zeroBlock [copyBlock]byte

// copyAt copies what fills p, from the same place to the same place.
func copyAt(w io.WriterAt, r io.ReaderAt, p []byte, at int64) error {
	if n, err := r.ReadAt(p, at); n < len(p) {
		if err == io.EOF || err == nil {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	zero := func(off int) bool {
		b := p[off:min(off+copyBlock, len(p))]
		return bytes.Equal(b, zeroBlock[:len(b)])
	}
	for off := 0; off < len(p); {
		if zero(off) {
			off += copyBlock
			continue
		}
		end := off + copyBlock
		for end < len(p) && !zero(end) {
			end += copyBlock
		}
		if _, err := w.WriteAt(p[off:min(end, len(p))], at+int64(off)); err != nil {
			return err
		}
		off = end
	}
	return nil
}
