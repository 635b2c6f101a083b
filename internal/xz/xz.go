// Package xz compresses: one xz stream of one block with an LZMA2 filter and no
// check, as update_engine's generator writes them, for readers who know the
// data's hash anyway. The window is the whole input, so that it is for pieces of
// some megabytes. It searches binary trees and weighs all ways of writing what
// it finds, as xz's presets from 4 on do.
//
// Formats: the .xz file format 1.1.0 (tukaani.org), LZMA2 as in xz's liblzma and
// XZ Embedded.
package xz

import (
	"encoding/binary"
	"hash/crc32"
)

// MaxInput is the longest input, in bytes.
const MaxInput = 1 << 28

// An Encoder compresses one input after the other; its tables are allocated
// once. It is for one goroutine; the zero value is ready.
type Encoder struct {
	coder
	finder finder
	plan   planner
	rc     rangeEncoder
}

const (
	minWindow = 4096
	streamCRC = 4
)

var (
	magic  = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	flags  = []byte{0, 0} // no check
	footer = []byte{'Y', 'Z'}
)

// Encode appends to dst the xz stream that src, at most [MaxInput] bytes, comes
// to. The same input gives the same bytes.
func (e *Encoder) Encode(dst, src []byte) []byte {
	if len(src) > MaxInput {
		panic("xz: input longer than MaxInput")
	}
	le := binary.LittleEndian
	start := len(dst)
	dst = append(append(dst, magic...), flags...)
	dst = le.AppendUint32(dst, crc32.ChecksumIEEE(flags))
	head := []byte{2, 0, 0x21, 1, windowSize(len(src)), 0, 0, 0} // 12 bytes, with their checksum; one filter, of one byte of properties
	block := len(dst)
	dst = append(dst, head...)
	dst = le.AppendUint32(dst, crc32.ChecksumIEEE(head))
	dst = e.lzma2(dst, src)
	unpadded := len(dst) - block
	dst = pad(dst, start)
	index := len(dst)
	dst = append(dst, 0, 1) // one record
	dst = binary.AppendUvarint(dst, uint64(unpadded))
	dst = binary.AppendUvarint(dst, uint64(len(src)))
	dst = pad(dst, start)
	dst = le.AppendUint32(dst, crc32.ChecksumIEEE(dst[index:]))
	back := append(le.AppendUint32(nil, uint32((len(dst)-index)/4-1)), flags...)
	dst = le.AppendUint32(dst, crc32.ChecksumIEEE(back))
	return append(append(dst, back...), footer...)
}

// pad appends zeros up to a multiple of 4 from start on.
func pad(b []byte, start int) []byte {
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// windowSize returns the property of the smallest window that holds n bytes.
func windowSize(n int) byte {
	b := byte(0)
	for size(b) < max(n, minWindow) {
		b++
	}
	return b
}

func size(b byte) int { return (2 | int(b&1)) << (b/2 + 11) }

// Limits of an LZMA2 chunk, in bytes.
const (
	maxPlain  = 2 << 20
	maxPacked = 1 << 16
	// room is what one symbol and the end of the range coder take at most.
	room = 64
)

// lzma2 appends the chunks.
func (e *Encoder) lzma2(dst, src []byte) []byte {
	e.finder.reset(src)
	e.coder.reset()
	e.plan.reset()
	first, renew := true, true // dictionary and state are to be reset
	for pos := 0; pos < len(src); {
		from := pos
		e.rc.reset()
		for pos < len(src) && e.rc.size() < maxPacked-room && pos-from < maxPlain-maxLen {
			pos = e.symbol(src, pos)
		}
		e.rc.flush()
		packed, plain := e.rc.out, pos-from
		if len(packed) >= plain {
			dst = stored(dst, src[from:pos], first)
			e.forget() // the decoder knows nothing of the chunk
			first, renew = false, true
			continue
		}
		control := byte(0x80)
		switch {
		case first:
			control |= 3 << 5
		case renew:
			control |= 2 << 5
		}
		dst = append(dst, control|byte((plain-1)>>16), byte((plain-1)>>8), byte(plain-1), byte((len(packed)-1)>>8), byte(len(packed)-1))
		if first || renew {
			dst = append(dst, properties)
		}
		dst = append(dst, packed...)
		first, renew = false, false
	}
	return append(dst, 0)
}

// stored appends chunks of data as it is.
func stored(dst, b []byte, first bool) []byte {
	for len(b) > 0 {
		n := min(len(b), maxPacked)
		control := byte(2)
		if first {
			control, first = 1, false
		}
		dst = append(dst, control, byte((n-1)>>8), byte(n-1))
		dst, b = append(dst, b[:n]...), b[n:]
	}
	return dst
}
