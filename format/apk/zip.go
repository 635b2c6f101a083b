package apk

import (
	"encoding/binary"
	"io"
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

	maxDirectory = 32 << 20
	maxNames     = 8 << 20 // bytes, of all entries together
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

	r     io.ReaderAt
	index nameIndex
	odd   *FormatError // the first thing that Android does not mind; nil: none

	resOnce, infoOnce sync.Once
	res               *Resources
	info              *Info
	resErr, infoErr   error
}

// An Entry is one file of a package.
type Entry struct {
	Name           string
	CompressedSize int64
	Size           int64
	HeaderOff      int64 // of the local header
	DataOff        int64 // of the data
	CRC32          uint32
	Method         Method

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
// absolute, leave their folder or hold a NUL; anything but filler before, between
// and behind entries; encryption; sizes that no compression reaches. Errors in
// the package are [*FormatError]; any other error is r's own.
//
// The layout is that of PKWARE's APPNOTE.TXT 6.3.3, as AOSP's
// system/libziparchive reads it.
func Open(r io.ReaderAt, size int64) (*File, error) {
	l, err := FindLayout(r, size)
	if err != nil {
		return nil, err
	}
	return l.Open(r)
}

// Open is [Open] of the package that r begins with and that l was found in.
func (l *Layout) Open(r io.ReaderAt) (*File, error) {
	if l.Entries == 0 {
		return nil, bad(l.EndOff+8, "no entries")
	}
	f := &File{Layout: *l, r: r}
	if err := f.readDirectory(); err != nil {
		return nil, err
	}
	if err := f.readHeaders(); err != nil {
		return nil, err
	}
	if f.odd != nil {
		return nil, f.odd
	}
	return f, nil
}

// readDirectory reads the directory in pieces: what it is made into is smaller.
func (f *File) readDirectory() error {
	switch {
	case f.DirSize > maxDirectory:
		return bad(f.EndOff+12, "central directory of %d bytes, at most %d are read", f.DirSize, maxDirectory)
	case int64(f.Layout.Entries)*dirHeaderSize > f.DirSize:
		return bad(f.EndOff+10, "%d entries in a central directory of %d bytes", f.Layout.Entries, f.DirSize)
	}
	f.Entries = make([]Entry, 0, f.Layout.Entries)
	f.index = newNameIndex(f.Layout.Entries)
	w := window{r: f.r, end: f.EndOff}
	off, names := f.DirOff, 0
	for i := range f.Layout.Entries {
		b, err := w.peek(off, dirHeaderSize)
		if err == nil && len(b) == dirHeaderSize {
			b, err = w.peek(off, dirHeaderLen(b))
		}
		if err != nil {
			return err
		}
		e, n, err := parseDirHeader(b, off)
		if err != nil {
			return err
		}
		slot := f.index.find(f.Entries, e.Name)
		if *slot != 0 {
			return bad(off, "entry %d: a second %q", i, e.Name)
		}
		if names += len(e.Name); names > maxNames {
			return bad(off, "entry %d: more than %d bytes of names", i, maxNames)
		}
		f.Entries = append(f.Entries, e)
		*slot = int32(len(f.Entries))
		off += int64(n)
	}
	if off != f.EndOff {
		return bad(off, "%d bytes after the last entry of the central directory", f.EndOff-off)
	}
	return nil
}

// dirHeaderLen returns the length of the entry of the directory that b begins
// with, its name, extra fields and comment included.
func dirHeaderLen(b []byte) int {
	le := binary.LittleEndian
	return dirHeaderSize + int(le.Uint16(b[28:])) + int(le.Uint16(b[30:])) + int(le.Uint16(b[32:]))
}

// parseDirHeader reads the directory's entry that b begins with, at off in the
// file, and returns its length.
func parseDirHeader(b []byte, off int64) (Entry, int, error) {
	var e Entry
	if len(b) < dirHeaderSize || string(b[:4]) != dirMagic {
		return e, 0, bad(off, "no entry of the central directory")
	}
	le := binary.LittleEndian
	n := dirHeaderLen(b)
	if n > len(b) {
		return e, 0, bad(off+28, "entry of %d bytes passes the end of the central directory", n)
	}
	e = Entry{
		Name:           string(b[dirHeaderSize:][:le.Uint16(b[28:])]),
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
