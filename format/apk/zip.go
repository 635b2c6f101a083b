package apk

import (
	"errors"
	"io"
)

// A File is an opened package.
type File struct {
	Entries []Entry // in the order of the central directory
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
}

// A Method says how an entry's data is compressed.
type Method uint16

// The methods that Android knows.
const (
	Store   Method = 0
	Deflate Method = 8
)

// Open reads the directory of the package in the first size bytes of r and
// refuses all that readers could understand in two ways.
func Open(r io.ReaderAt, size int64) (*File, error) { return nil, errors.ErrUnsupported }

// Entry returns the entry with that name, or nil.
func (f *File) Entry(name string) *Entry { return nil }

// OpenEntry returns the uncompressed data of e. Reading fails at the end if
// size or CRC-32 are not what the directory says.
func (f *File) OpenEntry(e *Entry) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// ReadFile returns the uncompressed data of the entry with that name, of at
// most limit bytes. Without one the error wraps mios.ErrNotFound.
func (f *File) ReadFile(name string, limit int64) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
