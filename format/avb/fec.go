package avb

import (
	"fmt"
	"io"

	"mios/internal/readat"
)

const (
	codeword  = 255 // bytes of a Reed-Solomon codeword
	fieldPoly = 0x11d
	maxRoots  = 24 // of dm-verity
	fecSpan   = 16 // blocks of consecutive codewords that are computed at a time
)

// FECSize returns the size in bytes of the parity over dataSize bytes (image
// and hash tree, a multiple of 4096) with that many roots, at most 24.
func FECSize(dataSize int64, roots int) int64 {
	return fecRounds(dataSize, roots) * int64(roots) * BlockSize
}

// fecRounds returns how many blocks of codewords cover dataSize bytes.
func fecRounds(dataSize int64, roots int) int64 {
	n := int64(codeword - roots)
	return (dataSize/BlockSize + n - 1) / n
}

// WriteFEC computes the Reed-Solomon RS(255, 255-roots) parity over the first
// dataSize bytes of r, interleaved as dm-verity reads it (codeword i holds the
// bytes at i, i+rounds·4096, i+2·rounds·4096 …), and writes it to w from its
// offset 0 on. It is what AOSP's "fec --encode" writes, without its header.
func WriteFEC(w io.WriterAt, r io.ReaderAt, dataSize int64, roots int) error {
	if roots < 1 || roots > maxRoots || dataSize <= 0 || dataSize%BlockSize != 0 {
		return fmt.Errorf("avb: FEC with %d roots over %d bytes: want 1 to %d roots and a multiple of %d", roots, dataSize, maxRoots, BlockSize)
	}
	rounds := fecRounds(dataSize, roots)
	tables := generatorTables(roots)
	err := parallel(int((rounds+fecSpan-1)/fecSpan), func() func(int) error {
		span := min(fecSpan, rounds) * BlockSize
		data, parity, out := make([]byte, span), make([]byte, int(span)*roots), make([]byte, int(span)*roots)
		return func(i int) error {
			first := int64(i) * fecSpan * BlockSize
			n := min(span, rounds*BlockSize-first)
			parity := parity[:int(n)*roots]
			clear(parity)
			for off := first; off < first+rounds*BlockSize*int64(codeword-roots); off += rounds * BlockSize {
				if err := readPadded(r, data[:n], off, dataSize); err != nil {
					return err
				}
				encodeBlock(parity, data[:n], tables)
			}
			for j := range out[:len(parity)] { // parity is by root, the file by codeword
				out[j] = parity[j%roots*int(n)+j/roots]
			}
			_, err := w.WriteAt(out[:len(parity)], first*int64(roots))
			return err
		}
	})
	if err != nil {
		return fmt.Errorf("avb: FEC: %w", err)
	}
	return nil
}

// readPadded reads len(b) bytes at off; those from size on are zeros.
func readPadded(r io.ReaderAt, b []byte, off, size int64) error {
	n := max(0, min(int64(len(b)), size-off))
	clear(b[n:])
	if n == 0 {
		return nil
	}
	return readat.Full(r, b[:n], off)
}

// encodeBlock shifts one data byte into each codeword. parity holds len(data)
// bytes for each root, the coefficient of the highest power first.
func encodeBlock(parity, data []byte, tables [][256]byte) {
	n := len(data)
	last := len(tables) - 1
	if last == 1 { // AOSP's two roots
		p0, p1 := parity[:n], parity[n:][:n]
		t0, t1 := &tables[0], &tables[1]
		for i, d := range data {
			fb := d ^ p0[i]
			p0[i] = p1[i] ^ t0[fb]
			p1[i] = t1[fb]
		}
		return
	}
	for i, d := range data {
		fb := d ^ parity[i]
		for k := range last {
			parity[k*n+i] = parity[(k+1)*n+i] ^ tables[k][fb]
		}
		parity[last*n+i] = tables[last][fb]
	}
}

// generatorTables returns, for each coefficient of the code's generator
// polynomial (x-α^0)(x-α^1)… but the leading one, highest power first, its
// products with all 256 field elements.
func generatorTables(roots int) [][256]byte {
	gen := make([]byte, roots+1) // gen[k] is the coefficient of x^k
	gen[0] = 1
	root := byte(1)
	for range roots {
		for k := roots; k > 0; k-- {
			gen[k] = gen[k-1] ^ fieldMul(gen[k], root)
		}
		gen[0] = fieldMul(gen[0], root)
		root = fieldMul(root, 2)
	}
	tables := make([][256]byte, roots)
	for k := range tables {
		for x := range 256 {
			tables[k][x] = fieldMul(gen[roots-1-k], byte(x))
		}
	}
	return tables
}

// fieldMul multiplies in GF(2^8) with the polynomial 0x11d.
func fieldMul(a, b byte) byte {
	var p int
	for x, y := int(a), int(b); y > 0; y >>= 1 {
		if y&1 != 0 {
			p ^= x
		}
		if x <<= 1; x > 0xff {
			x ^= fieldPoly
		}
	}
	return byte(p)
}
