// Package lz4 compresses blocks of LZ4 (lz4_Block_format.md) to the very bytes
// that liblz4 makes of them, on machines of 64 bits and low byte first: what
// update_engine's lz4diff asks of who applies its patches. It does what
// LZ4_compress_destSize and LZ4_compress_HC_destSize do, which compress as much
// of the input as fits. Versions 1.9 and 1.10 make the same, but for LZ4HC's
// levels 1 and 2, where this is 1.9.
package lz4

import (
	"encoding/binary"
	"math/bits"
)

// The format's limits, in bytes.
const (
	minMatch     = 4
	lastLiterals = 5     // at the end of a block come so many literals
	matchLimit   = 12    // and no match begins in its last so many bytes
	maxDistance  = 65535 // of a match
	maxNibble    = 15    // longer lengths go on in bytes of their own
	prime        = 2654435761
)

// MaxInput is how many bytes a block may have.
const MaxInput = 0x7e000000

// Bound returns how many bytes a block of n may at most become.
func Bound(n int) int { return n + n/255 + 16 }

// A Compressor compresses blocks, one after the other, each by itself.
type Compressor struct {
	level int // of HC; 0 for the fast way
	fast  fast
	hc    *hc
}

// NewFast returns a compressor as liblz4's LZ4_compress_destSize is.
func NewFast() *Compressor { return &Compressor{} }

// NewHC returns a compressor as liblz4's LZ4_compress_HC_destSize is with a
// level from 1 to 12. As there, what is less stands for 9, what is more for 12.
func NewHC(level int) *Compressor {
	if level < 1 {
		level = 9
	}
	return &Compressor{level: min(level, len(levels)-1), hc: new(hc)}
}

// Fill compresses what src begins with into dst, as much of it as fits, and
// returns how much of dst that takes, and of src. src has at most [MaxInput]
// bytes.
func (c *Compressor) Fill(dst, src []byte) (written, read int) {
	switch {
	case len(dst) == 0:
		return 0, 0
	case c.level == 0:
		return c.fast.compress(dst, src)
	}
	return c.hc.compress(dst, src, c.level)
}

func read32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }

// count returns how many bytes are alike from i and from j on, before end,
// which is after both.
func count(b []byte, i, j, end int) int {
	from := i
	for ; i+8 <= end; i, j = i+8, j+8 {
		if x := binary.LittleEndian.Uint64(b[i:]) ^ binary.LittleEndian.Uint64(b[j:]); x != 0 {
			return i - from + bits.TrailingZeros64(x)/8
		}
	}
	for i < end && b[i] == b[j] {
		i, j = i+1, j+1
	}
	return i - from
}

// A sink is a block being written.
type sink struct {
	dst []byte
	n   int
}

// length appends what of a length does not go into four bits.
func (s *sink) length(n int) {
	for n -= maxNibble; n >= 255; n -= 255 {
		s.dst[s.n] = 255
		s.n++
	}
	s.dst[s.n] = byte(n)
	s.n++
}

// literals appends a token and literals.
func (s *sink) literals(b []byte) (token int) {
	token = s.n
	s.n++
	if len(b) >= maxNibble {
		s.dst[token] = maxNibble << 4
		s.length(len(b))
	} else {
		s.dst[token] = byte(len(b)) << 4
	}
	s.n += copy(s.dst[s.n:], b)
	return token
}

// distance appends how far back a match is.
func (s *sink) distance(distance int) {
	binary.LittleEndian.PutUint16(s.dst[s.n:], uint16(distance))
	s.n += 2
}

// matchLength appends a length, which is less by minMatch.
func (s *sink) matchLength(token, length int) {
	if length >= maxNibble {
		s.dst[token] |= maxNibble
		s.length(length)
	} else {
		s.dst[token] |= byte(length)
	}
}

// last appends the literals that b begins with, as many as there is room for,
// and returns how many.
func (s *sink) last(b []byte) int {
	n := len(b)
	if room := len(s.dst) - s.n; n+1+(n+255-maxNibble)/255 > room {
		n = room - 1
		n -= (n + 256 - maxNibble) / 256
	}
	s.literals(b[:n])
	return n
}
