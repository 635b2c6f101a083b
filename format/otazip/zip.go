package otazip

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
)

// An entry is one that is written, stored.
type entry struct {
	name  string
	data  io.ReaderAt
	size  int64
	align int64 // of the data's offset, in bytes; 0 is none
	crc   uint32

	header, offset int64 // in the file
}

// The first of January 2009, as SignApk dates everything.
const dosDate = 29<<9 | 1<<5 | 1

const (
	localSize  = 30
	dirSize    = 46
	zip64Field = 1
	alignField = 0xd935 // APK's: alignment, then filler
	utf8Flag   = 0
)

// sum computes the entry's checksum.
func (e *entry) sum() error {
	h := crc32.NewIEEE()
	if _, err := io.Copy(h, io.NewSectionReader(e.data, 0, e.size)); err != nil {
		return err
	}
	e.crc = h.Sum32()
	return nil
}

// large reports whether the entry's size needs ZIP64.
func (e *entry) large() bool { return e.size >= math.MaxUint32 }

// extra returns the local header's extra fields, which make the data that
// follows them begin at a multiple of align.
func (e *entry) extra(header int64) []byte {
	var b []byte
	le := binary.LittleEndian
	if e.large() {
		b = le.AppendUint16(b, zip64Field)
		b = le.AppendUint16(b, 16)
		b = le.AppendUint64(b, uint64(e.size))
		b = le.AppendUint64(b, uint64(e.size))
	}
	return append(b, e.filler(header, len(b))...)
}

// filler returns the field that aligns the data, behind others of so many bytes.
func (e *entry) filler(header int64, behind int) []byte {
	if e.align == 0 {
		return nil
	}
	le := binary.LittleEndian
	at := header + localSize + int64(len(e.name)) + int64(behind) + 6
	fill := (e.align - at%e.align) % e.align
	b := le.AppendUint16(nil, alignField)
	b = le.AppendUint16(b, uint16(2+fill))
	b = le.AppendUint16(b, uint16(e.align))
	return append(b, make([]byte, fill)...)
}

// lay places the entries one after the other and returns where the directory
// begins.
func lay(entries []*entry) int64 {
	var at int64
	for _, e := range entries {
		e.header = at
		e.offset = at + localSize + int64(len(e.name)) + int64(len(e.extra(at)))
		at = e.offset + e.size
	}
	return at
}

// common appends what local header and directory share, from "version needed" to
// the length of the name.
func (e *entry) common(b []byte, needed uint16, size uint32) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, needed)
	b = le.AppendUint16(b, utf8Flag)
	b = le.AppendUint16(b, 0) // stored
	b = le.AppendUint16(b, 0) // midnight
	b = le.AppendUint16(b, dosDate)
	b = le.AppendUint32(b, e.crc)
	b = le.AppendUint32(b, size)
	b = le.AppendUint32(b, size)
	return le.AppendUint16(b, uint16(len(e.name)))
}

func (e *entry) local() []byte {
	needed, size := uint16(10), uint32(e.size)
	if e.large() {
		needed, size = 45, math.MaxUint32
	}
	b := e.common([]byte("PK\x03\x04"), needed, size)
	x := e.extra(e.header)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(x)))
	return append(append(b, e.name...), x...)
}

// directory returns the entry in the directory. Its extra fields are as long as
// the local header's: LineageOS's updater looks there for how far away the
// payload is.
func (e *entry) directory() []byte {
	le := binary.LittleEndian
	var x []byte
	behind := 0
	needed, size, off := uint16(10), uint32(e.size), uint32(e.header)
	if e.large() {
		size, behind = math.MaxUint32, 20
		x = le.AppendUint64(le.AppendUint64(x, uint64(e.size)), uint64(e.size))
	}
	if e.header >= math.MaxUint32 {
		off = math.MaxUint32
		x = le.AppendUint64(x, uint64(e.header))
	}
	if len(x) > 0 {
		needed = 45
		x = append(le.AppendUint16(le.AppendUint16(nil, zip64Field), uint16(len(x))), x...)
	}
	x = append(x, e.filler(e.header, behind)...)
	b := le.AppendUint16([]byte("PK\x01\x02"), needed)
	b = e.common(b, needed, size)
	b = le.AppendUint16(b, uint16(len(x)))
	b = append(b, make([]byte, 2+2+2+4)...) // comment, disk, attributes
	b = le.AppendUint32(b, off)
	return append(append(b, e.name...), x...)
}

// end returns what stands behind the directory, up to the length of the
// comment, which it is without.
func end(entries int, at, size int64) []byte {
	le := binary.LittleEndian
	var b []byte
	n, s, o := uint16(entries), uint32(size), uint32(at)
	if at >= math.MaxUint32 {
		o = math.MaxUint32
		b = append(b, "PK\x06\x06"...)
		b = le.AppendUint64(b, 44)
		b = le.AppendUint16(le.AppendUint16(b, 45), 45)
		b = le.AppendUint32(le.AppendUint32(b, 0), 0)
		b = le.AppendUint64(le.AppendUint64(b, uint64(entries)), uint64(entries))
		b = le.AppendUint64(le.AppendUint64(b, uint64(size)), uint64(at))
		b = append(b, "PK\x06\x07"...)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, uint64(at+size))
		b = le.AppendUint32(b, 1)
	}
	b = append(b, eocdMagic...)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(le.AppendUint16(b, n), n)
	return le.AppendUint32(le.AppendUint32(b, s), o)
}
