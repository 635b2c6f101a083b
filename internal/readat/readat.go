// Package readat reads all that was asked of an [io.ReaderAt], or says why not.
package readat

import "io"

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
