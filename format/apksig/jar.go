package apksig

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"mios/format/apk"
	"mios/internal/readat"
)

const (
	dirHeaderSize  = 46
	fileHeaderSize = 30
	maxDirectory   = 16 << 20 // as package apk has it
	maxRatio       = 1032     // of deflate
	flagDescriptor = 1 << 3
)

// A jar is the package as platforms see it that verify JAR signatures: they
// pass over much that package apk refuses, and what is wrong with such a
// package shall be told by its name (AOSP tools/apksig, ZipUtils,
// CentralDirectoryRecord, LocalFileRecord).
type jar struct {
	r       io.ReaderAt
	dirOff  int64
	names   string      // of all entries, one after the other
	records []jarRecord // without folders, in the order of the directory
}

// A jarRecord is what is kept of an entry, of which a package has up to 65535: no
// pointers.
type jarRecord struct {
	nameOff                uint32 // in the names
	off, csize, size, crc  uint32
	method, flags, nameLen uint16
}

type jarEntry struct {
	name string
	jarRecord
}

// entry returns the entry with that number.
func (j *jar) entry(i int32) *jarEntry { return &jarEntry{j.name(i), j.records[i]} }

// name returns its name.
func (j *jar) name(i int32) string {
	r := &j.records[i]
	return j.names[r.nameOff:][:r.nameLen]
}

// looseLayout finds the parts of a package that package apk refuses, as AOSP
// does (tools/apksig, ZipUtils.findZipEndOfCentralDirectoryRecord). It returns
// nil if AOSP refuses it as well.
func looseLayout(r io.ReaderAt, size int64) (*apk.Layout, error) {
	const endSize, maxComment = 22, 1<<16 - 1
	le := binary.LittleEndian
	for _, most := range []int64{0, maxComment} { // an end record without a comment comes first
		tail := make([]byte, max(0, min(size, endSize+most)))
		start := size - int64(len(tail))
		if err := readat.Full(r, tail, start); err != nil {
			return nil, err
		}
		for i := len(tail) - endSize; i >= 0; i-- {
			end := tail[i:]
			if string(end[:4]) != "PK\x05\x06" || int(le.Uint16(end[20:])) != len(end)-endSize {
				continue
			}
			l := &apk.Layout{
				DirOff: int64(le.Uint32(end[16:])), DirSize: int64(le.Uint32(end[12:])),
				EndOff: start + int64(i), End: end, Entries: int(le.Uint16(end[10:])),
			}
			if l.DirOff+l.DirSize > l.EndOff {
				return nil, nil
			}
			return l, nil
		}
	}
	return nil, nil
}

func badJar(off int64, format string, args ...any) error {
	return &apk.FormatError{Off: off, Msg: fmt.Sprintf(format, args...)}
}

func readJar(r io.ReaderAt, l *apk.Layout) (*jar, error) {
	if l.DirSize > maxDirectory {
		return nil, badJar(l.EndOff+12, "central directory of %d bytes, at most %d are read", l.DirSize, maxDirectory)
	}
	if int64(l.Entries)*dirHeaderSize > l.DirSize {
		return nil, badJar(l.EndOff+10, "%d entries in a central directory of %d bytes", l.Entries, l.DirSize)
	}
	j := &jar{r: r, dirOff: l.DirOff, records: make([]jarRecord, 0, l.Entries)}
	dir := bufio.NewReaderSize(io.NewSectionReader(r, l.DirOff, l.DirSize), 128<<10)
	var names strings.Builder
	names.Grow(int(l.DirSize) - l.Entries*dirHeaderSize)
	off := l.DirOff
	for i := range l.Entries {
		h, err := dir.Peek(dirHeaderSize)
		if err != nil && err != io.EOF {
			return nil, err
		}
		if err != nil || string(h[:4]) != "PK\x01\x02" {
			return nil, badJar(off, "entry %d: no entry of the central directory", i)
		}
		le := binary.LittleEndian
		e := jarRecord{
			nameOff: uint32(names.Len()), flags: le.Uint16(h[8:]), method: le.Uint16(h[10:]), crc: le.Uint32(h[16:]), csize: le.Uint32(h[20:]),
			size: le.Uint32(h[24:]), nameLen: le.Uint16(h[28:]), off: le.Uint32(h[42:]),
		}
		n := dirHeaderSize + int(e.nameLen) + int(le.Uint16(h[30:])) + int(le.Uint16(h[32:]))
		if off+int64(n) > l.DirOff+l.DirSize {
			return nil, badJar(off+28, "entry %d: its %d bytes pass the end of the central directory", i, n)
		}
		if h, err = dir.Peek(dirHeaderSize + int(e.nameLen)); err != nil {
			return nil, err
		}
		if !bytes.HasSuffix(h[dirHeaderSize:], []byte("/")) {
			names.Write(h[dirHeaderSize:])
			j.records = append(j.records, e)
		}
		if _, err := dir.Discard(n); err != nil {
			return nil, err
		}
		off += int64(n)
	}
	j.names = names.String()
	return j, nil
}

// find returns the first entry of that name, or nil.
func (j *jar) find(name string) *jarEntry {
	for i := range int32(len(j.records)) {
		if j.name(i) == name {
			return j.entry(i)
		}
	}
	return nil
}

// locate returns where e's data begins, and how long it is.
func (j *jar) locate(e *jarEntry) (off, n int64, err error) {
	at := int64(e.off)
	b := make([]byte, fileHeaderSize+len(e.name))
	if at+int64(len(b)) > j.dirOff {
		return 0, 0, badJar(at, "%s: local header passes the central directory", e.name)
	}
	if err := readat.Full(j.r, b, at); err != nil {
		return 0, 0, err
	}
	le := binary.LittleEndian
	if string(b[:4]) != "PK\x03\x04" {
		return 0, 0, badJar(at, "%s: no local header", e.name)
	}
	flags, crc, csize, size := le.Uint16(b[6:]), le.Uint32(b[14:]), le.Uint32(b[18:]), le.Uint32(b[22:])
	if (flags^e.flags)&flagDescriptor != 0 {
		return 0, 0, badJar(at+6, "%s: flags %#x in the local header, %#x in the directory", e.name, flags, e.flags)
	}
	if flags&flagDescriptor == 0 && (crc != e.crc || csize != e.csize || size != e.size) {
		return 0, 0, badJar(at+14, "%s: CRC-32 and sizes %#x %d %d in the local header, %#x %d %d in the directory",
			e.name, crc, csize, size, e.crc, e.csize, e.size)
	}
	if le.Uint16(b[26:]) != e.nameLen || string(b[fileHeaderSize:]) != e.name {
		return 0, 0, badJar(at+26, "%s: another name in the local header", e.name)
	}
	n = int64(e.size)
	if e.method != 0 {
		n = int64(e.csize)
	}
	off = at + int64(len(b)) + int64(le.Uint16(b[28:]))
	if off+n > j.dirOff {
		return 0, 0, badJar(off, "%s: data of %d bytes passes the central directory", e.name, n)
	}
	if e.method != 0 && int64(e.size) > maxRatio*(n+1) {
		return 0, 0, badJar(at+22, "%s: claims %d bytes in %d, which deflate cannot do", e.name, e.size, n)
	}
	return off, n, nil
}

// An extractor reads entries' data, with buffers that it keeps.
type extractor struct {
	j     *jar
	buf   []byte
	in    *bufio.Reader
	flate io.ReadCloser
}

// open returns the data of e, uncompressed, until the next call. Reading fails
// unless it is as long as the directory promises.
func (x *extractor) open(e *jarEntry) (io.Reader, error) {
	off, n, err := x.j.locate(e)
	if err != nil {
		return nil, err
	}
	data := io.NewSectionReader(x.j.r, off, n)
	if e.method == 0 {
		return &jarReader{data, e, int64(e.size)}, nil
	}
	if x.in == nil {
		x.in = bufio.NewReaderSize(data, 32<<10)
		x.flate = flate.NewReader(x.in)
	} else {
		x.in.Reset(data)
		if err := x.flate.(flate.Resetter).Reset(x.in, nil); err != nil {
			return nil, err
		}
	}
	return &jarReader{x.flate, e, int64(e.size)}, nil
}

// A jarReader reads the data of an entry.
type jarReader struct {
	r    io.Reader
	e    *jarEntry
	left int64
}

func (r *jarReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.left -= int64(n)
	switch {
	case r.left < 0:
		return 0, badJar(int64(r.e.off), "%s: more than the %d bytes that the directory promises", r.e.name, r.e.size)
	case err == nil, err == io.EOF && r.left == 0:
		return n, err
	}
	return n, r.e.broken(err, r.left)
}

// copy writes the data of e, uncompressed, to w.
func (x *extractor) copy(w io.Writer, e *jarEntry) error {
	r, err := x.open(e)
	if err != nil {
		return err
	}
	if x.buf == nil {
		x.buf = make([]byte, 32<<10)
	}
	for {
		n, err := r.Read(x.buf)
		if _, err := w.Write(x.buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// broken says why the data of e ends before it should.
func (e *jarEntry) broken(err error, left int64) error {
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return badJar(int64(e.off), "%s: %v", e.name, err)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return badJar(int64(e.off), "%s: ends %d bytes early", e.name, left)
	}
	return err
}

// check fails if e cannot have what it claims, or claims more than limit bytes:
// before anything is allocated.
func (x *extractor) check(e *jarEntry, limit int64) error {
	if int64(e.size) > limit {
		return badJar(int64(e.off), "%s: %d bytes, at most %d are read", e.name, e.size, limit)
	}
	_, _, err := x.j.locate(e)
	return err
}

// read returns the data of e, of at most limit bytes.
func (x *extractor) read(e *jarEntry, limit int64) (string, error) {
	if err := x.check(e, limit); err != nil {
		return "", err
	}
	var b strings.Builder
	b.Grow(int(e.size))
	err := x.copy(&b, e)
	return b.String(), err
}
