// Package sparse reads and writes Android sparse images, which leave out the
// parts of a disk image that repeat four bytes or do not matter.
//
// A sparse image is a header, then chunks that each stand for a run of blocks:
// raw data, a four-byte fill, a hole, or a checksum of all before. The layout is
// that of AOSP's system/core/libsparse/sparse_format.h.
//
// The package is strict, so that an image has one encoding: what [Parse]
// accepts, [Image.WriteTo] writes back byte for byte. Chunks' data stays in the
// input; memory is 24 bytes a chunk, which takes at least 12 bytes there.
package sparse

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	magic           = 0xed26ff3a
	headerSize      = 28
	chunkHeaderSize = 12
	maxBlock        = 16 << 20
	maxRaw          = math.MaxUint32 - chunkHeaderSize // bytes of data that a chunk can hold
)

// DefaultBlockSize is what AOSP's tools use, in bytes.
const DefaultBlockSize = 4096

// A Kind says what a chunk's blocks hold.
type Kind uint16

// The kinds that sparse_format.h defines.
const (
	Raw  Kind = 0xcac1 // as much data as the blocks have bytes
	Fill Kind = 0xcac2 // four bytes of data, repeated
	Hole Kind = 0xcac3 // no data: what the blocks hold does not matter
	CRC  Kind = 0xcac4 // the CRC-32 of all blocks before, in four bytes; no blocks
)

func (k Kind) String() string {
	switch k {
	case Raw:
		return "raw"
	case Fill:
		return "fill"
	case Hole:
		return "hole"
	case CRC:
		return "crc32"
	}
	return fmt.Sprintf("kind %#x", uint16(k))
}

// An Image is a parsed sparse image.
type Image struct {
	BlockSize uint32 // in bytes, a multiple of 4
	Blocks    uint32 // in the expanded image
	Checksum  uint32 // CRC-32 of the expanded image, holes as zeros; 0: none
	Chunks    []Chunk

	r io.ReaderAt
}

// A Chunk is one run of blocks.
type Chunk struct {
	Kind   Kind
	Start  uint32 // its first block in the expanded image
	Blocks uint32
	Off    int64 // of its data in the input, in bytes
}

// A FormatError says where an image breaks the format, and how.
type FormatError struct {
	Off int64  // of the offending field, in bytes from the image's start
	Msg string // what is wrong with it
}

func (e *FormatError) Error() string { return fmt.Sprintf("sparse: offset %#x: %s", e.Off, e.Msg) }

func bad(off int64, format string, args ...any) error {
	return &FormatError{off, fmt.Sprintf(format, args...)}
}

// header and chunkHeader are the layouts on disk, little-endian.
type header struct {
	Magic                     uint32
	Major, Minor              uint16
	HeaderSize, ChunkSize     uint16
	BlockSize, Blocks, Chunks uint32
	Checksum                  uint32
}

type chunkHeader struct {
	Kind     Kind
	Reserved uint16
	Blocks   uint32
	Size     uint32 // with this header
}

// Size returns the size of the expanded image in bytes.
func (m *Image) Size() int64 { return int64(m.Blocks) * int64(m.BlockSize) }

// Parse reads the image that fills the first size bytes of r, which the image
// goes on to read its chunks' data from. Errors in the image are [*FormatError];
// any other error is r's own.
func Parse(r io.ReaderAt, size int64) (*Image, error) {
	d := &decoder{r: io.NewSectionReader(r, 0, size)}
	h, err := d.header()
	if err != nil {
		return nil, err
	}
	m := &Image{BlockSize: h.BlockSize, Blocks: h.Blocks, Checksum: h.Checksum, r: r}
	m.Chunks = make([]Chunk, 0, min(int64(h.Chunks), size/chunkHeaderSize))
	for d.next() {
		c, n, err := d.chunk()
		if err != nil {
			return nil, err
		}
		if n > size-d.off {
			return nil, bad(d.off, "chunk %d: data of %d bytes passes the end by %d", d.index-1, n, n-(size-d.off))
		}
		m.Chunks = append(m.Chunks, c)
		d.skip(n)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if d.off != size {
		return nil, bad(d.off, "%d bytes after the last chunk", size-d.off)
	}
	return m, nil
}

// decoder reads an image's headers, one after another.
type decoder struct {
	r      io.Reader
	h      header
	off    int64
	index  uint32 // of the next chunk
	blocks uint32 // before it
	buf    [headerSize]byte
}

func (d *decoder) read(n int, what string) ([]byte, error) {
	b := d.buf[:n]
	got, err := io.ReadFull(d.r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, bad(d.off, "%s: %d bytes left, want %d", what, got, n)
	}
	d.off += int64(n)
	return b, err
}

func (d *decoder) header() (*header, error) {
	b, err := d.read(headerSize, "header")
	if err != nil {
		return nil, err
	}
	h := &d.h
	if _, err := binary.Decode(b, binary.LittleEndian, h); err != nil {
		return nil, err
	}
	switch {
	case h.Magic != magic:
		return nil, bad(0, "magic is %#x, want %#x: not a sparse image", h.Magic, uint32(magic))
	case h.Major != 1 || h.Minor != 0:
		return nil, bad(4, "version %d.%d, want 1.0", h.Major, h.Minor)
	case h.HeaderSize != headerSize || h.ChunkSize != chunkHeaderSize:
		return nil, bad(8, "header sizes %d and %d, want %d and %d", h.HeaderSize, h.ChunkSize, headerSize, chunkHeaderSize)
	case h.BlockSize == 0 || h.BlockSize%4 != 0 || h.BlockSize > maxBlock:
		return nil, bad(12, "block size %d: want a multiple of 4, at most %d", h.BlockSize, maxBlock)
	}
	return h, nil
}

func (d *decoder) next() bool { return d.index < d.h.Chunks }

// chunk reads the next chunk's header, and returns how many bytes of data follow.
func (d *decoder) chunk() (Chunk, int64, error) {
	i, at := d.index, d.off
	b, err := d.read(chunkHeaderSize, fmt.Sprintf("chunk %d of %d", i, d.h.Chunks))
	if err != nil {
		return Chunk{}, 0, err
	}
	le := binary.LittleEndian
	h := chunkHeader{Kind(le.Uint16(b)), le.Uint16(b[2:]), le.Uint32(b[4:]), le.Uint32(b[8:])}
	n, ok := dataSize(h.Kind, h.Blocks, d.h.BlockSize)
	switch {
	case !ok:
		return Chunk{}, 0, bad(at, "chunk %d: %v with %d blocks", i, h.Kind, h.Blocks)
	case h.Reserved != 0:
		return Chunk{}, 0, bad(at+2, "chunk %d: reserved field is %#x, want 0", i, h.Reserved)
	case int64(h.Size) != chunkHeaderSize+n:
		return Chunk{}, 0, bad(at+8, "chunk %d: size %d, want %d", i, h.Size, chunkHeaderSize+n)
	case h.Blocks > d.h.Blocks-d.blocks:
		return Chunk{}, 0, bad(at+4, "chunk %d: %d blocks after the first %d of %d", i, h.Blocks, d.blocks, d.h.Blocks)
	}
	c := Chunk{Kind: h.Kind, Start: d.blocks, Blocks: h.Blocks, Off: d.off}
	d.index++
	d.blocks += h.Blocks
	return c, n, nil
}

// skip goes past n bytes of data, which are known to be there.
func (d *decoder) skip(n int64) {
	if s, ok := d.r.(io.Seeker); ok {
		s.Seek(n, io.SeekCurrent) // a SectionReader's cannot fail
	}
	d.off += n
}

// end checks what is known only after the last chunk.
func (d *decoder) end() error {
	if d.blocks != d.h.Blocks {
		return bad(16, "%d blocks, but the chunks have %d", d.h.Blocks, d.blocks)
	}
	return nil
}

// dataSize returns how many bytes of data a chunk has, and whether a chunk of
// that kind can have that many blocks.
func dataSize(k Kind, blocks, blockSize uint32) (n int64, ok bool) {
	switch k {
	case Raw:
		n = int64(blocks) * int64(blockSize)
		return n, n <= maxRaw
	case Fill:
		return 4, true
	case Hole:
		return 0, true
	case CRC:
		return 4, blocks == 0
	}
	return 0, false
}

// EncodedSize returns how many bytes [Image.WriteTo] writes.
func (m *Image) EncodedSize() int64 {
	total := int64(headerSize)
	for _, c := range m.Chunks {
		n, _ := dataSize(c.Kind, c.Blocks, m.BlockSize)
		total += chunkHeaderSize + n
	}
	return total
}

// appendHeader appends the image's header.
func (m *Image) appendHeader(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, magic)
	for _, n := range []uint16{1, 0, headerSize, chunkHeaderSize} {
		b = le.AppendUint16(b, n)
	}
	for _, n := range []uint32{m.BlockSize, m.Blocks, uint32(len(m.Chunks)), m.Checksum} {
		b = le.AppendUint32(b, n)
	}
	return b
}

// appendHeader appends the header of a chunk with n bytes of data.
func (c *Chunk) appendHeader(b []byte, n int64) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, uint16(c.Kind))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, c.Blocks)
	return le.AppendUint32(b, uint32(chunkHeaderSize+n))
}

// WriteTo writes the image. It is the inverse of [Parse].
func (m *Image) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.appendHeader(nil))
	total := int64(n)
	for i := range m.Chunks {
		if err != nil {
			return total, err
		}
		c := &m.Chunks[i]
		size, _ := dataSize(c.Kind, c.Blocks, m.BlockSize)
		if n, err = w.Write(c.appendHeader(nil, size)); err == nil && size > 0 {
			var copied int64
			copied, err = io.Copy(w, io.NewSectionReader(m.r, c.Off, size))
			if total += copied; err == nil && copied < size {
				err = io.ErrUnexpectedEOF
			}
		}
		total += int64(n)
	}
	return total, err
}

// find returns the index of the chunk that holds the block.
func (m *Image) find(block uint32) int {
	i, found := slices.BinarySearchFunc(m.Chunks, block, func(c Chunk, b uint32) int {
		switch {
		case uint64(b) >= uint64(c.Start)+uint64(c.Blocks):
			return -1
		case b < c.Start:
			return 1
		}
		return 0
	})
	if !found {
		return len(m.Chunks)
	}
	return i
}
