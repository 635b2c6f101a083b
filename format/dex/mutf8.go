package dex

import (
	"bytes"
	"unicode/utf8"
)

// stringData returns the nth string's data in MUTF-8 and the number of UTF-16
// code units that it claims to have.
func (f *File) stringData(i int) (data []byte, units int, err error) {
	c := cursor{b: f.b, off: f.strings.at(i)}
	c.off = int(c.u32())
	units = int(c.uleb())
	if c.err != nil {
		return nil, 0, c.err
	}
	n := bytes.IndexByte(f.b[c.off:], 0)
	if n < 0 {
		return nil, 0, bad(c.off, "string %d has no end", i)
	}
	return f.b[c.off : c.off+n], units, nil
}

// checkStrings reads all strings: they must be well-formed and sorted by their
// UTF-16 code units.
func (f *File) checkStrings() error {
	var last []byte
	for i := range f.Strings {
		s, units, err := f.stringData(i)
		if err != nil {
			return err
		}
		at := f.strings.at(i)
		switch n := utf16Len(s); {
		case n < 0:
			return bad(at, "string %d is not MUTF-8", i)
		case n != units:
			return bad(at, "string %d has %d UTF-16 units, but claims %d", i, n, units)
		case i > 0 && compareMUTF8(last, s) >= 0:
			return bad(at, "string %d is not in order", i)
		}
		last = s
	}
	return nil
}

// utf16Len returns the number of UTF-16 units that s, in MUTF-8, stands for,
// or -1: a unit has one, two or three bytes, the shortest that can hold it,
// except that 0 has two.
func utf16Len(s []byte) int {
	n := 0
	for i := 0; i < len(s); n++ {
		_, size := unit(s[i:])
		if size == 0 {
			return -1
		}
		i += size
	}
	return n
}

// unit decodes the first UTF-16 unit of s; size 0: it is malformed.
func unit(s []byte) (u uint16, size int) {
	cont := func(i int) bool { return i < len(s) && s[i]&0xc0 == 0x80 }
	switch {
	case s[0] < 0x80 && s[0] != 0:
		return uint16(s[0]), 1
	case s[0]&0xe0 == 0xc0 && cont(1):
		u = uint16(s[0]&0x1f)<<6 | uint16(s[1]&0x3f)
		if u >= 0x80 || u == 0 {
			return u, 2
		}
	case s[0]&0xf0 == 0xe0 && cont(1) && cont(2):
		u = uint16(s[0]&0x0f)<<12 | uint16(s[1]&0x3f)<<6 | uint16(s[2]&0x3f)
		if u >= 0x800 {
			return u, 3
		}
	}
	return 0, 0
}

// compareMUTF8 compares well-formed strings by UTF-16 units. That is the order
// of their bytes, but for 0, which is written C0 80.
func compareMUTF8(a, b []byte) int {
	for len(a) > 0 && len(b) > 0 && (a[0] == 0xc0) == (b[0] == 0xc0) {
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	switch {
	case len(a) == 0 || len(b) == 0:
		return len(a) - len(b)
	case a[0] == 0xc0:
		return -1
	}
	return 1
}

// decodeMUTF8 returns s, which is well-formed, in UTF-8. A surrogate without
// its partner stays three bytes, which is not UTF-8, so that different strings
// stay different.
func decodeMUTF8(s []byte) string {
	special := bytes.IndexByte(s, 0xc0) >= 0 || bytes.IndexByte(s, 0xed) >= 0
	if !special {
		return string(s)
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		u, size := unit(s[i:])
		if u>>10 == 0xd800>>10 && i+3 < len(s) {
			if low, n := unit(s[i+3:]); low>>10 == 0xdc00>>10 {
				out = utf8.AppendRune(out, 0x10000+(rune(u)&0x3ff)<<10+(rune(low)&0x3ff))
				i += 3 + n
				continue
			}
		}
		if u == 0 {
			out = append(out, 0)
		} else {
			out = append(out, s[i:i+size]...)
		}
		i += size
	}
	return string(out)
}
