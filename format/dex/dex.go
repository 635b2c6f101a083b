// Package dex reads DEX files, the code of Android apps: strings, types,
// methods, fields and classes, and what an app refers to that is not its own.
//
// It knows versions 035 to 041, containers of several files (041) included. It
// does not run, verify or print code, and does not write DEX files: of
// instructions it reads what they refer to.
package dex

import (
	"fmt"
	"hash/adler32"
)

// A FormatError says where a DEX file breaks the format, and how.
type FormatError struct {
	Off int64  // in bytes from the start of the file
	Msg string // what is wrong there
}

func (e *FormatError) Error() string { return fmt.Sprintf("dex: offset %#x: %s", e.Off, e.Msg) }

func bad(off int, format string, args ...any) error {
	return &FormatError{int64(off), fmt.Sprintf(format, args...)}
}

// MaxSize is the largest file that is read, in bytes.
const MaxSize = 256 << 20

// noIndex stands for "none" where an index may be missing.
const noIndex = 0xffffffff

const (
	headerSize   = 0x70
	headerSize41 = 0x78
	endianTag    = 0x12345678
	maxFiles     = 256 // in a container
)

// A Header is what the file says of itself.
type Header struct {
	Version  int      // 35 to 41
	Off      int      // of the header, in bytes; not 0 only in a container
	Size     int      // in bytes; in a container up to the next header
	Checksum uint32   // Adler-32; it holds
	SHA1     [20]byte // of the rest of the file; see [File.SHA1Holds]

	Strings, Types, Protos, Fields, Methods, Classes int // how many there are
}

// A File is one DEX file. Its methods that take an index panic if that is not
// below the number in Header, as slices do.
type File struct {
	Header

	b       []byte // the container, which all offsets count from
	strings table
	types   table
	protos  table
	fields  table
	methods table
	classes table
	handles table // method_handle_items
	sites   table // call_site_id_items

	kind    []byte         // first letter of each type's descriptor
	defined map[uint16]int // classes by their type
}

// A table is an array of records in the file.
type table struct {
	off, n, size int // size of a record in bytes
}

func (t table) at(i int) int {
	if uint(i) >= uint(t.n) {
		panic(fmt.Sprintf("dex: index %d of %d", i, t.n))
	}
	return t.off + i*t.size
}

// Parse reads the DEX file b, or, from version 041 on, all files of the
// container b. It keeps b, which must not change. What it accepts has sound
// tables of strings, types, protos, fields, methods and classes, as AOSP's
// verifier wants them (art/libdexfile, DexFileVerifier); the data and code of
// classes is read, and found to be wrong, when it is asked for.
func Parse(b []byte) ([]*File, error) {
	if len(b) > MaxSize {
		return nil, bad(0, "%d bytes, at most %d are read", len(b), MaxSize)
	}
	var files []*File
	for off := 0; ; {
		f, end, err := parseFile(b, off, len(files))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		switch {
		case end == len(b) || f.Version >= 41 && end == containerEnd(b, off):
			return files, nil
		case f.Version < 41:
			return nil, bad(end, "%d bytes after the end of the file", len(b)-end)
		case len(files) == maxFiles:
			return nil, bad(end, "more than %d files in a container", maxFiles)
		}
		off = end
	}
}

// containerEnd is where the files of a container end, at the header's word; the
// rest is data that they share.
func containerEnd(b []byte, off int) int {
	c := cursor{b: b, off: off + 0x70}
	return int(c.u32())
}

// parseFile reads the file whose header is at off, the nth of its container,
// and returns where it ends.
func parseFile(b []byte, off, n int) (*File, int, error) {
	f := &File{b: b}
	end, err := f.readHeader(off, n)
	if err != nil {
		return nil, 0, err
	}
	for _, read := range []func() error{
		f.readMap, f.checkStrings, f.checkTypes, f.checkProtos, f.checkFields, f.checkMethods, f.checkClasses,
	} {
		if err := read(); err != nil {
			return nil, 0, err
		}
	}
	return f, end, nil
}

// readHeader reads and checks the header, and returns where the file ends.
func (f *File) readHeader(off, n int) (int, error) {
	b := f.b
	if len(b)-off < headerSize {
		return 0, bad(off, "header: %d bytes left, want %d", len(b)-off, headerSize)
	}
	magic := string(b[off : off+8])
	if magic[:4] != "dex\n" || magic[7] != 0 {
		return 0, bad(off, "magic number %q, want dex", magic)
	}
	switch v := magic[4:7]; v {
	case "035", "037", "038", "039", "040", "041":
		f.Version = int(v[1]-'0')*10 + int(v[2]-'0')
	default:
		return 0, bad(off+4, "version %q, want 035 or 037 to 041", v)
	}
	want := headerSize
	if f.Version >= 41 {
		want = headerSize41
	}
	c := cursor{b: b, off: off + 8}
	f.Off, f.Checksum = off, c.u32()
	copy(f.SHA1[:], c.bytes(20))
	f.Size = int(c.u32())
	size, endian := int(c.u32()), c.u32()
	switch {
	case f.Size < want || f.Size > len(b)-off:
		return 0, bad(off+0x20, "size of %d bytes, but %d are there", f.Size, len(b)-off)
	case size != want:
		return 0, bad(off+0x24, "header of %#x bytes, want %#x", size, want)
	case endian != endianTag:
		return 0, bad(off+0x28, "endian tag %#x, want %#x", endian, endianTag)
	case n > 0 && f.Version < 41:
		return 0, bad(off+4, "version %03d in a container", f.Version)
	}
	if f.Version >= 41 {
		if err := f.checkContainer(); err != nil {
			return 0, err
		}
	}
	if !f.checksumHolds() {
		return 0, bad(off+8, "checksum is %#x, want %#x", f.Checksum, adler32.Checksum(b[off+12:off+f.Size]))
	}
	if err := f.readTables(c); err != nil {
		return 0, err
	}
	return off + f.Size, nil
}

// checkContainer checks what version 041 adds to the header.
func (f *File) checkContainer() error {
	c := cursor{b: f.b, off: f.Off + headerSize}
	size, off := int(c.u32()), int(c.u32())
	switch {
	case off != f.Off:
		return bad(f.Off+0x74, "header says that it is at %#x", off)
	case size > len(f.b) || size < f.Off+f.Size:
		return bad(f.Off+0x70, "container of %d bytes, but %d are there", size, len(f.b))
	case size < len(f.b):
		return bad(size, "%d bytes after the end of the container", len(f.b)-size)
	}
	return nil
}

// checksumHolds compares the checksum, which in a container may run to the next
// header or, with the shared data, to the container's end.
func (f *File) checksumHolds() bool {
	from := f.Off + 12
	return adler32.Checksum(f.b[from:f.Off+f.Size]) == f.Checksum ||
		f.Version >= 41 && adler32.Checksum(f.b[from:]) == f.Checksum
}

// readTables reads where the tables are, from the header's link_size on.
func (f *File) readTables(c cursor) error {
	linkSize, linkOff := int(c.u32()), int(c.u32())
	if linkSize > len(f.b) || linkOff > len(f.b)-linkSize {
		return bad(c.off-8, "link section of %d bytes at %#x passes the end", linkSize, linkOff)
	}
	c.u32() // map_off: readMap
	for _, t := range []struct {
		name      string
		to        *table
		n         *int
		size, max int
	}{
		{"string_ids", &f.strings, &f.Strings, 4, MaxSize},
		{"type_ids", &f.types, &f.Types, 4, 1<<16 - 1},
		{"proto_ids", &f.protos, &f.Protos, 12, 1<<16 - 1},
		{"field_ids", &f.fields, &f.Fields, 8, 1 << 16},
		{"method_ids", &f.methods, &f.Methods, 8, 1 << 16},
		{"class_defs", &f.classes, &f.Classes, 32, 1<<16 - 1},
	} {
		at := c.off
		n, off := int(c.u32()), int(c.u32())
		switch {
		case n == 0 && off != 0:
			return bad(at+4, "%s: none, but at %#x", t.name, off)
		case n > t.max:
			return bad(at, "%s: %d, at most %d", t.name, n, t.max)
		case n > 0 && (off < f.Off+headerSize || off > len(f.b) || n > (len(f.b)-off)/t.size):
			return bad(at, "%s: %d at %#x pass the end", t.name, n, off)
		case off%4 != 0:
			return bad(at+4, "%s: at %#x, want a multiple of 4", t.name, off)
		}
		*t.to, *t.n = table{off, n, t.size}, n
	}
	return nil
}
