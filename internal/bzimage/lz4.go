package bzimage

import (
	"encoding/binary"
	"fmt"
)

// lz4Magic begins the legacy frame format, lz4_Frame_format.md.
var lz4Magic = []byte{0x02, 0x21, 0x4c, 0x18}

// lz4Block is what every block but the last unpacks to.
const lz4Block = 8 << 20

// lz4Legacy decodes legacy frames that unpack to size bytes.
func lz4Legacy(p []byte, size int) ([]byte, error) {
	out := make([]byte, 0, min(size, 64*len(p)))
	for off := len(lz4Magic); off < len(p); {
		if len(p)-off < 4 {
			return nil, &FormatError{int64(off), "lz4: block size is cut off"}
		}
		n := int(binary.LittleEndian.Uint32(p[off:]))
		off += 4
		if n == int(binary.LittleEndian.Uint32(lz4Magic)) {
			continue // another frame
		}
		if n > len(p)-off {
			return nil, &FormatError{int64(off - 4), fmt.Sprintf("lz4: block of %d bytes, %d left", n, len(p)-off)}
		}
		var err error
		limit := min(len(out)+lz4Block, size)
		if out, err = lz4Decode(out, p[off:off+n], limit); err != nil {
			err.(*FormatError).Off += int64(off)
			return nil, err
		}
		off += n
	}
	if len(out) != size {
		return nil, &FormatError{int64(len(p)), fmt.Sprintf("lz4: %d bytes, want %d", len(out), size)}
	}
	return out, nil
}

// lz4Decode appends what the block holds to out, which may grow to limit bytes
// (lz4_Block_format.md).
func lz4Decode(out, p []byte, limit int) ([]byte, error) {
	start := len(out)
	for i := 0; i < len(p); {
		bad := func(msg string) error { return &FormatError{int64(i), "lz4: " + msg} }
		token := p[i]
		i++
		lit, next, ok := lz4Length(p, i, int(token>>4))
		if !ok || lit > len(p)-next || lit > limit-len(out) {
			return nil, bad("literals run over the end")
		}
		i = next
		out = append(out, p[i:i+lit]...)
		i += lit
		if i == len(p) { // the last sequence has no match
			return out, nil
		}
		if len(p)-i < 2 {
			return nil, bad("match offset is cut off")
		}
		back := int(p[i]) | int(p[i+1])<<8
		n, next, ok := lz4Length(p, i+2, int(token&15))
		n += 4
		if !ok || n > limit-len(out) || back == 0 || back > len(out)-start {
			return nil, bad("match runs over the end")
		}
		i = next
		for n > 0 { // the match may overlap what it makes
			c := min(n, back)
			out = append(out, out[len(out)-back:len(out)-back+c]...)
			n -= c
		}
	}
	return out, nil
}

// lz4Length reads a length: 15 in the token goes on in bytes until one is not
// 255.
func lz4Length(p []byte, i, n int) (length, next int, ok bool) {
	if n < 15 {
		return n, i, true
	}
	for i < len(p) {
		b := int(p[i])
		i++
		if n += b; b != 255 {
			return n, i, true
		}
		if n > MaxSize {
			break
		}
	}
	return 0, i, false
}
