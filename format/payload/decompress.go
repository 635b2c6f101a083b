package payload

import (
	"bytes"
	"compress/bzip2"
	"context"
	"fmt"
	"io"

	"github.com/therootcompany/xz"

	"mios"
)

// copySize is how many bytes at a time go from a decoder to the partition.
const copySize = 256 << 10

// decoders holds what operations use one after the other.
type decoders struct {
	buf []byte
	xz  *xz.Reader
}

// decode writes what an operation's data stands for: exactly as many bytes as
// its extents have.
func (d *decoders) decode(ctx context.Context, w *extentWriter, t OpType, blob []byte) error {
	if d.buf == nil {
		d.buf = make([]byte, copySize)
	}
	var r io.Reader
	switch t {
	case Replace:
		r = bytes.NewReader(blob)
	case ReplaceBZ:
		r = bzip2.NewReader(bytes.NewReader(blob))
	case ReplaceXZ:
		var err error
		if d.xz == nil {
			d.xz, err = xz.NewReader(bytes.NewReader(blob), MaxWindow)
		} else {
			err = d.xz.Reset(bytes.NewReader(blob))
		}
		if err != nil {
			return xzError(err)
		}
		r = d.xz
	case Zero, Discard:
		clear(d.buf)
		r = zeros{}
	}
	for left := w.size(); left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := d.buf[:min(left, copySize)]
		if n, err := io.ReadFull(r, b); err != nil {
			return ended(err, n)
		}
		if err := w.write(b); err != nil {
			return err
		}
		left -= uint64(len(b))
	}
	if !t.hasData() {
		return nil
	}
	if n, err := io.ReadFull(r, d.buf[:1]); n > 0 {
		return fmt.Errorf("data is longer than its destination: %w", mios.ErrInvalid)
	} else if err != io.EOF {
		return ended(err, 0)
	}
	return nil
}

func ended(err error, n int) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF && n > 0 {
		return fmt.Errorf("data is shorter than its destination: %w", mios.ErrInvalid)
	}
	return xzError(err)
}

func xzError(err error) error {
	if err == xz.ErrMemlimit {
		return fmt.Errorf("xz: dictionary larger than %d MiB: %w", MaxWindow>>20, mios.ErrInvalid)
	}
	return fmt.Errorf("%v: %w", err, mios.ErrInvalid)
}

// zeros yields zeros for ever.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// An extentWriter writes to extents of a partition, one after the other.
type extentWriter struct {
	to      io.WriterAt
	extents []Extent
	block   uint64
	done    uint64 // bytes of the first extent
}

// size is how many bytes the extents take.
func (w *extentWriter) size() (n uint64) {
	for _, x := range w.extents {
		n += x.NumBlocks * w.block
	}
	return n
}

func (w *extentWriter) write(b []byte) error {
	for len(b) > 0 {
		x := w.extents[0]
		n := min(uint64(len(b)), x.NumBlocks*w.block-w.done)
		if _, err := w.to.WriteAt(b[:n], int64(x.StartBlock*w.block+w.done)); err != nil {
			return err
		}
		if b, w.done = b[n:], w.done+n; w.done == x.NumBlocks*w.block {
			w.extents, w.done = w.extents[1:], 0
		}
	}
	return nil
}
