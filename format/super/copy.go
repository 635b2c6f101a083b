package super

import (
	"bytes"
	"context"
	"io"

	"mios/format/sparse"
	"mios/internal/pieces"
	"mios/internal/readat"
)

const copyBlock = 4096 // zeros are left out in blocks of

// CopyData copies the first size bytes of r to w, on all processors, without
// the blocks of zeros: w must read as zeros where nothing is written. Progress
// may be nil.
func CopyData(ctx context.Context, w io.WriterAt, r io.ReaderAt, size int64, progress sparse.Progress) error {
	return pieces.Each(ctx, size, progress, func(p []byte, at int64) error {
		if err := readat.Full(r, p, at); err != nil {
			return err
		}
		return writeData(w, p, at)
	})
}

// CopyAll writes c to w, and zeros behind it up to size bytes, on all
// processors. Progress may be nil.
func CopyAll(ctx context.Context, w io.WriterAt, c Content, size int64, progress sparse.Progress) error {
	return pieces.Each(ctx, size, progress, func(p []byte, at int64) error {
		n := min(max(c.Size-at, 0), int64(len(p)))
		if err := readat.Full(c.R, p[:n], at); err != nil {
			return err
		}
		clear(p[n:])
		_, err := w.WriteAt(p, at)
		return err
	})
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
