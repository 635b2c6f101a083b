package apk

import (
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// Alignments of stored entries, in bytes, as zipalign makes them.
const (
	Align       = 4
	AlignNative = 16 << 10 // lib/*.so: the largest page of a kernel that maps them
)

// zipDate is 1980-01-01, the earliest that a ZIP file knows.
const zipDate = 1<<5 | 1

// alignExtra is the id of the extra field that AOSP's tools pad with: two bytes
// of alignment, then zeros.
const alignExtra = 0xd935

// A Writer writes a package: the same entries give the same bytes. Close must
// be called at the end.
type Writer struct {
	w     io.Writer
	off   int64
	dir   []byte
	names map[string]bool
}

// NewWriter returns a writer of a package to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, names: make(map[string]bool)} }

// maxSpool is how much compressed data Add keeps instead of compressing twice.
const maxSpool = 16 << 20

// Add writes the rest of data as an entry. It reads it twice unless it becomes
// small, so that the header in front can say what follows.
func (w *Writer) Add(name string, m Method, data io.ReadSeeker) error {
	if msg := badName(name); msg != "" {
		return fmt.Errorf("apk: name %q %s", name, msg)
	}
	if w.names[name] {
		return fmt.Errorf("apk: a second %q", name)
	}
	w.names[name] = true
	start, err := data.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	e := Entry{Name: name, Method: m, HeaderOff: w.off}
	spool, err := e.measure(data)
	if err != nil {
		return fmt.Errorf("apk: %s: %w", name, err)
	}
	if _, err := data.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if e.Size >= 1<<32-1 || e.CompressedSize >= 1<<32-1 || e.HeaderOff >= 1<<32-1 {
		return fmt.Errorf("apk: %s: too large for a package", name)
	}
	if err := w.write(e.appendFileHeader(nil)); err != nil {
		return err
	}
	w.dir = e.appendDirHeader(w.dir)
	if spool != nil {
		return w.write(spool)
	}
	end := w.off + e.CompressedSize
	if _, err := compress(writerFunc(w.write), m, data); err != nil {
		return fmt.Errorf("apk: %s: %w", name, err)
	}
	if w.off != end {
		return fmt.Errorf("apk: %s: changed while it was read", name)
	}
	return nil
}

// Close writes the directory. It does not close the writer below.
func (w *Writer) Close() error {
	n := len(w.names)
	if n > 1<<16-2 || w.off+int64(len(w.dir)) >= 1<<32-1 {
		return fmt.Errorf("apk: %d entries in %d bytes: too large for a package", n, w.off)
	}
	le := binary.LittleEndian
	end := []byte(endMagic + "\x00\x00\x00\x00")
	end = le.AppendUint16(end, uint16(n))
	end = le.AppendUint16(end, uint16(n))
	end = le.AppendUint32(end, uint32(len(w.dir)))
	end = le.AppendUint32(end, uint32(w.off))
	end = le.AppendUint16(end, 0)
	if err := w.write(w.dir); err != nil {
		return err
	}
	return w.write(end)
}

func (w *Writer) write(b []byte) error {
	n, err := w.w.Write(b)
	w.off += int64(n)
	return err
}

type writerFunc func(b []byte) error

func (f writerFunc) Write(b []byte) (int, error) {
	if err := f(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// measure reads data and sets what the header has to say of it. It returns the
// compressed data if that is small.
func (e *Entry) measure(data io.Reader) (spool []byte, err error) {
	crc := crc32.NewIEEE()
	spool = []byte{}
	count := writerFunc(func(b []byte) error {
		e.CompressedSize += int64(len(b))
		if e.CompressedSize > maxSpool {
			spool = nil
		} else if spool != nil {
			spool = append(spool, b...)
		}
		return nil
	})
	e.Size, err = compress(count, e.Method, io.TeeReader(data, crc))
	e.CRC32 = crc.Sum32()
	return spool, err
}

// compress copies data to w with the method and returns how much it read.
func compress(w io.Writer, m Method, data io.Reader) (int64, error) {
	switch m {
	case Store:
		return io.Copy(w, data)
	case Deflate:
		fw, err := flate.NewWriter(w, flate.DefaultCompression)
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(fw, data)
		if err != nil {
			return n, err
		}
		return n, fw.Close()
	}
	return 0, fmt.Errorf("compression method %d", m)
}

// align returns the alignment of e's data.
func (e *Entry) align() int64 {
	switch {
	case e.Method != Store:
		return 1
	case strings.HasPrefix(e.Name, "lib/") && strings.HasSuffix(e.Name, ".so"):
		return AlignNative
	}
	return Align
}

// appendFileHeader appends the local header, padded so that the data behind it
// is aligned.
func (e *Entry) appendFileHeader(b []byte) []byte {
	var extra []byte
	if a := e.align(); a > 1 {
		const field = 6 // id, size, alignment
		at := e.HeaderOff + fileHeaderSize + int64(len(e.Name)) + field
		pad := (a - at%a) % a
		extra = binary.LittleEndian.AppendUint16(nil, alignExtra)
		extra = binary.LittleEndian.AppendUint16(extra, uint16(2+pad))
		extra = binary.LittleEndian.AppendUint16(extra, uint16(a))
		extra = append(extra, make([]byte, pad)...)
	}
	b = append(b, fileMagic...)
	b = e.appendCommon(b)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(extra)))
	b = append(b, e.Name...)
	return append(b, extra...)
}

// appendDirHeader appends the directory's entry.
func (e *Entry) appendDirHeader(b []byte) []byte {
	b = append(b, dirMagic...)
	b = append(b, 20, 0) // made by: MS-DOS, version 2.0
	b = e.appendCommon(b)
	b = append(b, make([]byte, 2+2+2+2+4)...) // extra, comment, disk, attributes
	b = binary.LittleEndian.AppendUint32(b, uint32(e.HeaderOff))
	return append(b, e.Name...)
}

// appendCommon appends what both headers say, from the version to the length
// of the name.
func (e *Entry) appendCommon(b []byte) []byte {
	var flags uint16
	for i := range len(e.Name) {
		if e.Name[i] >= 0x80 {
			flags = flagUTF8
		}
	}
	le := binary.LittleEndian
	b = le.AppendUint16(b, 20) // version needed: 2.0
	b = le.AppendUint16(b, flags)
	b = le.AppendUint16(b, uint16(e.Method))
	b = le.AppendUint16(b, 0) // time
	b = le.AppendUint16(b, zipDate)
	b = le.AppendUint32(b, e.CRC32)
	b = le.AppendUint32(b, uint32(e.CompressedSize))
	b = le.AppendUint32(b, uint32(e.Size))
	return le.AppendUint16(b, uint16(len(e.Name)))
}
