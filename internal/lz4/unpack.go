package lz4

import (
	"encoding/binary"
	"errors"
)

var (
	errLiterals = errors.New("literals run over the end")
	errMatch    = errors.New("a match is not in what was unpacked, or runs over the end")
	errShort    = errors.New("it unpacks to less")
)

// Unpack fills dst with what the block in src begins with; what follows is not
// looked at.
func Unpack(dst, src []byte) error {
	s, d := 0, 0
	for s < len(src) {
		token := int(src[s])
		s++
		n := token >> 4
		if n == 15 {
			var ok bool
			if n, s, ok = unpackLength(src, s, n); !ok {
				return errLiterals
			}
		}
		if n <= 16 && len(src)-s >= 16 && len(dst)-d >= 16 { // short ones, as a rule
			copy(dst[d:d+16], src[s:s+16])
		} else {
			if n > len(src)-s {
				return errLiterals
			}
			n = min(n, len(dst)-d)
			copy(dst[d:d+n], src[s:s+n])
		}
		s, d = s+n, d+n
		if s == len(src) || d == len(dst) {
			break
		}
		if len(src)-s < 2 {
			return errMatch
		}
		back := int(binary.LittleEndian.Uint16(src[s:]))
		s += 2
		n = token & 15
		if n == 15 {
			var ok bool
			if n, s, ok = unpackLength(src, s, n); !ok {
				return errMatch
			}
		}
		n += 4
		if back == 0 || back > d {
			return errMatch
		}
		n = min(n, len(dst)-d)
		CopyMatch(dst, d, back, n)
		d += n
		if d == len(dst) {
			break
		}
	}
	if d < len(dst) {
		return errShort
	}
	return nil
}

// CopyMatch repeats n bytes of dst from d-back on at d. They may overlap.
func CopyMatch(dst []byte, d, back, n int) {
	if n <= 16 && back >= 16 && len(dst)-d >= 16 {
		copy(dst[d:d+16], dst[d-back:d-back+16])
		return
	}
	from := d - back
	for end := d + n; d < end; { // each round has twice as much to copy from
		d += copy(dst[d:end], dst[from:d])
	}
}

// unpackLength reads a length: 15 in the token goes on in bytes until one is not
// 255. It is at most 255 times as long as src, so it cannot overflow.
func unpackLength(src []byte, s, n int) (length, next int, ok bool) {
	for s < len(src) {
		b := int(src[s])
		s++
		if n += b; b != 255 {
			return n, s, true
		}
	}
	return 0, s, false
}
