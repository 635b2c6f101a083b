// Package puffin takes deflate streams apart so that they can be compared, and
// puts them together again bit for bit: AOSP's external/puffin. A puffed stream
// has the codes of a deflate stream as bytes, without the Huffman coding, which
// two versions of a file never share. Operation PUFFDIFF of an Android update
// carries a patch between files both of which were puffed.
package puffin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mios"
	"mios/format/bsdiff"
)

// A BitExtent is where a deflate stream, or some blocks of one, lies: in bits
// of the file, the lowest bit of a byte first.
type BitExtent struct{ Offset, Length uint64 }

// A FormatError says what is wrong with a patch or a stream, and where.
type FormatError struct {
	Off int64 // in bytes
	Msg string
}

func (e *FormatError) Error() string { return fmt.Sprintf("puffin: offset %#x: %s", e.Off, e.Msg) }

// Unwrap returns [mios.ErrInvalid].
func (e *FormatError) Unwrap() error { return mios.ErrInvalid }

// LocateZip returns the deflate blocks of a ZIP archive's files, in order: what
// AOSP calls LocateDeflatesInZipArchive. Entries that do not inflate are left
// out. Stored blocks are, too: they need no puffing.
func LocateZip(data []byte) []BitExtent { return nil }

// LocateGzip returns the deflate blocks of gzip members, one after the other.
func LocateGzip(data []byte) ([]BitExtent, error) { return nil, errors.ErrUnsupported }

// LocateZlib returns the deflate blocks of a zlib stream that is all of data.
func LocateZlib(data []byte) ([]BitExtent, error) { return nil, errors.ErrUnsupported }

// LocateDeflate returns the blocks of a deflate stream that data begins with,
// and how many bytes it takes.
func LocateDeflate(data []byte) (blocks []BitExtent, size int64, err error) {
	return nil, 0, errors.ErrUnsupported
}

// RemoveEqual takes out of both lists what is the same bits in both files:
// blocks that are equal need no puffing. The lists are changed.
func RemoveEqual(old, new []byte, oldBlocks, newBlocks []BitExtent) ([]BitExtent, []BitExtent) {
	return oldBlocks, newBlocks
}

// Diff returns a patch that makes new of old, both puffed where the blocks lie
// (in order, none over another; Locate functions return such). Memory bounds
// the comparison of the puffed files; they themselves take memory besides:
// about three bytes for one that is in a deflate block.
func Diff(ctx context.Context, old, new []byte, oldBlocks, newBlocks []BitExtent, o bsdiff.Options) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// A PatchType says what compares the puffed files.
type PatchType uint8

// The types, as the header has them.
const (
	BSDiff   PatchType = 0
	Zucchini PatchType = 1 // is refused
)

// A Patch is a parsed patch.
type Patch struct {
	Type     PatchType
	Old, New Stream

	inner     io.ReaderAt
	innerSize int64
}

// A Stream says where a file has deflate blocks, and where they are once it is
// puffed.
type Stream struct {
	Deflates []BitExtent // in the file
	Puffs    []BitExtent // in the puffed file, whole bytes
	Size     uint64      // of the puffed file, in bytes
}

// Parse reads the header of the patch in the first size bytes of r.
func Parse(r io.ReaderAt, size int64) (*Patch, error) { return nil, errors.ErrUnsupported }

// Apply writes to w what the patch makes of the oldSize bytes of old. It keeps
// 8 MiB of puffed blocks beside the largest one of either side, and what
// [bsdiff.Patch.Apply] takes.
func (p *Patch) Apply(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64) error {
	return errors.ErrUnsupported
}
