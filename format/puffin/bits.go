package puffin

import "encoding/binary"

// A bitReader reads bits of data, the lowest of a byte first, up to one bit.
type bitReader struct {
	data []byte
	pos  int64 // the next bit
	end  int64 // where bits end: at most those of data
}

// peek returns the next bits, at least 56 of them, and beyond the end zeros.
func (r *bitReader) peek() uint64 {
	i := r.pos >> 3
	var v uint64
	if i+8 <= int64(len(r.data)) {
		v = binary.LittleEndian.Uint64(r.data[i:])
	} else {
		for k := i; k < int64(len(r.data)); k++ {
			v |= uint64(r.data[k]) << (8 * (k - i))
		}
	}
	v >>= r.pos & 7
	if left := r.end - r.pos; left < 64 {
		v &= 1<<max(left, 0) - 1
	}
	return v
}

// left returns how many bits there still are, less than 0 if too many were read.
func (r *bitReader) left() int64 { return r.end - r.pos }

// A bitWriter appends bits to out, the lowest of a byte first.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint // bits in acc, below 8 between calls
}

// write appends the low n bits of v, which has no others, at most 32.
func (w *bitWriter) write(v uint64, n uint) {
	w.acc |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
	}
}
