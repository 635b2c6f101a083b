package lz4

import "encoding/binary"

// smallInput is up to which size places are told by their first four bytes, of
// which there are twice as many.
const smallInput = 64<<10 + matchLimit - 1

const (
	fastLog     = 12 // of the table's size
	skipTrigger = 6  // each 64 tries without a match, the steps get longer
)

// fast finds matches by the last place with a hash.
type fast struct {
	table [1 << (fastLog + 1)]uint32
	src   []byte
	small bool
}

// hash returns where in the table the place i belongs.
func (f *fast) hash(i int) uint32 {
	if f.small {
		return read32(f.src, i) * prime >> (32 - fastLog - 1)
	}
	const prime5 = 889523592379
	return uint32(binary.LittleEndian.Uint64(f.src[i:]) << 24 * prime5 >> (64 - fastLog))
}

// near says whether a match at m may be for what is at i, and there is one.
func (f *fast) near(m, i int) bool {
	return (f.small || m+maxDistance >= i) && read32(f.src, m) == read32(f.src, i)
}

func (f *fast) compress(dst, src []byte) (written, read int) {
	clear(f.table[:])
	f.src, f.small = src, len(src) < smallInput
	s := sink{dst: dst}
	anchor := 0
	if len(src) > matchLimit {
		anchor = f.sequences(&s, len(dst) < Bound(len(src)))
	}
	anchor += s.last(src[anchor:])
	return s.n, anchor
}

// sequences writes literals and matches, and returns where the last literals
// begin. If it is limited, dst may be full before.
func (f *fast) sequences(s *sink, limited bool) (anchor int) {
	src, table := f.src, &f.table
	end := len(src) - matchLimit + 1 // no match begins from here on
	table[f.hash(0)] = 0
	for from := 1; ; from++ {
		i, m := f.find(from, end)
		if i < 0 {
			return anchor
		}
		for i > anchor && m > 0 && src[i-1] == src[m-1] {
			i, m = i-1, m-1
		}
		// So much is kept for a distance, a token and last literals.
		const rest = 2 + 1 + matchLimit - minMatch
		if n := i - anchor; limited && s.n+1+(n+240)/255+n+rest > len(s.dst) {
			return anchor
		}
		for token := s.literals(src[anchor:i]); ; token = s.literals(nil) {
			if limited && s.n+rest > len(s.dst) {
				s.n = token
				return anchor
			}
			s.distance(i - m)
			n := count(src, i+minMatch, m+minMatch, len(src)-lastLiterals)
			if limited && s.n+1+lastLiterals+(n+240)/255 > len(s.dst) {
				n = maxNibble - 1 + (len(s.dst)-s.n-1-lastLiterals)*255
			}
			s.matchLength(token, n)
			i += n + minMatch
			if anchor = i; i >= end {
				return anchor
			}
			table[f.hash(i-2)] = uint32(i - 2)
			h := f.hash(i)
			m = int(table[h])
			table[h] = uint32(i)
			if !f.near(m, i) {
				break
			}
		}
		from = i
	}
}

// find returns the next place from i on that has a match, and where that is,
// or -1.
func (f *fast) find(i, end int) (at, match int) {
	step := 1
	for tries := 1 << skipTrigger; ; tries++ {
		h := f.hash(i)
		if i+step > end {
			return -1, 0
		}
		m := int(f.table[h])
		f.table[h] = uint32(i)
		if f.near(m, i) {
			return i, m
		}
		i += step
		step = tries >> skipTrigger
	}
}
