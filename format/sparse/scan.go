package sparse

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"mios/internal/pieces"
	"mios/internal/readat"
)

// Scan returns the sparse image of the plain image in the first size bytes of r,
// with blocks of blockSize bytes: [Fill] where a block repeats four bytes,
// zeros included, and [Raw] elsewhere. A last block that is not whole is filled
// up with zeros. It reads all of r, on all processors; [Image.WriteTo] and
// [Image.Encode] then read the raw parts again. The result is that of AOSP's
// img2simg.
func Scan(ctx context.Context, r io.ReaderAt, size int64, blockSize uint32, progress Progress) (*Image, error) {
	if blockSize == 0 || blockSize%4 != 0 || blockSize > maxBlock {
		return nil, fmt.Errorf("sparse: block size %d: want a multiple of 4, at most %d", blockSize, maxBlock)
	}
	bs := int64(blockSize)
	blocks := (size + bs - 1) / bs
	if blocks > math.MaxUint32 {
		return nil, fmt.Errorf("sparse: an image of %d blocks of %d bytes: the format holds %d blocks", blocks, bs, uint32(math.MaxUint32))
	}
	padded := &padding{r, size}
	per := max(1, pieces.Size/bs) // blocks a piece
	found := make([][]run, (blocks+per-1)/per)
	count := counter{progress: progress, total: blocks * bs}
	var taken atomic.Int64
	err := pieces.Workers(ctx, func(ctx context.Context) error {
		buf := make([]byte, per*bs)
		for {
			i := taken.Add(1) - 1
			if i >= int64(len(found)) {
				return nil
			}
			p := buf[:min(per, blocks-i*per)*bs]
			if err := readat.Full(padded, p, i*per*bs); err != nil {
				return err
			}
			found[i] = classify(p, int(bs))
			count.add(len(p))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	m := &Image{BlockSize: blockSize, Blocks: uint32(blocks), r: padded}
	m.join(found)
	return m, nil
}

// A run is blocks of one kind in a piece.
type run struct {
	fill   uint32
	kind   Kind
	blocks uint32
}

// classify tells what the blocks of a piece hold.
func classify(p []byte, bs int) []run {
	var runs []run
	for len(p) > 0 {
		b := p[:bs]
		p = p[bs:]
		r := run{kind: Raw, blocks: 1}
		if bytes.Equal(b[:bs-4], b[4:]) {
			r = run{binary.LittleEndian.Uint32(b), Fill, 1}
		}
		if n := len(runs); n > 0 && runs[n-1].kind == r.kind && runs[n-1].fill == r.fill {
			runs[n-1].blocks++
			continue
		}
		runs = append(runs, r)
	}
	return runs
}

// join makes chunks of the runs of all pieces.
func (m *Image) join(pieces [][]run) {
	limit := uint32(maxRaw / int64(m.BlockSize))
	block, last := uint32(0), run{}
	for _, runs := range pieces {
		for _, r := range runs {
			if n := len(m.Chunks); n > 0 && r.kind == last.kind && r.fill == last.fill && (r.kind != Raw || m.Chunks[n-1].Blocks+r.blocks <= limit) {
				m.Chunks[n-1].Blocks += r.blocks
			} else {
				m.Chunks = append(m.Chunks, Chunk{r.kind, block, r.blocks, int64(block) * int64(m.BlockSize)})
			}
			last, block = r, block+r.blocks
		}
	}
}

// Encode writes the image to w as [Image.WriteTo] does, on all processors.
// Progress may be nil.
func (m *Image) Encode(ctx context.Context, w io.WriterAt, progress Progress) error {
	if _, err := w.WriteAt(m.appendHeader(nil), 0); err != nil {
		return err
	}
	data := make([]int64, len(m.Chunks)) // where each chunk's data goes
	at := int64(headerSize)
	for i := range m.Chunks {
		c := &m.Chunks[i]
		n, _ := dataSize(c.Kind, c.Blocks, m.BlockSize)
		b := c.appendHeader(nil, n)
		if c.Kind != Raw && n > 0 {
			b = append(b, make([]byte, n)...)
			if err := readat.Full(m.r, b[chunkHeaderSize:], c.Off); err != nil {
				return err
			}
		}
		if _, err := w.WriteAt(b, at); err != nil {
			return err
		}
		data[i] = at + chunkHeaderSize
		at += chunkHeaderSize + n
	}
	return m.eachPiece(ctx, progress, func(i int, buf []byte, off int64) error {
		c := &m.Chunks[i]
		if c.Kind != Raw {
			return nil
		}
		if err := readat.Full(m.r, buf, c.Off+off); err != nil {
			return err
		}
		_, err := w.WriteAt(buf, data[i]+off)
		return err
	})
}

// padding is the first size bytes of r, and zeros.
type padding struct {
	r    io.ReaderAt
	size int64
}

func (r *padding) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(0, r.size-off)))
	if err := readat.Full(r.r, p[:n], off); err != nil {
		return 0, err
	}
	clear(p[n:])
	return len(p), nil
}
