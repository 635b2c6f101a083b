// Package apkdelta makes and applies deltas between two versions of an app: of
// APKs, or of any ZIP archive or file. A delta rebuilds the new file bit for
// bit, signing block and alignment included. Both versions are compared with
// what deflate compressed in them expanded, so that an entry of which little
// changed costs little, though its compressed bytes share nothing.
//
// It knows nothing of signatures: a delta names the digests of both files, and
// whoever asked for the new one compares with what a signed index says.
//
// The format is miOS's own: docs/appdelta.md.
package apkdelta

import (
	"fmt"

	"mios"
)

// A Header is what a delta begins with.
type Header struct {
	Old, New         mios.Digest // SHA-256 of the files
	OldSize, NewSize int64       // bytes
	// Scratch is how many bytes of old Apply keeps expanded meanwhile.
	Scratch int64
}

// MaxSize is how many bytes either file may have, as it is and expanded.
const MaxSize = 1 << 30

// A FormatError says what is wrong with a delta, and where.
type FormatError struct {
	Off int64 // in the delta
	Msg string
}

func (e *FormatError) Error() string { return fmt.Sprintf("apkdelta: offset %#x: %s", e.Off, e.Msg) }

// Unwrap returns [mios.ErrInvalid].
func (e *FormatError) Unwrap() error { return mios.ErrInvalid }

// A WrongOldError says that a delta was applied to a file that it was not made
// from.
type WrongOldError struct {
	Want, Got         mios.Digest // Got is zero if the size told already
	WantSize, GotSize int64
}

func (e *WrongOldError) Error() string {
	if e.WantSize != e.GotSize {
		return fmt.Sprintf("apkdelta: delta is from the file %v of %d bytes, this one has %d: fetch a delta from the version that is there, or the whole file",
			e.Want, e.WantSize, e.GotSize)
	}
	return fmt.Sprintf("apkdelta: delta is from the file %v, this one is %v: fetch a delta from the version that is there, or the whole file", e.Want, e.Got)
}

// Unwrap returns [mios.ErrConflict].
func (e *WrongOldError) Unwrap() error { return mios.ErrConflict }
