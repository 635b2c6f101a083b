// Package debian brings Debian's kernel package of any architecture onto this
// machine and reads it, without changing the host's apt or needing dpkg.
//
// Lists and state are apt's own, in a folder of ours; sources, keys and proxies
// are the host's. What was fetched is kept in a cache by SHA-256.
package debian

import (
	"context"
	"errors"
)

// Kernels is where kernels come from.
type Kernels struct {
	Cache    string                  // folder for packages and apt's lists; made when it is not there
	Pins     []Pin                   // nil: [DefaultPins]
	Notice   func(msg string)        // told when the pinned package is gone and another one is taken; may be nil
	Progress func(done, total int64) // told of downloaded bytes, from one goroutine; may be nil
}

// Open returns the kernel of a line (see [Line]) for an architecture, "amd64"
// or "arm64": the pinned package, from the cache if it is there, or, when
// Debian has it no more, the newest of the line, with a notice.
func (k *Kernels) Open(ctx context.Context, line, arch string) (*Kernel, error) {
	return nil, errors.ErrUnsupported
}

// Newest asks Debian for the newest package of a line and returns its pin.
func (k *Kernels) Newest(ctx context.Context, line, arch string) (Pin, error) {
	return Pin{}, errors.ErrUnsupported
}

// DefaultPins returns the pins that this build was made with.
func DefaultPins() []Pin { return nil }
