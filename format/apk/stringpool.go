package apk

import (
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
	cache   map[uint32]string // by offset
	budget  int               // bytes that may still be decoded
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
	p := &stringPool{off: off, offsets: b[header:][:4*count], utf8: flags&poolUTF8 != 0, cache: make(map[uint32]string)}
	if count > 0 {
		p.data = b[start:]
	}
	p.budget = 4*len(p.data) + 64
	return p, nil
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
	if p.budget -= len(s); p.budget < 0 {
		return "", bad(p.off, "string pool: strings overlap")
	}
	p.cache[at] = s
	return s, nil
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
	units := make([]uint16, n)
	for i := range units {
		units[i] = le.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units)), true
}

// decodeUTF8 reads the length in UTF-16 units, which Android ignores, the
// length in bytes, the bytes, and a zero.
func decodeUTF8(b []byte) (string, bool) {
	_, b, ok := length8(b)
	if !ok {
		return "", false
	}
	n, b, ok := length8(b)
	if !ok || n >= len(b) || b[n] != 0 || !utf8.Valid(b[:n]) {
		return "", false
	}
	return string(b[:n]), true
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
		units := utf16.Encode([]rune(s))
		if n := len(units); n > 0x7fff {
			data = le.AppendUint16(data, uint16(n>>16|0x8000))
		}
		data = le.AppendUint16(data, uint16(len(units)))
		for _, u := range units {
			data = le.AppendUint16(data, u)
		}
		data = append(data, 0, 0)
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

func appendChunk(b []byte, kind, header, size int) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(kind))
	b = binary.LittleEndian.AppendUint16(b, uint16(header))
	return binary.LittleEndian.AppendUint32(b, uint32(size))
}
