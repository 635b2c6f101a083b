package bsdiff

import (
	"encoding/binary"
	"math/bits"

	"mios/internal/sais"
)

// A matcher finds bytes in old.
type matcher interface {
	// longest returns where old has what p begins with, as much of it as it
	// finds, and how much that is.
	longest(p []byte) (pos, n int)
}

// suffixes finds the longest match there is.
type suffixes struct {
	old   []byte
	array []int32
	start []int32 // where suffixes begin that have these first two bytes
}

func newSuffixes(old []byte) *suffixes {
	s := &suffixes{old: old, array: make([]int32, len(old)), start: make([]int32, 1<<16+1)}
	sais.Sort(old, s.array)
	for i := range len(old) - 1 {
		s.start[1+int(old[i])<<8+int(old[i+1])]++
	}
	if len(old) > 0 { // the suffix of one byte is before those of two
		s.start[int(old[len(old)-1])<<8]++
	}
	var sum int32
	for i, n := range s.start {
		sum += n
		s.start[i] = sum
	}
	return s
}

// longest searches in the sorted suffixes: what p has in common with both ends
// of the range, it has with all between them.
func (s *suffixes) longest(p []byte) (pos, n int) {
	if len(p) < 2 {
		return 0, 0
	}
	key := int(p[0])<<8 | int(p[1])
	lo, hi := int(s.start[key])-1, int(s.start[key+1])
	if hi-lo < 2 {
		return 0, 0
	}
	below, above := 2, 2 // in common with those at lo and hi
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		at := int(s.array[mid])
		k := min(below, above)
		k += common(s.old[min(at+k, len(s.old)):], p[k:])
		if k > n || n == 0 {
			pos, n = at, k
		}
		switch {
		case k == len(p):
			return at, k
		case at+k >= len(s.old) || s.old[at+k] < p[k]:
			lo, below = mid, k
		default:
			hi, above = mid, k
		}
	}
	return pos, n
}

// common returns how many bytes a and b have in common at their beginnings.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
