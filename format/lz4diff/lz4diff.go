// Package lz4diff compares files of a file system that compresses with LZ4 in
// blocks, such as erofs, by what they hold: update_engine's lz4diff. A patch
// says which blocks there are on both sides; who applies it expands the old
// ones, makes the new bytes with a patch of another format, and compresses them
// again, exactly as liblz4 does.
package lz4diff

import (
	"fmt"

	"mios"
	"mios/internal/lz4"
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
// for 9; LZ4 has none.
type Algorithm struct {
	Type  AlgorithmType
	Level int32
}

// compressor returns what compresses so.
func (a Algorithm) compressor() (*lz4.Compressor, error) {
	switch a.Type {
	case LZ4:
		return lz4.NewFast(), nil
	case LZ4HC:
		return lz4.NewHC(int(a.Level)), nil
	}
	return nil, fmt.Errorf("lz4diff: algorithm %d compresses nothing: %w", a.Type, mios.ErrInvalid)
}

// A Block is some bytes of a file that are compressed by themselves, one after
// the other. It is compressed if Compressed is less than Length, and otherwise
// both are the same.
type Block struct {
	Offset     uint64 // in the expanded file
	Length     uint64 // expanded
	Compressed uint64 // as stored, with padding
}

func (b *Block) compressed() bool { return b.Compressed < b.Length }

// A Layout says how a file is compressed.
type Layout struct {
	Algorithm   Algorithm
	Blocks      []Block
	ZeroPadding bool // erofs with 0padding: a block's data ends at its end, and zeros come before
}

// limits, in bytes.
const (
	maxFile  = 256 << 20 // of an expanded file, which is in memory, and twice while the new one grows
	maxRatio = 255       // of LZ4
	padding  = 4096      // so many zeros may come before a block's data
)

// sizes checks the blocks, and returns how many bytes the file has as stored,
// and expanded. What is wrong is said of block i.
func (l *Layout) sizes() (stored, expanded uint64, err error) {
	for i, b := range l.Blocks {
		bad := func(format string, args ...any) error {
			return fmt.Errorf("block %d: %s: %w", i, fmt.Sprintf(format, args...), mios.ErrInvalid)
		}
		switch {
		case b.Offset != expanded:
			return 0, 0, bad("is at %d, want %d", b.Offset, expanded)
		case b.Length == 0 || b.Compressed == 0 || b.Compressed > b.Length:
			return 0, 0, bad("%d bytes are stored as %d", b.Length, b.Compressed)
		case b.compressed() && b.Length/maxRatio > b.Compressed:
			return 0, 0, bad("%d bytes are stored as %d, which LZ4 cannot", b.Length, b.Compressed)
		case b.Length > maxFile-expanded:
			return 0, 0, bad("the file expands to more than %d MiB", maxFile>>20)
		case b.compressed() && l.Algorithm.Type != LZ4 && l.Algorithm.Type != LZ4HC:
			return 0, 0, bad("is compressed by algorithm %d", l.Algorithm.Type)
		}
		stored += b.Compressed
		expanded += b.Length
	}
	return stored, expanded, nil
}

// storedAt returns where each block is in the stored file, and where that ends.
func (l *Layout) storedAt() []uint64 {
	at := make([]uint64, len(l.Blocks)+1)
	for i, b := range l.Blocks {
		at[i+1] = at[i] + b.Compressed
	}
	return at
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
