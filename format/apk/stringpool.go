package apk

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// A stringPool is a chunk of strings that stay encoded until they are asked
// for: offsets may overlap, and the sum of all that they claim has no bound.
type stringPool struct {
	off     int64  // of the chunk, for errors
	offsets []byte // four bytes each
	data    []byte
	utf8    bool
	cache   map[uint32]string // by offset, if what is decoded is kept
	budget  int               // bytes that may still be decoded into it
}

// parseStringPool reads the chunk b, which begins at off.
func parseStringPool(b []byte, off int64) (*stringPool, error) {
	if len(b) < poolHeader {
		return nil, bad(off, "string pool of %d bytes", len(b))
	}
	le := binary.LittleEndian
	header := int(le.Uint16(b[2:]))
	count, styles := le.Uint32(b[8:]), le.Uint32(b[12:])
	flags, start := le.Uint32(b[16:]), le.Uint32(b[20:])
	switch {
	case header < poolHeader || header > len(b):
		return nil, bad(off+2, "string pool: header of %d bytes", header)
	case int64(count)*4+int64(styles)*4 > int64(len(b)-header):
		return nil, bad(off+8, "string pool: %d strings and %d styles in %d bytes", count, styles, len(b))
	case count > 0 && (int64(start) > int64(len(b)) || int64(start) < int64(header)+4*int64(count)):
		return nil, bad(off+20, "string pool: strings at %#x of %#x", start, len(b))
	}
	p := &stringPool{off: off, offsets: b[header:][:4*count], utf8: flags&poolUTF8 != 0}
	if count > 0 {
		p.data = b[start:]
	}
	return p, nil
}

// keep makes the pool keep what it decodes, of which there may not be more than
// its strings are long.
func (p *stringPool) keep() {
	p.cache, p.budget = make(map[uint32]string), 4*len(p.data)+64
}

func (p *stringPool) len() int { return len(p.offsets) / 4 }

// get returns the string with that index.
func (p *stringPool) get(i uint32) (string, error) {
	if int64(i) >= int64(p.len()) {
		return "", bad(p.off, "string pool: no string %d, there are %d", i, p.len())
	}
	at := binary.LittleEndian.Uint32(p.offsets[4*i:])
	if s, ok := p.cache[at]; ok {
		return s, nil
	}
	if int64(at) >= int64(len(p.data)) {
		return "", bad(p.off, "string pool: string %d at %#x of %#x", i, at, len(p.data))
	}
	decode := decodeUTF16
	if p.utf8 {
		decode = decodeUTF8
	}
	s, ok := decode(p.data[at:])
	if !ok {
		return "", bad(p.off, "string pool: string %d is malformed", i)
	}
	if p.cache != nil {
		if p.budget -= len(s); p.budget < 0 {
			return "", bad(p.off, "string pool: strings overlap")
		}
		p.cache[at] = s
	}
	return s, nil
}

// find returns the index of s, without decoding the others.
func (p *stringPool) find(s string) (uint32, bool) {
	form := encodeUTF16(nil, s)
	if p.utf8 {
		form = encodeUTF8(s)
	}
	for i := range uint32(p.len()) {
		at := binary.LittleEndian.Uint32(p.offsets[4*i:])
		if int64(at) < int64(len(p.data)) && bytes.HasPrefix(p.data[at:], form) {
			return i, true
		}
	}
	return 0, false
}

// decodeUTF16 reads a length of one or two units, the units, and a zero.
func decodeUTF16(b []byte) (string, bool) {
	le := binary.LittleEndian
	if len(b) < 2 {
		return "", false
	}
	n := int(le.Uint16(b))
	b = b[2:]
	if n&0x8000 != 0 {
		if len(b) < 2 {
			return "", false
		}
		n = n&0x7fff<<16 | int(le.Uint16(b))
		b = b[2:]
	}
	if n > len(b)/2-1 || le.Uint16(b[2*n:]) != 0 {
		return "", false
	}
	text := make([]byte, n)
	for i := range text {
		unit := le.Uint16(b[2*i:])
		if unit >= utf8.RuneSelf {
			return decodeUnits(b[:2*n]), true
		}
		text[i] = byte(unit)
	}
	return string(text), true
}

func decodeUnits(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// decodeUTF8 reads the length in UTF-16 units, which Android ignores, the
// length in bytes, the bytes, and a zero. The length of a string of more than
// 32767 bytes has lost its upper bits.
func decodeUTF8(b []byte) (string, bool) {
	_, b, ok := length8(b)
	if !ok {
		return "", false
	}
	n, b, ok := length8(b)
	if !ok {
		return "", false
	}
	for n < len(b) && b[n] != 0 {
		n += 0x8000
	}
	if n >= len(b) {
		return "", false
	}
	if utf8.Valid(b[:n]) {
		return string(b[:n]), true
	}
	return decodeModified(b[:n])
}

// decodeModified decodes Java's modified UTF-8, which aapt2 writes: characters
// above U+FFFF are two surrogates of three bytes each, NUL has two bytes.
func decodeModified(b []byte) (string, bool) {
	units := make([]uint16, 0, len(b))
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			units = utf16.AppendRune(units, r)
			b = b[n:]
			continue
		}
		tail := func(i int) bool { return len(b) > i && b[i]&0xc0 == 0x80 }
		switch {
		case b[0] == 0xc0 && tail(1) && b[1] == 0x80:
			units, b = append(units, 0), b[2:]
		case b[0] == 0xed && tail(1) && tail(2):
			units, b = append(units, 0xd000|uint16(b[1]&0x3f)<<6|uint16(b[2]&0x3f)), b[3:]
		default:
			return "", false
		}
	}
	return string(utf16.Decode(units)), true
}

// length8 reads a length of one or two bytes.
func length8(b []byte) (int, []byte, bool) {
	switch {
	case len(b) < 1:
		return 0, nil, false
	case b[0]&0x80 == 0:
		return int(b[0]), b[1:], true
	case len(b) < 2:
		return 0, nil, false
	}
	return int(b[0]&0x7f)<<8 | int(b[1]), b[2:], true
}

// encodeStringPool makes the chunk of those strings, in UTF-16, as aapt does
// for XML.
func encodeStringPool(strings []string) []byte {
	le := binary.LittleEndian
	var offsets, data []byte
	for _, s := range strings {
		offsets = le.AppendUint32(offsets, uint32(len(data)))
		data = encodeUTF16(data, s)
	}
	for len(data)%4 != 0 {
		data = append(data, 0)
	}
	b := appendChunk(nil, chunkStringPool, poolHeader, poolHeader+len(offsets)+len(data))
	b = le.AppendUint32(b, uint32(len(strings)))
	b = le.AppendUint32(b, 0) // styles
	b = le.AppendUint32(b, 0) // flags
	b = le.AppendUint32(b, uint32(poolHeader+len(offsets)))
	b = le.AppendUint32(b, 0) // styles' offset
	return append(append(b, offsets...), data...)
}

// encodeUTF16 appends the string as decodeUTF16 reads it.
func encodeUTF16(b []byte, s string) []byte {
	le := binary.LittleEndian
	units := utf16.Encode([]rune(s))
	if n := len(units); n > 0x7fff {
		b = le.AppendUint16(b, uint16(n>>16|0x8000))
	}
	b = le.AppendUint16(b, uint16(len(units)))
	for _, u := range units {
		b = le.AppendUint16(b, u)
	}
	return append(b, 0, 0)
}

// encodeUTF8 returns the string as decodeUTF8 reads it, for strings of Unicode's
// basic plane, which names are of.
func encodeUTF8(s string) []byte {
	length := func(b []byte, n int) []byte {
		if n > 0x7f {
			b = append(b, byte(n>>8|0x80))
		}
		return append(b, byte(n))
	}
	b := length(nil, len(utf16.Encode([]rune(s))))
	b = length(b, len(s))
	return append(append(b, s...), 0)
}
