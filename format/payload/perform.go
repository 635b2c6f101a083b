package payload

import (
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/therootcompany/xz"

	"mios"
	"mios/format/bsdiff"
	"mios/format/lz4diff"
	"mios/format/puffin"
)

// copySize is how many bytes at a time go from a decoder to the partition.
const copySize = 256 << 10

// A performer does one operation after the other; what it needs for that is
// allocated once.
type performer struct {
	block uint64
	buf   []byte
	xz    *xz.Reader
	hash  hash.Hash
}

// do writes what an operation makes of its data and of the installed partition,
// src: exactly as many bytes as its extents have. It writes none of them before
// the hashes of the data and of the source are verified.
func (p *performer) do(ctx context.Context, op *Operation, blob []byte, src io.ReaderAt, to io.WriterAt) error {
	if p.buf == nil {
		p.buf, p.hash = make([]byte, copySize), sha256.New()
	}
	if len(op.DataHash) > 0 {
		if sum := sha256.Sum256(blob); string(sum[:]) != string(op.DataHash) {
			return fmt.Errorf("data has SHA-256 %x, want %x: %w", sum, op.DataHash, ErrData)
		}
	}
	w := &extentWriter{ctx: ctx, to: to, extents: op.DstExtents, block: p.block}
	if !op.Type.hasSource() {
		return p.replace(ctx, op.Type, blob, w)
	}
	if src == nil {
		return fmt.Errorf("needs the installed partition, and there is none: %w", mios.ErrInvalid)
	}
	r := newExtentReader(ctx, src, op.SrcExtents, p.block)
	if len(op.SrcHash) > 0 {
		p.hash.Reset()
		if _, err := io.CopyBuffer(p.hash, section(r), p.buf); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if sum := p.hash.Sum(nil); string(sum) != string(op.SrcHash) {
			return fmt.Errorf("source has SHA-256 %x, want %x: %w", sum, op.SrcHash, ErrSource)
		}
	}
	if err := p.patch(ctx, op.Type, blob, r, w); err != nil {
		return err
	}
	if left := w.left(); left > 0 {
		return fmt.Errorf("data is %d bytes shorter than its destination: %w", left, mios.ErrInvalid)
	}
	return nil
}

// section returns all of r as a stream that [io.CopyBuffer] cannot read in
// another way.
func section(r *extentReader) io.Reader {
	return struct{ io.Reader }{io.NewSectionReader(r, 0, r.size())}
}

// patch writes what becomes of the source.
func (p *performer) patch(ctx context.Context, t OpType, blob []byte, src *extentReader, w io.Writer) error {
	at, size := bytes.NewReader(blob), int64(len(blob))
	var apply func(context.Context, io.Writer, io.ReaderAt, int64) error
	switch t {
	case SourceCopy:
		_, err := io.CopyBuffer(w, section(src), p.buf)
		return err
	case SourceBSDiff, BrotliBSDiff:
		d, err := bsdiff.Parse(at, size)
		if err != nil {
			return invalid(err)
		}
		apply = d.Apply
	case Puffdiff:
		d, err := puffin.Parse(at, size)
		if err != nil {
			return invalid(err)
		}
		apply = d.Apply
	case LZ4DiffBSDiff, LZ4DiffPuff:
		d, err := lz4diff.Parse(blob)
		if err != nil {
			return invalid(err)
		}
		apply = d.Apply
	}
	return apply(ctx, w, src, src.size())
}

// invalid says of an error about a patch, which lies in memory, that it is one
// about the payload.
func invalid(err error) error {
	if err == nil || errors.Is(err, mios.ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %w", err, mios.ErrInvalid)
}

// replace writes what the data alone stands for.
func (p *performer) replace(ctx context.Context, t OpType, blob []byte, w *extentWriter) error {
	var r io.Reader
	switch t {
	case Replace:
		r = bytes.NewReader(blob)
	case ReplaceBZ:
		r = bzip2.NewReader(bytes.NewReader(blob))
	case ReplaceXZ:
		var err error
		if p.xz == nil {
			p.xz, err = xz.NewReader(bytes.NewReader(blob), MaxWindow)
		} else {
			err = p.xz.Reset(bytes.NewReader(blob))
		}
		if err != nil {
			return xzError(err)
		}
		r = p.xz
	case Zero, Discard:
		if z, ok := w.to.(ZeroerAt); ok {
			return w.zero(z)
		}
		clear(p.buf)
		r = zeros{}
	}
	for left := w.left(); left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := p.buf[:min(left, copySize)]
		if n, err := io.ReadFull(r, b); err != nil {
			return ended(err, n)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		left -= uint64(len(b))
	}
	if !t.hasData() {
		return nil
	}
	if n, err := io.ReadFull(r, p.buf[:1]); n > 0 {
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

// zeros yields zeros for ever; its reader has cleared the buffer.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
