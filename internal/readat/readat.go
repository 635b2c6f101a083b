// Package readat reads all that was asked of an [io.ReaderAt], or says why not.
package readat

import (
	"io"
	"os"
)

// Open opens the file of that name to be read anywhere, and says how many bytes
// it has.
func Open(name string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// Full reads len(b) bytes at off; fewer are [io.ErrUnexpectedEOF], or the
// reader's own error.
func Full(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
