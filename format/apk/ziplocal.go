package apk

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	maxFiller  = 1 << 20 // what lies before, between and behind entries, at one place
	readAhead  = 64 << 10
	nearHeader = 4 << 10 // a local header no further away than that is read with this one
)

// A window reads a file in pieces, from front to back.
type window struct {
	r   io.ReaderAt
	end int64 // nothing behind it is read
	off int64 // of buf
	buf []byte
	gap int64 // to what will be read next, or 0: near
}

// read returns the n bytes at off, which must lie before end. They are good until
// the next call.
func (w *window) read(off int64, n int) ([]byte, error) {
	b, err := w.peek(off, n)
	if err == nil && len(b) < n {
		err = io.ErrUnexpectedEOF
	}
	return b[:min(n, len(b))], err
}

// peek returns up to n bytes at off, fewer only at the end.
func (w *window) peek(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.end-off))
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		size := max(n, readAhead)
		if w.gap > nearHeader {
			size = n
		}
		size = int(min(int64(size), w.end-off))
		if cap(w.buf) < size {
			w.buf = make([]byte, max(size, readAhead))
		}
		w.buf, w.off = w.buf[:size], off
		got, err := w.r.ReadAt(w.buf, off)
		if w.buf = w.buf[:got]; err != nil && err != io.EOF {
			return nil, err
		}
	}
	b := w.buf[off-w.off:]
	return b[:min(n, len(b))], nil
}

// readHeaders reads the local headers from front to back, and refuses entries
// that overlap, and what lies around them and is no filler.
func (f *File) readHeaders() error {
	order := make([]int32, len(f.Entries))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(f.Entries[a].HeaderOff, f.Entries[b].HeaderOff) })
	w := &window{r: f.r, end: f.DirOff}
	end, before := int64(0), ""
	for i, n := range order {
		e := &f.Entries[n]
		w.gap = 0
		if i+1 < len(order) {
			w.gap = f.Entries[order[i+1]].HeaderOff - e.HeaderOff
		}
		if err := f.readHeader(w, e); err != nil {
			return err
		}
		if e.HeaderOff < end {
			return bad(e.HeaderOff, "%s overlaps %s", e.Name, before)
		}
		if err := f.checkFiller(w, end, e.HeaderOff, before); err != nil {
			return err
		}
		end, before = e.end, e.Name
	}
	return f.checkBehind(w, end, before)
}

// filler returns how much of b, from the first byte on, is what AOSP's tools fill
// gaps with: zipflinger's local headers without a name, data or an entry in the
// directory, whose extra field is zeros; and zeros, if they may be.
func filler(b []byte, mayBeZeros bool) int {
	rest := b
	for len(rest) >= fileHeaderSize {
		n := fileHeaderSize + int(binary.LittleEndian.Uint16(rest[28:]))
		if len(rest) < n || string(rest[:4]) != fileMagic || !zeros(rest[14:28]) || !zeros(rest[fileHeaderSize:n]) {
			break
		}
		rest = rest[n:]
	}
	if mayBeZeros {
		rest = bytes.TrimLeft(rest, "\x00")
	}
	return len(b) - len(rest)
}

// checkFiller refuses what lies from off to end, behind the entry before or in
// front of all, and is no filler: it could make the file something else as well,
// a DEX file, or entries that only a reader sees that does not look at the
// directory.
func (f *File) checkFiller(w *window, off, end int64, before string) error {
	if off == end {
		return nil
	}
	where := "behind " + before + " that no entry has"
	if before == "" {
		where = "before the first entry"
	}
	if end-off > maxFiller {
		return bad(off, "%d bytes %s", end-off, where)
	}
	w.gap = 0
	b, err := w.read(off, int(end-off))
	if err != nil {
		return err
	}
	if n := filler(b, before != ""); n < len(b) {
		return bad(off+int64(n), "%d bytes %s", len(b)-n, where)
	}
	return nil
}

// checkBehind refuses an entry behind the last one, at off. What else is there
// belongs to the signing block, on which package apksig judges.
func (f *File) checkBehind(w *window, off int64, before string) error {
	b, err := w.peek(off, maxFiller)
	if err != nil {
		return err
	}
	if n := filler(b, true); bytes.HasPrefix(b[n:], []byte(fileMagic)) {
		return bad(off+int64(n), "an entry behind %s that the directory does not have", before)
	}
	return nil
}

func zeros(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// readHeader compares the local header of e with the directory, and sets where
// the data begins and ends.
func (f *File) readHeader(w *window, e *Entry) error {
	n := fileHeaderSize + len(e.Name)
	if e.HeaderOff+int64(n) > f.DirOff {
		return bad(e.HeaderOff, "%s: local header passes the central directory", e.Name)
	}
	b, err := w.read(e.HeaderOff, n)
	if err != nil {
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
	case (flags^e.flags)&(flagsRefused|flagDescriptor) != 0:
		return bad(e.HeaderOff+6, "%s: flags %#x in the local header, %#x in the directory", e.Name, flags, e.flags)
	case !same && (e.flags&flagDescriptor == 0 || !unset):
		return bad(e.HeaderOff+14, "%s: CRC-32 and sizes %#x %d %d in the local header, %#x %d %d in the directory",
			e.Name, crc, csize, size, e.CRC32, e.CompressedSize, e.Size)
	}
	if m := Method(le.Uint16(b[8:])); m != e.Method && f.odd == nil {
		f.odd = &FormatError{e.HeaderOff + 8, fmt.Sprintf("%s: method %d in the local header, %d in the directory", e.Name, m, e.Method), true}
	}
	e.DataOff = e.HeaderOff + int64(len(b)) + int64(le.Uint16(b[28:]))
	e.end = e.DataOff + e.CompressedSize
	if e.end > f.DirOff {
		return bad(e.DataOff, "%s: data of %d bytes passes the central directory", e.Name, e.CompressedSize)
	}
	if e.flags&flagDescriptor != 0 {
		return f.readDescriptor(w, e)
	}
	return nil
}

// readDescriptor compares the data descriptor behind e's data with the
// directory. Its magic number is optional.
func (f *File) readDescriptor(w *window, e *Entry) error {
	b, err := w.read(e.end, int(min(16, f.DirOff-e.end)))
	if err != nil {
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
