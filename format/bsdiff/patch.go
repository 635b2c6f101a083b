package bsdiff

import (
	"context"
	"errors"
	"io"
)

// A Patch is a parsed patch; its streams stay where they are.
type Patch struct {
	Control, Diff, Extra Compression
	NewSize              int64 // bytes that it makes

	r           io.ReaderAt
	ctrl, diff  int64 // lengths of the first two streams
	extraLength int64
}

// Parse reads the header of the patch in the first size bytes of r.
func Parse(r io.ReaderAt, size int64) (*Patch, error) { return nil, errors.ErrUnsupported }

// Apply writes to w what the patch makes of the oldSize bytes of old: exactly
// NewSize bytes, or an error. It holds about 1 MiB beside what decompressors
// need, which is at most 4 MiB each for bzip2 and 16 MiB for brotli. A caller
// that knows what the new bytes hash to must compare: a patch has no checksum.
func (p *Patch) Apply(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64) error {
	return errors.ErrUnsupported
}
