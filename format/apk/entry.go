package apk

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"mios"
)

// Entry returns the entry with that name, or nil.
func (f *File) Entry(name string) *Entry {
	i := *f.index.find(f.Entries, name)
	if i == 0 {
		return nil
	}
	return &f.Entries[i-1]
}

// OpenEntry returns the uncompressed data of e, never more than its Size.
// Reading fails at the end if size or CRC-32 are not what the directory says.
func (f *File) OpenEntry(e *Entry) (io.ReadCloser, error) {
	size := int(min(e.CompressedSize, 64<<10))
	data := bufio.NewReaderSize(io.NewSectionReader(f.r, e.DataOff, e.CompressedSize), size)
	er := &entryReader{e: e, data: data, left: e.Size, crc: crc32.NewIEEE()}
	switch e.Method {
	case Store:
		er.r = io.NopCloser(data)
	case Deflate:
		er.r = flate.NewReader(data)
	default:
		return nil, bad(e.HeaderOff+8, "%s: compression method %d, which Android does not know", e.Name, e.Method)
	}
	return er, nil
}

// ReadFile returns the uncompressed data of the entry with that name, of at
// most limit bytes. Without one the error wraps [mios.ErrNotFound].
func (f *File) ReadFile(name string, limit int64) ([]byte, error) {
	e := f.Entry(name)
	if e == nil {
		return nil, fmt.Errorf("apk: %s: %w", name, mios.ErrNotFound)
	}
	if e.Size > limit {
		return nil, bad(e.HeaderOff, "%s: %d bytes, at most %d are read", name, e.Size, limit)
	}
	r, err := f.OpenEntry(e)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// What is stored is as large as the directory says; what is compressed may
	// be, and mostly is no more than eight times as large as compressed.
	b := bytes.NewBuffer(make([]byte, 0, min(e.Size, 8*e.CompressedSize)+bytes.MinRead))
	_, err = b.ReadFrom(r)
	return b.Bytes(), err
}

// entryReader checks what it passes on.
type entryReader struct {
	e    *Entry
	data *bufio.Reader // compressed
	r    io.ReadCloser // uncompressed
	left int64
	crc  hash.Hash32
	err  error // sticky
}

func (r *entryReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.left == 0 {
		r.err = r.finish()
		return 0, r.err
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	r.crc.Write(p[:n])
	switch {
	case err == io.EOF && r.left > 0, err == io.ErrUnexpectedEOF:
		r.err = bad(r.e.DataOff, "%s: ends %d bytes early", r.e.Name, r.left)
	case err != nil && err != io.EOF:
		if _, ok := err.(flate.CorruptInputError); ok {
			err = bad(r.e.DataOff, "%s: %v", r.e.Name, err)
		}
		r.err = err
	}
	return n, r.err
}

// finish is called when all of the data that the directory promises is read.
func (r *entryReader) finish() error {
	var one [1]byte
	if n, err := io.ReadFull(r.r, one[:]); n > 0 {
		return bad(r.e.DataOff, "%s: more than the %d bytes that the directory promises", r.e.Name, r.e.Size)
	} else if err != io.EOF {
		return bad(r.e.DataOff, "%s: after the last byte: %v", r.e.Name, err)
	}
	if _, err := r.data.ReadByte(); err != io.EOF {
		return bad(r.e.DataOff, "%s: bytes after the end of the compressed data", r.e.Name)
	}
	if sum := r.crc.Sum32(); sum != r.e.CRC32 {
		return bad(r.e.DataOff, "%s: CRC-32 is %#x, want %#x", r.e.Name, sum, r.e.CRC32)
	}
	return io.EOF
}

func (r *entryReader) Close() error { return r.r.Close() }
