package avbtool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"

	"mios/format/sparse"
	"mios/internal/atomicfile"
)

// A draft is an image that is written anew: a beginning that an old one has
// too, then what is appended. A sparse image stays one.
type draft struct {
	f    *os.File
	old  *Image
	keep int64 // bytes of the old image that it begins with
	size int64 // bytes of the expanded image so far
	end  int64 // of the file
	raw  []stretch

	chunks uint32 // of a sparse image
	step   func(n int)
	ctx    context.Context
}

// stretch is appended data: where it is in the expanded image and in the file.
type stretch struct{ off, size, file int64 }

const chunkHeaderSize = 12 // of a sparse image

// rewrite replaces the file of the image, or makes the file out if that is not
// "", by one that begins with keep bytes of the old image and goes on with what
// fill appends. The caller's total is of all bytes that fill will count.
func rewrite(ctx context.Context, old *Image, out string, keep, total int64, p Progress, fill func(d *draft) error) error {
	var done atomic.Int64
	step := func(n int) {
		if p != nil {
			p(min(done.Add(int64(n)), total+keep), total+keep)
		}
	}
	fi, err := old.file.Stat()
	if err != nil {
		return err
	}
	if out == "" {
		if out, err = filepath.EvalSymlinks(old.Name); err != nil {
			return err
		}
	}
	return atomicfile.Fill(out, fi.Mode().Perm(), func(f *os.File) error {
		d := &draft{f: f, old: old, keep: min(keep, old.Size), ctx: ctx, step: step}
		if err := d.begin(keep); err != nil {
			return fmt.Errorf("%s: %w", old.Name, err)
		}
		if err := fill(d); err != nil {
			return err
		}
		return d.finish()
	})
}

// extend is rewrite of a plain image of which all is kept, in its own file. On an
// error that has its old size again.
func extend(ctx context.Context, old *Image, _ string, keep, total int64, p Progress, fill func(d *draft) error) (err error) {
	f, err := os.OpenFile(old.Name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var done atomic.Int64
	d := &draft{f: f, old: old, keep: keep, size: keep, end: keep, ctx: ctx, step: func(n int) {
		if p != nil {
			p(min(done.Add(int64(n)), total), total)
		}
	}}
	if err = fill(d); err == nil {
		err = d.finish()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(keep))
	}
	return err
}

// begin writes the beginning.
func (d *draft) begin(keep int64) error {
	if d.old.sparse == nil {
		if err := d.copy(d.keep); err != nil {
			return err
		}
		d.size, d.end = keep, keep
		return d.f.Truncate(keep)
	}
	if keep%d.old.BlockSize != 0 {
		return fmt.Errorf("a sparse image cannot be cut at %d: want a multiple of its blocks of %d bytes", keep, d.old.BlockSize)
	}
	if err := d.beginSparse(); err != nil {
		return err
	}
	if keep > d.size {
		return d.hole(keep - d.size)
	}
	return nil
}

// beginSparse writes the chunks of the old image up to d.keep, the last of them
// cut to what is kept.
func (d *draft) beginSparse() error {
	all, block := d.old.sparse.Chunks, d.old.BlockSize
	d.end = d.old.fileSize
	d.chunks = uint32(len(all))
	cut := -1
	for i, c := range all {
		if c.Kind != sparse.CRC && int64(c.Start)*block+int64(c.Blocks)*block > d.keep {
			cut = i
			break
		}
	}
	if cut < 0 {
		d.size = d.old.Size
		return d.copy(d.end)
	}
	c := all[cut]
	left := d.keep - int64(c.Start)*block
	d.size, d.chunks = d.keep, uint32(cut)
	d.end = c.Off - chunkHeaderSize
	if left == 0 {
		return d.copy(d.end)
	}
	at, data := d.end, int64(0)
	switch c.Kind {
	case sparse.Raw:
		data = left
	case sparse.Fill:
		data = 4
	}
	d.chunks++
	d.end = c.Off + data
	if err := d.copy(d.end); err != nil {
		return err
	}
	return d.chunkHeader(at, c.Kind, left, data)
}

// chunkHeader writes the header of a chunk of size bytes of the image and data
// bytes in the file.
func (d *draft) chunkHeader(at int64, kind sparse.Kind, size, data int64) error {
	blocks := size / d.old.BlockSize
	if size%d.old.BlockSize != 0 || blocks > 1<<32-1 || data > 1<<32-1-chunkHeaderSize {
		return fmt.Errorf("%s: a sparse image takes no chunk of %d bytes", d.old.Name, size)
	}
	le := binary.LittleEndian
	b := le.AppendUint16(nil, uint16(kind))
	b = le.AppendUint32(le.AppendUint32(le.AppendUint16(b, 0), uint32(blocks)), uint32(chunkHeaderSize+data))
	_, err := d.f.WriteAt(b, at)
	return err
}

// chunk starts a chunk of size bytes of the image and data bytes in the file.
func (d *draft) chunk(kind sparse.Kind, size, data int64) error {
	if d.old.sparse == nil {
		d.size += size
		return nil
	}
	if err := d.chunkHeader(d.end, kind, size, data); err != nil {
		return err
	}
	d.chunks++
	d.end += chunkHeaderSize
	d.size += size
	return nil
}

// append appends bytes.
func (d *draft) append(b []byte) error {
	w, err := d.space(int64(len(b)))
	if err != nil {
		return err
	}
	_, err = w.WriteAt(b, 0)
	return err
}

// space appends size bytes, to be written at what it returns.
func (d *draft) space(size int64) (io.WriterAt, error) {
	off := d.size
	if err := d.chunk(sparse.Raw, size, size); err != nil {
		return nil, err
	}
	d.raw = append(d.raw, stretch{off, size, d.end})
	w := io.NewOffsetWriter(d.f, d.end)
	d.end += size
	return w, d.f.Truncate(d.end)
}

// hole appends size bytes that do not matter; in a plain image they are zeros.
func (d *draft) hole(size int64) error {
	if size < 0 {
		return fmt.Errorf("%s: the partition is %d bytes too small", d.old.Name, -size)
	}
	if err := d.chunk(sparse.Hole, size, 0); err != nil {
		return err
	}
	if d.old.sparse == nil {
		d.end += size
	}
	return nil
}

// zeros appends zeros.
func (d *draft) zeros(size int64) error {
	if d.old.sparse == nil {
		return d.hole(size)
	}
	if err := d.chunk(sparse.Fill, size, 4); err != nil {
		return err
	}
	_, err := d.f.WriteAt(make([]byte, 4), d.end)
	d.end += 4
	return err
}

// pad appends zeros up to a multiple of to bytes; only a plain image can need
// them.
func (d *draft) pad(to int64) error {
	if n := -d.size & (to - 1); n > 0 {
		return d.hole(n)
	}
	return nil
}

// finish writes what a sparse image's header counts.
func (d *draft) finish() error {
	if err := d.f.Truncate(d.end); err != nil {
		return err
	}
	if d.old.sparse == nil {
		return nil
	}
	blocks := d.size / d.old.BlockSize
	if blocks > 1<<32-1 {
		return fmt.Errorf("%s: a sparse image takes no %d bytes", d.old.Name, d.size)
	}
	le := binary.LittleEndian
	// The checksum was of the old image: 0 is none.
	_, err := d.f.WriteAt(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, uint32(blocks)), d.chunks), 0), 16)
	return err
}

// ReadAt reads what is written so far: kept data from the old image, what was
// appended from the new one.
func (d *draft) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		at, rest := off+int64(n), b[n:]
		switch got, err := d.readSome(rest, at); {
		case got > 0:
			n += got
		case err == nil:
			return n, io.ErrUnexpectedEOF
		default:
			return n, err
		}
	}
	return n, nil
}

func (d *draft) readSome(b []byte, off int64) (int, error) {
	if off >= d.size {
		return 0, io.EOF
	}
	if off < d.keep {
		n, err := d.old.ReadAt(b[:min(int64(len(b)), d.keep-off)], off)
		if n > 0 {
			err = nil
		}
		return n, err
	}
	next := d.size // start of the first stretch behind off
	for _, s := range d.raw {
		if off >= s.off && off < s.off+s.size {
			return d.f.ReadAt(b[:min(int64(len(b)), s.off+s.size-off)], s.file+off-s.off)
		}
		if s.off > off {
			next = min(next, s.off)
		}
	}
	n := min(int64(len(b)), next-off)
	clear(b[:n])
	return int(n), nil
}

// copyStep is how much is copied between two looks at the context, in bytes.
const copyStep = 32 << 20

// copy copies the first size bytes of the old file; holes stay holes.
func (d *draft) copy(size int64) error {
	src := d.old.file
	for off := int64(0); off < size; {
		data, end := extent(src, off, size)
		d.step(int(data - off))
		for off = data; off < end; {
			if err := d.ctx.Err(); err != nil {
				return err
			}
			n := min(copyStep, end-off)
			if _, err := src.Seek(off, io.SeekStart); err != nil {
				return err
			}
			if _, err := d.f.Seek(off, io.SeekStart); err != nil {
				return err
			}
			if _, err := io.CopyN(d.f, src, n); err != nil {
				return err
			}
			off += n
			d.step(int(n))
		}
	}
	return nil
}

// extent returns the first stretch of data in the file from off on, as far as
// the system tells.
func extent(f *os.File, off, size int64) (data, end int64) {
	const seekData, seekHole = 3, 4 // Linux's
	if runtime.GOOS != "linux" {
		return off, size
	}
	data, err := f.Seek(off, seekData)
	if err != nil {
		if tail, sizeErr := f.Seek(0, io.SeekEnd); sizeErr == nil && isNoData(err) && tail >= size {
			return size, size // a hole up to the end
		}
		return off, size
	}
	if end, err = f.Seek(data, seekHole); err != nil || end <= data {
		return min(data, size), size
	}
	return min(data, size), min(end, size)
}

// isNoData reports whether there is no data behind an offset.
func isNoData(err error) bool { return errors.Is(err, syscall.ENXIO) }
