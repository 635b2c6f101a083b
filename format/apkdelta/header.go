package apkdelta

import (
	"encoding/binary"
	"fmt"
	"io"

	"mios"
)

// What a delta begins with.
const (
	magic      = "APKDELTA"
	version    = 1
	headerSize = len(magic) + 4 + 3*8 + 2*len(mios.Digest{})
)

// appendTo appends the header as a delta has it.
func (h *Header) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(append(b, magic...), version)
	for _, v := range []int64{h.OldSize, h.NewSize, h.Scratch} {
		b = le.AppendUint64(b, uint64(v))
	}
	return append(append(b, h.Old[:]...), h.New[:]...)
}

// ReadHeader reads what a delta begins with, and no byte more.
func ReadHeader(r io.Reader) (*Header, error) {
	var b [headerSize]byte
	if n, err := io.ReadFull(r, b[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, &FormatError{0, fmt.Sprintf("header: %d bytes left, want %d", n, headerSize)}
	} else if err != nil {
		return nil, fmt.Errorf("apkdelta: header: %w", err)
	}
	le := binary.LittleEndian
	if string(b[:len(magic)]) != magic {
		return nil, &FormatError{0, fmt.Sprintf("begins with %q, want %q", b[:len(magic)], magic)}
	}
	at := len(magic)
	if v := le.Uint32(b[at:]); v != version {
		return nil, &FormatError{int64(at), fmt.Sprintf("version %d, want %d: update what applies it", v, version)}
	}
	at += 4
	h := new(Header)
	for _, p := range []*int64{&h.OldSize, &h.NewSize, &h.Scratch} {
		v := le.Uint64(b[at:])
		if v > MaxSize {
			return nil, &FormatError{int64(at), fmt.Sprintf("a size of %d bytes, at most %d", v, int64(MaxSize))}
		}
		*p = int64(v)
		at += 8
	}
	at += copy(h.Old[:], b[at:])
	copy(h.New[:], b[at:])
	return h, nil
}
