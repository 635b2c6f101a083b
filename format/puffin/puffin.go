// Package puffin takes deflate streams apart so that they can be compared, and
// puts them together again bit for bit: AOSP's external/puffin. A puffed stream
// has the codes of a deflate stream as bytes, without the Huffman coding, which
// two versions of a file never share. Operation PUFFDIFF of an Android update
// carries a patch between files both of which were puffed.
package puffin

import (
	"fmt"

	"mios"
)

// A BitExtent is where a deflate stream, or some blocks of one, lies: in bits
// of the file, the lowest bit of a byte first.
type BitExtent struct{ Offset, Length uint64 }

// end returns the first bit after x.
func (x BitExtent) end() uint64 { return x.Offset + x.Length }

// A FormatError says what is wrong with a patch or a stream, and where.
type FormatError struct {
	Off int64 // in bytes
	Msg string
}

func (e *FormatError) Error() string { return fmt.Sprintf("puffin: offset %#x: %s", e.Off, e.Msg) }

// Unwrap returns [mios.ErrInvalid].
func (e *FormatError) Unwrap() error { return mios.ErrInvalid }
