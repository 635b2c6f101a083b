// Package lz4diff compares files of a file system that compresses with LZ4 in
// blocks, such as erofs, by what they hold: update_engine's lz4diff. A patch
// says which blocks there are on both sides; who applies it expands the old
// ones, makes the new bytes with a patch of another format, and compresses them
// again, exactly as liblz4 does.
package lz4diff

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mios"
	"mios/format/bsdiff"
)

// An AlgorithmType is a compressor.
type AlgorithmType uint8

// The types, as lz4diff.proto has them.
const (
	Uncompressed AlgorithmType = 0
	LZ4          AlgorithmType = 1
	LZ4HC        AlgorithmType = 2
)

// An Algorithm is a compressor with its level: of LZ4HC 1 to 12, where 0 stands
// for 9; of LZ4 the acceleration, which erofs leaves at 1.
type Algorithm struct {
	Type  AlgorithmType
	Level int32
}

// A Block is some bytes of a file that are compressed by themselves, one after
// the other. It is compressed if Compressed is less than Length.
type Block struct {
	Offset     uint64 // in the expanded file
	Length     uint64 // expanded
	Compressed uint64 // as stored, with padding
}

// A Layout says how a file is compressed.
type Layout struct {
	Algorithm   Algorithm
	Blocks      []Block
	ZeroPadding bool // erofs with 0padding: a block's data ends at its end, and zeros come before
}

// A FormatError says what is wrong with a patch, and where.
type FormatError struct {
	Off int64
	Msg string
}

func (e *FormatError) Error() string { return fmt.Sprintf("lz4diff: offset %#x: %s", e.Off, e.Msg) }

// Unwrap returns [mios.ErrInvalid].
func (e *FormatError) Unwrap() error { return mios.ErrInvalid }

// An InnerType says what compares the expanded files.
type InnerType uint8

// The types, as lz4diff.proto has them.
const (
	BSDiff   InnerType = 0
	PuffDiff InnerType = 1
)

// Options say how [Diff] works.
type Options struct {
	Inner bsdiff.Options
	// Puff tries a puffdiff of the expanded files too, if the new one has
	// deflate streams as a ZIP archive has them, and takes the smaller.
	Puff bool
}

// Diff returns a patch that makes new of old, which are the files' blocks as
// stored, one after the other, without gaps. A block that liblz4 of our kind
// compresses otherwise gets a patch of its own.
func Diff(ctx context.Context, old, new []byte, oldLayout, newLayout Layout, o Options) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// A Patch is a parsed patch.
type Patch struct {
	Old, New Layout
	Inner    InnerType

	fixes []fix // of New's blocks
	inner []byte
}

// fix is what a compressed block needs to become as it was.
type fix struct{ sha256, patch []byte }

// Parse reads a patch.
func Parse(patch []byte) (*Patch, error) { return nil, errors.ErrUnsupported }

// Apply writes to w what the patch makes of the oldSize bytes of old. It takes
// memory for both expanded files and its old one.
func (p *Patch) Apply(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64) error {
	return errors.ErrUnsupported
}
