// Package bsdiff makes and applies binary patches of two formats: BSDIFF40,
// which bsdiff of Colin Percival writes, and BSDF2, AOSP's (external/bsdiff),
// which has a byte that names the compressor of each of its three streams.
// Operations SOURCE_BSDIFF and BROTLI_BSDIFF of an Android update carry one.
//
// A patch turns old bytes into new ones: copy so many and add the differences
// to them, insert so many, go elsewhere in old, and again.
package bsdiff

import (
	"fmt"

	"mios"
)

// A Compression says how a stream of a patch is compressed.
type Compression uint8

// The compressions, as BSDF2's header has them.
const (
	None   Compression = 0 // AOSP's bspatch refuses it
	Bzip2  Compression = 1
	Brotli Compression = 2
)

func (c Compression) String() string {
	switch c {
	case None:
		return "none"
	case Bzip2:
		return "bz2"
	case Brotli:
		return "brotli"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// A FormatError says what is wrong with a patch, and where.
type FormatError struct {
	Off int64 // in the patch, or in the stream that Msg names once it is expanded
	Msg string
}

func (e *FormatError) Error() string { return fmt.Sprintf("bsdiff: offset %#x: %s", e.Off, e.Msg) }

// Unwrap returns [mios.ErrInvalid].
func (e *FormatError) Unwrap() error { return mios.ErrInvalid }
