package avb

import (
	"errors"
	"io"
)

// FECSize returns the size in bytes of the parity over dataSize bytes (image
// and hash tree) with that many roots.
func FECSize(dataSize int64, roots int) int64 { return 0 }

// WriteFEC computes the Reed-Solomon RS(255, 255-roots) parity over the first
// dataSize bytes of r, interleaved as the kernel's dm-verity reads it, and
// writes it to w.
func WriteFEC(w io.Writer, r io.ReaderAt, dataSize int64, roots int) error { return errors.New("avb: WriteFEC") }
