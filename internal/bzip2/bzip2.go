// Package bzip2 compresses to the format of bzip2, at its best level and with
// the same bytes on every machine. The standard library decompresses it.
//
// A block is sorted by its rotations, which brings like bytes together; these
// become indexes of a list of recently used bytes, mostly small, and these
// Huffman codes, of one of up to six tables that change every 50 codes.
package bzip2

import (
	"errors"
	"io"
)

const (
	blockSize = 900000 - 19 // of level 9; the decoder's slack stays free
	maxRun    = 255         // of equal bytes that become four and a count
)

// A Writer compresses what is written to it.
type Writer struct {
	bits     bitWriter
	block    []byte // with runs shortened
	last     byte   // the run that is not in block yet
	run      int
	crc      uint32 // of the block
	combined uint32 // of all blocks
	closed   bool
}

// NewWriter returns a writer that compresses to w. Close ends the stream.
func NewWriter(w io.Writer) *Writer {
	z := &Writer{bits: bitWriter{w: w}, crc: ^uint32(0)}
	z.bits.write(32, 'B'<<24|'Z'<<16|'h'<<8|'9')
	return z
}

// Write compresses p. An error of the writer below may come later.
func (z *Writer) Write(p []byte) (int, error) {
	if z.closed {
		return 0, errors.New("bzip2: write after close")
	}
	for _, c := range p {
		if c == z.last && z.run > 0 && z.run < maxRun {
			z.run++
			continue
		}
		z.endRun()
		z.last, z.run = c, 1
	}
	return len(p), z.bits.err
}

// Close writes what is left, and the end of the stream. It does not close the
// writer below.
func (z *Writer) Close() error {
	if z.closed {
		return z.bits.err
	}
	z.closed = true
	z.endRun()
	z.endBlock()
	z.bits.write(24, 0x177245)
	z.bits.write(24, 0x385090)
	z.bits.write(32, uint64(z.combined))
	return z.bits.close()
}

// endRun puts the run into the block.
func (z *Writer) endRun() {
	if z.run == 0 {
		return
	}
	if len(z.block)+5 > blockSize {
		z.endBlock()
	}
	for range z.run {
		z.crc = z.crc<<8 ^ crcTable[byte(z.crc>>24)^z.last]
	}
	for range min(z.run, 4) {
		z.block = append(z.block, z.last)
	}
	if z.run >= 4 {
		z.block = append(z.block, byte(z.run-4))
	}
	z.run = 0
}

func (z *Writer) endBlock() {
	if len(z.block) == 0 {
		return
	}
	crc := ^z.crc
	z.combined = (z.combined<<1 | z.combined>>31) ^ crc
	z.bits.write(24, 0x314159)
	z.bits.write(24, 0x265359)
	z.bits.write(32, uint64(crc))
	z.bits.write(1, 0) // not randomised
	writeBlock(&z.bits, z.block)
	z.block, z.crc = z.block[:0], ^uint32(0)
}

var crcTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// A bitWriter writes bits, the highest first.
type bitWriter struct {
	w   io.Writer
	buf []byte
	acc uint64
	n   uint // bits in acc that are not in buf, below 8 between calls
	err error
}

// write writes the low n bits of v, at most 32.
func (b *bitWriter) write(n uint, v uint64) {
	b.acc = b.acc<<n | v
	for b.n += n; b.n >= 8; {
		b.n -= 8
		b.buf = append(b.buf, byte(b.acc>>b.n))
	}
	if len(b.buf) >= 32<<10 {
		b.flush()
	}
}

func (b *bitWriter) flush() {
	if b.err == nil {
		_, b.err = b.w.Write(b.buf)
	}
	b.buf = b.buf[:0]
}

func (b *bitWriter) close() error {
	if b.n > 0 {
		b.write(8-b.n, 0)
	}
	b.flush()
	return b.err
}
