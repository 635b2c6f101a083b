package bsdiff

import (
	"context"
	"errors"
)

// Options say how [Diff] works. The zero value makes a BSDF2 patch as small as
// it gets, whatever memory that takes.
type Options struct {
	// Legacy makes a BSDIFF40 patch, which every bspatch applies: bzip2 only.
	Legacy bool
	// Quality is brotli's, 1 to 11; 0 stands for 11 up to 8 MiB of a stream
	// and for 9 above.
	Quality int
	// Memory bounds what Diff allocates, in bytes; 0 does not. What does not
	// fit with a suffix array of old is compared by an index of its blocks,
	// which finds matches of 32 bytes and more only. See [Memory].
	Memory int64
}

// Memory returns how many bytes [Diff] allocates for inputs of these sizes if
// Options do not bound it.
func Memory(oldSize, newSize int64) int64 { return 5*oldSize + 3*newSize }

// Diff returns a patch that makes new of old. The same inputs and options give
// the same bytes on every machine. Neither input may have 2 GiB or more. Both
// are only read, so that they may be mapped files.
func Diff(ctx context.Context, old, new []byte, o Options) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
