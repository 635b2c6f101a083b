package apksig

import (
	"encoding/binary"
	"fmt"
	"io"

	"mios/format/apk"
)

// Ids of the pairs in an APK signing block (AOSP tools/apksig,
// V2SchemeConstants, V3SchemeConstants, ApkSigningBlockUtils).
const (
	blockV2      = 0x7109871a
	blockV3      = 0xf05368c0
	blockV31     = 0x1b93ad61
	blockPadding = 0x42726577
)

const (
	blockMagic  = "APK Sig Block 42"
	blockFooter = 8 + len(blockMagic)
	maxBlock    = 16 << 20 // of what is read; AOSP's own are a few KiB
	page        = 4096
)

// sections are the parts of a package that signatures cover, and its signing
// block.
type sections struct {
	r     io.ReaderAt
	end   int64  // of what precedes the signing block
	block []byte // the pairs of the signing block; nil: there is none
	dir   int64  // central directory
	dirN  int64
	eocd  []byte // end record, as signatures see it: with the block's place as the directory's
}

// readSections finds the signing block. A malformed one counts as none, as it
// does in AOSP (ApkSigningBlockUtilsLite.findApkSigningBlock): why is the
// second result.
func readSections(r io.ReaderAt, l *apk.Layout) (s *sections, why string, err error) {
	s = &sections{r: r, end: l.DirOff, dir: l.DirOff, dirN: l.DirSize, eocd: append([]byte(nil), l.End...)}
	if l.DirOff < int64(8+blockFooter) {
		return s, "no APK signing block", nil
	}
	if l.DirOff+l.DirSize != l.EndOff {
		return s, "bytes between the central directory and its end record", nil
	}
	footer := make([]byte, blockFooter)
	if _, err := r.ReadAt(footer, l.DirOff-int64(len(footer))); err != nil {
		return nil, "", err
	}
	if string(footer[8:]) != blockMagic {
		return s, "no APK signing block", nil
	}
	le := binary.LittleEndian
	size := le.Uint64(footer)
	if size < uint64(blockFooter) || size > uint64(l.DirOff-8) {
		return s, fmt.Sprintf("APK signing block of %d bytes before offset %d", size, l.DirOff), nil
	}
	if size > maxBlock {
		return s, fmt.Sprintf("APK signing block of %d bytes, at most %d are read", size, maxBlock), nil
	}
	start := l.DirOff - 8 - int64(size)
	b := make([]byte, size+8)
	if _, err := r.ReadAt(b, start); err != nil {
		return nil, "", err
	}
	if le.Uint64(b) != size {
		return s, fmt.Sprintf("APK signing block says %d bytes at its start and %d at its end", le.Uint64(b), size), nil
	}
	s.end, s.block = start, b[8:len(b)-blockFooter]
	le.PutUint32(s.eocd[16:], uint32(start))
	return s, "", nil
}

// pair returns the value of the first pair with that id.
func (s *sections) pair(id uint32) ([]byte, bool) {
	for b := s.block; len(b) >= 12; {
		n := binary.LittleEndian.Uint64(b)
		if n < 4 || n > uint64(len(b)-8) {
			return nil, false
		}
		if binary.LittleEndian.Uint32(b[8:]) == id {
			return b[12 : 8+n], true
		}
		b = b[8+n:]
	}
	return nil, false
}

// A pair is one part of a signing block that is being made.
type pair struct {
	id    uint32
	value []byte
}

// appendBlock appends a signing block, padded to whole pages.
func appendBlock(b []byte, pairs []pair) []byte {
	le := binary.LittleEndian
	size := 8 + blockFooter
	for _, p := range pairs {
		size += 12 + len(p.value)
	}
	if pad := (page - size%page) % page; pad > 0 {
		if pad < 12 {
			pad += page
		}
		pairs = append(pairs, pair{blockPadding, make([]byte, pad-12)})
		size += pad
	}
	b = le.AppendUint64(b, uint64(size-8))
	for _, p := range pairs {
		b = le.AppendUint64(b, uint64(4+len(p.value)))
		b = le.AppendUint32(b, p.id)
		b = append(b, p.value...)
	}
	b = le.AppendUint64(b, uint64(size-8))
	return append(b, blockMagic...)
}

// A cursor reads the length-prefixed values of a signature. After the first
// that does not fit, bad is set and all that follows is empty.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) more() bool { return !c.bad && len(c.b) > 0 }

func (c *cursor) uint32() uint32 {
	if len(c.b) < 4 {
		c.b, c.bad = nil, true
		return 0
	}
	n := binary.LittleEndian.Uint32(c.b)
	c.b = c.b[4:]
	return n
}

// bytes reads four bytes of length and as many bytes.
func (c *cursor) bytes() []byte {
	n := c.uint32()
	if uint64(n) > uint64(len(c.b)) {
		c.b, c.bad = nil, true
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// sub reads a value that is itself made of values.
func (c *cursor) sub() *cursor { return &cursor{b: c.bytes(), bad: c.bad} }

// prefixed appends each value behind its length.
func prefixed(values ...[]byte) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}
