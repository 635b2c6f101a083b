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
	"context"
	"errors"
	"fmt"
	"io"

	"mios"
)

// A Header is what a delta begins with.
type Header struct {
	Old, New         mios.Digest // SHA-256 of the files
	OldSize, NewSize int64       // bytes
}

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

// Options say how [Make] works. The zero value makes a delta as small as it
// gets.
type Options struct {
	// Memory bounds what comparing takes, in bytes, beside both files expanded;
	// 0 does not bound it: four and a half bytes for each byte of old.
	Memory int64
}

// Make writes to w the delta that makes the newSize bytes of new of the oldSize
// bytes of old. The same files and options give the same bytes. It is for the
// server: it holds both files expanded. Neither may have 1 GiB or more when it
// is.
func Make(ctx context.Context, old io.ReaderAt, oldSize int64, new io.ReaderAt, newSize int64, w io.Writer, o Options) (*Header, error) {
	return nil, errors.ErrUnsupported
}

// ReadHeader reads what a delta begins with, and no byte more.
func ReadHeader(r io.Reader) (*Header, error) { return nil, errors.ErrUnsupported }

// Limits bound what [Apply] accepts. The zero value stands for the defaults.
type Limits struct {
	// NewSize is how many bytes the new file may have; 0 stands for 1 GiB. A
	// device gives the size that the signed index names.
	NewSize int64
}

// Apply writes to out the file that delta makes of the oldSize bytes of old. It
// reads all of old first to compare its digest (a [*WrongOldError] if it is
// another), and reads delta once, from front to back, so that it may be still
// coming in. It takes at most 64 MiB, whatever the sizes.
//
// The digest of what was written is compared last: unless the error is nil, out
// has a part of the file or another one, and has to be thrown away. What is
// wrong with the delta is a [*FormatError]; other errors are those of old,
// delta or out.
func Apply(ctx context.Context, old io.ReaderAt, oldSize int64, delta io.Reader, out io.Writer, l Limits) (*Header, error) {
	return nil, errors.ErrUnsupported
}
