package puffin

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// LocateDeflate returns the blocks of a deflate stream that data begins with,
// and how many bytes it takes. Stored blocks are left out: they need no
// puffing.
func LocateDeflate(data []byte) (blocks []BitExtent, size int64, err error) {
	return newLocator().deflate(nil, data, 0)
}

// A locator looks for streams one after the other.
type locator struct{ p *puffer }

func newLocator() *locator { return &locator{newPuffer()} }

// deflate appends the blocks of a stream that begins at data[at:].
func (l *locator) deflate(blocks []BitExtent, data []byte, at int64) ([]BitExtent, int64, error) {
	p, first := l.p, len(blocks)
	p.in = bitReader{data, 8 * at, 8 * int64(len(data))}
	for {
		p.out = p.out[:0]
		start := p.in.pos
		final, stored, err := p.block()
		if err != nil {
			return blocks[:first], 0, err
		}
		if !stored {
			blocks = append(blocks, BitExtent{uint64(start), uint64(p.in.pos - start)})
		}
		if final {
			return blocks, (p.in.pos+7)/8 - at, nil
		}
	}
}

// LocateZlib returns the deflate blocks of a zlib stream (RFC 1950) that is all
// of data.
func LocateZlib(data []byte) ([]BitExtent, error) {
	const header, trailer, dictionary = 2, 4, 4
	if len(data) < header+trailer+1 {
		return nil, &FormatError{0, fmt.Sprintf("zlib stream of %d bytes", len(data))}
	}
	if v := binary.BigEndian.Uint16(data); v>>8&15 != 8 || v>>12 > 7 || v%31 != 0 {
		return nil, &FormatError{0, fmt.Sprintf("zlib header is %#x", v)}
	}
	at := int64(header)
	if data[1]&0x20 != 0 {
		at += dictionary
	}
	if at > int64(len(data)-trailer) {
		return nil, &FormatError{at, "zlib stream is cut off"}
	}
	blocks, size, err := newLocator().deflate(nil, data[:len(data)-trailer], at)
	if err == nil && at+size != int64(len(data)-trailer) {
		err = &FormatError{at + size, fmt.Sprintf("zlib stream ends %d bytes early", int64(len(data)-trailer)-at-size)}
	}
	if err != nil {
		return nil, err
	}
	return blocks, nil
}

// LocateGzip returns the deflate blocks of gzip members (RFC 1952), one after
// the other; what comes after them is ignored.
func LocateGzip(data []byte) ([]BitExtent, error) {
	var blocks []BitExtent
	l := newLocator()
	for at := int64(0); at == 0 || isGzip(data[at:]); {
		n, ok := gzipHeader(data[at:])
		if !ok {
			return nil, &FormatError{at, "bad gzip header"}
		}
		at += n
		var size int64
		var err error
		if blocks, size, err = l.deflate(blocks, data, at); err != nil {
			return nil, err
		}
		const trailer = 8
		at = min(at+size+trailer, int64(len(data)))
	}
	return blocks, nil
}

func isGzip(b []byte) bool { return len(b) >= 10 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8 }

// gzipHeader returns how long a member's header is.
func gzipHeader(b []byte) (int64, bool) {
	if !isGzip(b) {
		return 0, false
	}
	const checksum, extra, name, comment = 2, 4, 8, 16
	flags, at := b[3], 10
	if flags&extra != 0 {
		if at+2 > len(b) {
			return 0, false
		}
		at += 2 + int(binary.LittleEndian.Uint16(b[at:]))
	}
	for _, f := range []byte{name, comment} {
		if flags&f != 0 {
			if at > len(b) {
				return 0, false
			}
			n := bytes.IndexByte(b[at:], 0)
			if n < 0 {
				return 0, false
			}
			at += n + 1
		}
	}
	if flags&checksum != 0 {
		at += 2
	}
	return int64(at), at <= len(b)
}

// LocateZip returns the deflate blocks of a ZIP archive's files, in order, as
// AOSP's LocateDeflatesInZipArchive does: wherever the signature of a local
// header is. Entries that do not inflate are left out, and of others stored
// blocks: they need no puffing.
func LocateZip(data []byte) []BitExtent {
	var blocks []BitExtent
	l := newLocator()
	signature := []byte("PK\x03\x04")
	const header = 30
	for at := 0; ; {
		i := bytes.Index(data[at:], signature)
		if i < 0 || at+i+header > len(data) {
			return blocks
		}
		at += i
		h := data[at:]
		method := binary.LittleEndian.Uint16(h[8:])
		packed := int64(binary.LittleEndian.Uint32(h[18:])) // 0 if a data descriptor has it
		start := int64(at) + header + int64(binary.LittleEndian.Uint16(h[26:])) + int64(binary.LittleEndian.Uint16(h[28:]))
		const deflated = 8
		if method != deflated || start+packed > int64(len(data)) {
			at += len(signature)
			continue
		}
		end := int64(len(data))
		if packed > 0 {
			end = start + packed
		}
		more, size, err := l.deflate(blocks, data[:end], start)
		if err != nil {
			at += len(signature)
			continue
		}
		blocks, at = more, int(start+size)
	}
}

// RemoveEqual takes out of both lists what is the same bits in both files:
// blocks that are equal need no puffing. The lists are changed.
func RemoveEqual(old, new []byte, oldBlocks, newBlocks []BitExtent) ([]BitExtent, []BitExtent) {
	had, common := map[bitKey]bool{}, map[bitKey]bool{}
	for _, x := range oldBlocks {
		had[key(old, x)] = true
	}
	keep := func(data []byte, blocks []BitExtent, drop map[bitKey]bool) []BitExtent {
		out := blocks[:0]
		for _, x := range blocks {
			if k := key(data, x); drop[k] {
				common[k] = true
			} else {
				out = append(out, x)
			}
		}
		return out
	}
	newBlocks = keep(new, newBlocks, had)
	return keep(old, oldBlocks, common), newBlocks
}
