package sparse

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"mios/internal/pieces"
	"mios/internal/readat"
)

// ReadAt reads the expanded image, holes as zeros. It makes an [Image] an
// [io.ReaderAt] of [Image.Size] bytes, for whatever parser comes next.
func (m *Image) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, errors.New("sparse: read at a negative offset")
	case off >= m.Size():
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), m.Size()-off)]
	bs := int64(m.BlockSize)
	for i, done := m.find(uint32(off/bs)), 0; done < len(p); i++ {
		c := &m.Chunks[i]
		within := off + int64(done) - int64(c.Start)*bs
		n := int(min(int64(len(p)-done), int64(c.Blocks)*bs-within))
		if err := m.readChunk(c, p[done:done+n], within); err != nil {
			return done, err
		}
		done += n
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return want, nil
}

// readChunk reads the expanded bytes of c from its byte off on.
func (m *Image) readChunk(c *Chunk, p []byte, off int64) error {
	switch c.Kind {
	case Raw:
		return readat.Full(m.r, p, c.Off+off)
	case Fill:
		var four [4]byte
		if err := readat.Full(m.r, four[:], c.Off); err != nil {
			return err
		}
		fill(p, four, off)
	case Hole:
		clear(p)
	}
	return nil
}

// fill repeats the four bytes over p, which begins off bytes into the run.
func fill(p []byte, four [4]byte, off int64) {
	for i := range p[:min(4, len(p))] {
		p[i] = four[(off+int64(i))%4]
	}
	for n := 4; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}

// Expand writes the expanded image to w, on all processors: raw and fill chunks
// at their places, and holes not at all, so that in a new file they stay holes.
// Checksums are not compared: see [Image.Verify]. Progress may be nil.
func (m *Image) Expand(ctx context.Context, w io.WriterAt, progress Progress) error {
	return m.eachPiece(ctx, progress, func(i int, buf []byte, off int64) error {
		c := &m.Chunks[i]
		if err := m.readChunk(c, buf, off); err != nil {
			return err
		}
		_, err := w.WriteAt(buf, int64(c.Start)*int64(m.BlockSize)+off)
		return err
	})
}

// Progress is told how many of all bytes are through, from several goroutines.
type Progress func(done, total int64)

// counter sums up what workers report.
type counter struct {
	progress Progress
	total    int64
	done     atomic.Int64
}

func (c *counter) add(n int) {
	if done := c.done.Add(int64(n)); c.progress != nil {
		c.progress(done, c.total)
	}
}

// eachPiece calls do for pieces of all chunks with data, several at a time,
// with the chunk's index, a buffer of the piece's length and its place in the
// chunk, in bytes.
func (m *Image) eachPiece(ctx context.Context, progress Progress, do func(i int, buf []byte, off int64) error) error {
	count := counter{progress: progress, total: m.Size()}
	var mu sync.Mutex
	next, off := 0, int64(0)
	take := func() (i int, at, n int64) {
		mu.Lock()
		defer mu.Unlock()
		for ; next < len(m.Chunks); next, off = next+1, 0 {
			c := &m.Chunks[next]
			left := int64(c.Blocks)*int64(m.BlockSize) - off
			if c.Kind == Hole || left == 0 {
				count.add(int(left))
				continue
			}
			at, n := off, min(left, pieces.Size)
			off += n
			return next, at, n
		}
		return -1, 0, 0
	}
	return pieces.Workers(ctx, func(ctx context.Context) error {
		buf := make([]byte, pieces.Size)
		for {
			i, at, n := take()
			if i < 0 {
				return nil
			}
			if err := do(i, buf[:n], at); err != nil {
				return err
			}
			count.add(int(n))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	})
}

// Verify compares the checksums that the image holds, if any, with its data.
// A difference is a [*FormatError].
func (m *Image) Verify(ctx context.Context) error {
	if !m.HasChecksum() {
		return nil
	}
	sum, buf := crc32.NewIEEE(), make([]byte, pieces.Size)
	for i := range m.Chunks {
		c := &m.Chunks[i]
		if c.Kind == CRC {
			var b [4]byte
			if err := readat.Full(m.r, b[:], c.Off); err != nil {
				return err
			}
			if want := binary.LittleEndian.Uint32(b[:]); want != sum.Sum32() {
				return bad(c.Off, "chunk %d: CRC-32 of the blocks before is %#x, want %#x", i, sum.Sum32(), want)
			}
		}
		for off, end := int64(0), int64(c.Blocks)*int64(m.BlockSize); off < end; off += pieces.Size {
			p := buf[:min(pieces.Size, end-off)]
			if err := m.readChunk(c, p, off); err != nil {
				return err
			}
			sum.Write(p)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	if m.Checksum != 0 && m.Checksum != sum.Sum32() {
		return bad(24, "CRC-32 of the image is %#x, want %#x", sum.Sum32(), m.Checksum)
	}
	return nil
}

// HasChecksum reports whether the image holds a checksum that can be verified.
func (m *Image) HasChecksum() bool {
	for i := range m.Chunks {
		if m.Chunks[i].Kind == CRC {
			return true
		}
	}
	return m.Checksum != 0
}

// NewReader returns the expanded image of the sparse image that is read from
// r, holes as zeros, for input that cannot be read twice. It compares checksums
// as it comes to them. It reads no further than the last chunk.
func NewReader(r io.Reader) io.Reader {
	return &reader{d: decoder{r: r}, sum: crc32.NewIEEE()}
}

type reader struct {
	d    decoder
	c    Chunk
	four [4]byte
	off  int64 // read of the chunk
	left int64
	sum  interface {
		io.Writer
		Sum32() uint32
	}
	started bool
	err     error // sticky
}

func (r *reader) Read(p []byte) (int, error) {
	for r.err == nil && r.left == 0 {
		r.err = r.next()
	}
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	p = p[:min(int64(len(p)), r.left)]
	switch r.c.Kind {
	case Raw:
		n, err := r.d.r.Read(p)
		p, r.d.off = p[:n], r.d.off+int64(n)
		if err == io.EOF && int64(n) < r.left {
			err = bad(r.d.off, "chunk %d: %d bytes of its data are missing", r.d.index-1, r.left-int64(n))
		} else if err == io.EOF {
			err = nil
		}
		r.err = err
	case Fill:
		fill(p, r.four, r.off)
	case Hole:
		clear(p)
	}
	r.off, r.left = r.off+int64(len(p)), r.left-int64(len(p))
	r.sum.Write(p)
	return len(p), r.err
}

// next goes on to the next chunk; io.EOF after the last.
func (r *reader) next() error {
	if !r.started {
		r.started = true
		if _, err := r.d.header(); err != nil {
			return err
		}
	}
	if !r.d.next() {
		if err := r.d.end(); err != nil {
			return err
		}
		if sum := r.d.h.Checksum; sum != 0 && sum != r.sum.Sum32() {
			return bad(24, "CRC-32 of the image is %#x, want %#x", r.sum.Sum32(), sum)
		}
		return io.EOF
	}
	c, n, err := r.d.chunk()
	if err != nil {
		return err
	}
	r.c, r.off, r.left = c, 0, int64(c.Blocks)*int64(r.d.h.BlockSize)
	if n != 4 || c.Kind == Raw {
		return nil
	}
	b, err := r.d.read(4, "data of "+c.Kind.String())
	if err != nil {
		return err
	}
	copy(r.four[:], b)
	if want := binary.LittleEndian.Uint32(b); c.Kind == CRC && want != r.sum.Sum32() {
		return bad(c.Off, "chunk %d: CRC-32 of the blocks before is %#x, want %#x", r.d.index-1, r.sum.Sum32(), want)
	}
	return nil
}
