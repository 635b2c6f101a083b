package super

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"mios/format/sparse"
	"mios/internal/readat"
)

const (
	copyPiece = 1 << 20 // what one worker copies at once, in bytes
	copyBlock = 4096    // zeros are left out in blocks of
)

// CopyData copies the first size bytes of r to w, on all processors, without
// the blocks of zeros: w must read as zeros where nothing is written. Progress
// may be nil.
func CopyData(ctx context.Context, w io.WriterAt, r io.ReaderAt, size int64, progress sparse.Progress) error {
	return eachPiece(ctx, size, progress, func(p []byte, at int64) error {
		if err := readat.Full(r, p, at); err != nil {
			return err
		}
		return writeData(w, p, at)
	})
}

// CopyAll writes c to w, and zeros behind it up to size bytes, on all
// processors. Progress may be nil.
func CopyAll(ctx context.Context, w io.WriterAt, c Content, size int64, progress sparse.Progress) error {
	return eachPiece(ctx, size, progress, func(p []byte, at int64) error {
		n := min(max(c.Size-at, 0), int64(len(p)))
		if err := readat.Full(c.R, p[:n], at); err != nil {
			return err
		}
		clear(p[n:])
		_, err := w.WriteAt(p, at)
		return err
	})
}

// eachPiece calls do for all pieces of size bytes, several at a time.
func eachPiece(ctx context.Context, size int64, progress sparse.Progress, do func(p []byte, at int64) error) error {
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
				if err := do(p, at); err != nil {
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

// writeData writes p at its place, without blocks of zeros.
func writeData(w io.WriterAt, p []byte, at int64) error {
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
