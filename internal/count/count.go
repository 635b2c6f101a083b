// Package count counts the bytes that are written.
package count

import "io"

// A Writer counts what is written to W, in N.
type Writer struct {
	W io.Writer
	N int64 // bytes
}

// Write implements [io.Writer].
func (w *Writer) Write(b []byte) (int, error) {
	n, err := w.W.Write(b)
	w.N += int64(n)
	return n, err
}
