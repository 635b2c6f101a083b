package apk

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	fileMagic       = "PK\x03\x04"
	dirMagic        = "PK\x01\x02"
	descriptorMagic = "PK\x07\x08"
	fileHeaderSize  = 30
	dirHeaderSize   = 46

	maxDirectory = 16 << 20
	maxLead      = 1 << 20 // what zipflinger fills before the first entry: a page or two
	maxRatio     = 1032    // of deflate
)

// Bits of an entry's general purpose flags.
const (
	flagEncrypted       = 1 << 0
	flagDescriptor      = 1 << 3
	flagStrongEncrypted = 1 << 6
	flagUTF8            = 1 << 11
	flagMaskedHeader    = 1 << 13
	flagsRefused        = flagEncrypted | flagStrongEncrypted | flagMaskedHeader
)

// A File is an opened package.
type File struct {
	Layout
	Entries []Entry // in the order of the central directory

	r io.ReaderAt

	resOnce sync.Once
	res     *Resources
	resErr  error
}

// An Entry is one file of a package.
type Entry struct {
	Name           string
	Method         Method
	CRC32          uint32
	CompressedSize int64
	Size           int64
	HeaderOff      int64 // of the local header
	DataOff        int64 // of the data

	flags uint16
	end   int64 // of the data or of the descriptor behind it
}

// A Method says how an entry's data is compressed.
type Method uint16

// The methods that Android knows. An entry of another one cannot be read.
const (
	Store   Method = 0
	Deflate Method = 8
)

// Open reads the directory of the package in the first size bytes of r. It
// refuses all that two readers could understand in two ways: entries of one
// name, that overlap, or whose local header says something else; names that are
// absolute, leave their folder or hold a NUL; bytes before the first entry;
// encryption; sizes that no compression reaches. Errors in the package are
// [*FormatError]; any other error is r's own.
//
// The layout is that of PKWARE's APPNOTE.TXT 6.3.3, as AOSP's
// system/libziparchive reads it.
func Open(r io.ReaderAt, size int64) (*File, error) {
	l, err := FindLayout(r, size)
	if err != nil {
		return nil, err
	}
	if l.Entries == 0 {
		return nil, bad(l.EndOff+8, "no entries")
	}
	f := &File{Layout: *l, r: r}
	if err := f.readDirectory(); err != nil {
		return nil, err
	}
	for i := range f.Entries {
		if err := f.readHeader(&f.Entries[i]); err != nil {
			return nil, err
		}
	}
	if err := f.checkPlaces(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) readDirectory() error {
	switch {
	case f.DirSize > maxDirectory:
		return bad(f.EndOff+12, "central directory of %d bytes, at most %d are read", f.DirSize, maxDirectory)
	case int64(f.Layout.Entries)*dirHeaderSize > f.DirSize:
		return bad(f.EndOff+10, "%d entries in a central directory of %d bytes", f.Layout.Entries, f.DirSize)
	}
	b := make([]byte, f.DirSize)
	if _, err := f.r.ReadAt(b, f.DirOff); err != nil && err != io.EOF {
		return err
	}
	f.Entries = make([]Entry, 0, f.Layout.Entries)
	names := make(map[string]bool, f.Layout.Entries)
	off := f.DirOff
	for i := range f.Layout.Entries {
		e, n, err := parseDirHeader(b, off)
		if err != nil {
			return err
		}
		if names[e.Name] {
			return bad(off, "entry %d: a second %q", i, e.Name)
		}
		names[e.Name] = true
		f.Entries = append(f.Entries, e)
		b, off = b[n:], off+int64(n)
	}
	if len(b) != 0 {
		return bad(off, "%d bytes after the last entry of the central directory", len(b))
	}
	return nil
}

// parseDirHeader reads the directory's entry that b begins with, at off in the
// file, and returns its length.
func parseDirHeader(b []byte, off int64) (Entry, int, error) {
	var e Entry
	if len(b) < dirHeaderSize || string(b[:4]) != dirMagic {
		return e, 0, bad(off, "no entry of the central directory")
	}
	le := binary.LittleEndian
	nameLen, extraLen, commentLen := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	n := dirHeaderSize + nameLen + extraLen + commentLen
	if n > len(b) {
		return e, 0, bad(off+28, "entry of %d bytes passes the end of the central directory", n)
	}
	e = Entry{
		Name:           string(b[dirHeaderSize:][:nameLen]),
		Method:         Method(le.Uint16(b[10:])),
		CRC32:          le.Uint32(b[16:]),
		CompressedSize: int64(le.Uint32(b[20:])),
		Size:           int64(le.Uint32(b[24:])),
		HeaderOff:      int64(le.Uint32(b[42:])),
		flags:          le.Uint16(b[8:]),
	}
	if msg := badName(e.Name); msg != "" {
		return e, 0, bad(off+dirHeaderSize, "name %q %s", e.Name, msg)
	}
	switch {
	case e.flags&flagsRefused != 0:
		return e, 0, bad(off+8, "%s: encrypted (flags %#x)", e.Name, e.flags)
	case le.Uint16(b[34:]) != 0:
		return e, 0, bad(off+34, "%s: on another disk", e.Name)
	case e.CompressedSize == 1<<32-1 || e.Size == 1<<32-1 || e.HeaderOff == 1<<32-1:
		return e, 0, bad(off+20, "%s: ZIP64, which packages do not use", e.Name)
	case e.Method == Store && e.CompressedSize != e.Size:
		return e, 0, bad(off+20, "%s: stored, but of %d and of %d bytes", e.Name, e.CompressedSize, e.Size)
	case e.Method == Deflate && e.Size > maxRatio*(e.CompressedSize+1):
		return e, 0, bad(off+24, "%s: claims %d bytes in %d, which deflate cannot do", e.Name, e.Size, e.CompressedSize)
	case strings.HasSuffix(e.Name, "/") && e.Size != 0:
		return e, 0, bad(off+24, "%s: a folder with %d bytes", e.Name, e.Size)
	}
	return e, n, nil
}

// badName says why an entry may not have that name, or "".
func badName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > 1<<16-1:
		return "is too long"
	case strings.ContainsRune(name, 0):
		return "holds a NUL"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case name[0] == '/':
		return "is absolute"
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "leaves its folder"
		}
	}
	return ""
}

// readHeader compares the local header of e with the directory, and sets where
// the data begins and ends.
func (f *File) readHeader(e *Entry) error {
	b := make([]byte, fileHeaderSize+len(e.Name))
	if e.HeaderOff+int64(len(b)) > f.DirOff {
		return bad(e.HeaderOff, "%s: local header passes the central directory", e.Name)
	}
	if _, err := f.r.ReadAt(b, e.HeaderOff); err != nil {
		return err
	}
	le := binary.LittleEndian
	flags := le.Uint16(b[6:])
	crc, csize, size := le.Uint32(b[14:]), int64(le.Uint32(b[18:])), int64(le.Uint32(b[22:]))
	same := crc == e.CRC32 && csize == e.CompressedSize && size == e.Size
	unset := crc == 0 && csize == 0 && size == 0
	switch {
	case string(b[:4]) != fileMagic:
		return bad(e.HeaderOff, "%s: no local header", e.Name)
	case int(le.Uint16(b[26:])) != len(e.Name) || string(b[fileHeaderSize:]) != e.Name:
		return bad(e.HeaderOff+26, "%s: another name in the local header", e.Name)
	case Method(le.Uint16(b[8:])) != e.Method:
		return bad(e.HeaderOff+8, "%s: method %d in the local header, %d in the directory", e.Name, le.Uint16(b[8:]), e.Method)
	case (flags^e.flags)&(flagsRefused|flagDescriptor) != 0:
		return bad(e.HeaderOff+6, "%s: flags %#x in the local header, %#x in the directory", e.Name, flags, e.flags)
	case !same && (e.flags&flagDescriptor == 0 || !unset):
		return bad(e.HeaderOff+14, "%s: CRC-32 and sizes %#x %d %d in the local header, %#x %d %d in the directory",
			e.Name, crc, csize, size, e.CRC32, e.CompressedSize, e.Size)
	}
	e.DataOff = e.HeaderOff + int64(len(b)) + int64(le.Uint16(b[28:]))
	e.end = e.DataOff + e.CompressedSize
	if e.end > f.DirOff {
		return bad(e.DataOff, "%s: data of %d bytes passes the central directory", e.Name, e.CompressedSize)
	}
	if e.flags&flagDescriptor != 0 {
		return f.readDescriptor(e)
	}
	return nil
}

// readDescriptor compares the data descriptor behind e's data with the
// directory. Its magic number is optional.
func (f *File) readDescriptor(e *Entry) error {
	b := make([]byte, min(16, f.DirOff-e.end))
	if _, err := f.r.ReadAt(b, e.end); err != nil && err != io.EOF {
		return err
	}
	n := int64(len(b))
	if n >= 4 && string(b[:4]) == descriptorMagic {
		b = b[4:]
	}
	le := binary.LittleEndian
	if len(b) < 12 || le.Uint32(b) != e.CRC32 || int64(le.Uint32(b[4:])) != e.CompressedSize || int64(le.Uint32(b[8:])) != e.Size {
		return bad(e.end, "%s: the data descriptor does not say what the directory says", e.Name)
	}
	e.end += n - int64(len(b)) + 12
	return nil
}

// checkLead refuses bytes before the first entry, at first, which could make the
// file something else as well, such as a DEX file. What AOSP's zipflinger fills
// gaps with is let pass: local headers without a name, data or an entry in the
// directory, whose extra field is zeros.
func (f *File) checkLead(first int64) error {
	if first > maxLead {
		return bad(0, "%d bytes before the first entry", first)
	}
	b := make([]byte, first)
	if _, err := f.r.ReadAt(b, 0); err != nil && err != io.EOF {
		return err
	}
	for off := int64(0); len(b) > 0; {
		n := fileHeaderSize
		if len(b) >= n {
			n += int(binary.LittleEndian.Uint16(b[28:]))
		}
		if len(b) < n || string(b[:4]) != fileMagic || !zeros(b[14:28]) || !zeros(b[fileHeaderSize:n]) {
			return bad(off, "%d bytes before the first entry", len(b))
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

func zeros(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// checkPlaces refuses entries that overlap, and bytes before the first one.
func (f *File) checkPlaces() error {
	order := make([]*Entry, len(f.Entries))
	for i := range f.Entries {
		order[i] = &f.Entries[i]
	}
	slices.SortFunc(order, func(a, b *Entry) int { return int(a.HeaderOff - b.HeaderOff) })
	for i, e := range order {
		if i == 0 {
			if err := f.checkLead(e.HeaderOff); err != nil {
				return err
			}
		}
		if i > 0 && e.HeaderOff < order[i-1].end {
			return bad(e.HeaderOff, "%s overlaps %s", e.Name, order[i-1].Name)
		}
	}
	return nil
}
