package fstree

import (
	"context"
	"errors"

	"mios/format/fsimage"
)

// EditOptions say what [Edit] makes.
type EditOptions struct {
	fsimage.EditOptions
	// Sparse makes an Android sparse image; otherwise it is plain.
	Sparse bool
}

// An EditResult says what [Edit] made.
type EditResult struct {
	Kind string // erofs or ext4
	Size int64  // of the file system, as it is on a device, in bytes
}

// Edit writes the file system of the image in, plain or sparse, to out with the
// changes that change makes, and reads them back. What lies behind the file
// system, such as a hash tree and a footer of AVB, is left out: it would not be
// right any more. old is the image as it was, from which data may be read while
// it is replaced. in and out may be the same; out appears whole or not at all.
func Edit(ctx context.Context, in, out string, change func(old *fsimage.FS, e fsimage.Editor) error, o EditOptions) (*EditResult, error) {
	return nil, errors.ErrUnsupported
}

// EditFile is [Edit] of a private copy in place: of the plain image in the first
// size bytes of f. What lies behind the file system is cut off. After an error
// the image is not whole.
func EditFile(ctx context.Context, f fsimage.File, size int64, change func(e fsimage.Editor) error, o fsimage.EditOptions) (*EditResult, error) {
	return nil, errors.ErrUnsupported
}
