package puffin

import (
	"fmt"
	"math"
)

// maxPuff is the largest puffed extent that is kept in memory, in bytes.
const maxPuff = 128 << 20

// A Stream says where a file has deflate blocks, and where they are once it is
// puffed.
//
// A puffed file has, between the puffs, what is between the deflates: for each
// byte that has a bit of that one byte, whose other bits are zero, and which
// begins with the first bit that is not a deflate's.
type Stream struct {
	Deflates []BitExtent // in the file
	Puffs    []BitExtent // in the puffed file, whole bytes
	Size     uint64      // of the puffed file, in bytes
}

// rawBytes returns how many bytes stand for the bits from one deflate to the
// next.
func rawBytes(from, to uint64) uint64 {
	if from == to {
		return 0
	}
	return (to+7)/8 - from/8
}

// newStream lays out a file of size bytes, whose puffs have these sizes.
func newStream(deflates []BitExtent, puffs []int, size int64) Stream {
	s := Stream{Deflates: deflates, Puffs: make([]BitExtent, len(deflates))}
	last := uint64(0)
	for i, x := range deflates {
		s.Size += rawBytes(last, x.Offset)
		s.Puffs[i] = BitExtent{8 * s.Size, 8 * uint64(puffs[i])}
		s.Size += uint64(puffs[i])
		last = x.end()
	}
	s.Size += rawBytes(last, 8*uint64(size))
	return s
}

// fileSize returns how many bytes the file has that was puffed.
func (s *Stream) fileSize() int64 {
	if len(s.Deflates) == 0 {
		return int64(s.Size)
	}
	last := len(s.Deflates) - 1
	return int64(s.Deflates[last].end()/8 + s.Size - s.Puffs[last].end()/8)
}

// check compares both lists with each other. name is the side's, for errors.
func (s *Stream) check(name string) error {
	bad := func(i int, format string, args ...any) error {
		return &FormatError{patchHeader, fmt.Sprintf("%s: deflate %d: ", name, i) + fmt.Sprintf(format, args...)}
	}
	if len(s.Deflates) != len(s.Puffs) {
		return &FormatError{patchHeader, fmt.Sprintf("%s: %d deflates, %d puffs", name, len(s.Deflates), len(s.Puffs))}
	}
	const most = math.MaxInt64 / 16
	if s.Size > most {
		return &FormatError{patchHeader, fmt.Sprintf("%s: puffed file of %d bytes", name, s.Size)}
	}
	var last, at uint64
	for i, x := range s.Deflates {
		p := s.Puffs[i]
		if x.Offset > most || x.Length > most || x.Offset < last {
			return bad(i, "bits %d to %d, after %d", x.Offset, x.end(), last)
		}
		at += rawBytes(last, x.Offset)
		if p.Offset != 8*at || p.Length%8 != 0 {
			return bad(i, "puffed bits %d to %d, want them at %d", p.Offset, p.end(), 8*at)
		}
		n := p.Length / 8
		if n > maxPuff || n > maxPuffed(x.Length) {
			return bad(i, "%d bytes of %d bits", n, x.Length)
		}
		at += n
		last = x.end()
	}
	if len(s.Deflates) > 0 && s.Size < at {
		return &FormatError{patchHeader, fmt.Sprintf("%s: puffed file of %d bytes, puffs up to %d", name, s.Size, at)}
	}
	return nil
}

// maxPuffed returns how many bytes that many bits may at most become: four of a
// match of two bits, and a block's header and end.
func maxPuffed(bits uint64) uint64 {
	return 2*bits + (bits/8+1)*(2+2+1)
}
