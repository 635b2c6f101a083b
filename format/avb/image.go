package avb

import (
	"crypto"
	"errors"
	"io"
)

// A File is an image that a footer is added to; [*os.File] is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// FooterOptions says what [AddHashFooter] and [AddHashtreeFooter] make of an
// image.
type FooterOptions struct {
	PartitionName string // without slot suffix
	PartitionSize int64  // bytes, a multiple of 4096: the file becomes that long
	HashAlgorithm string // "sha256" (also if empty) or "sha512"
	Salt          []byte
	Flags         DescriptorFlags
	FECRoots      int // hashtree only: 2 is AOSP's; 0 for none

	// VBMeta is what goes into the image's own vbmeta image, beside the new
	// descriptor, which comes last; Sign with Key and VBMeta.Algorithm is
	// called on it. If nil, no vbmeta image and no footer are written: the
	// caller puts the descriptor into another one.
	VBMeta *VBMeta
	Key    crypto.Signer
}

// AddHashFooter appends a vbmeta image with a hash descriptor, and a footer,
// to the image of size bytes in f, as "avbtool add_hash_footer" does, and
// returns the descriptor.
func AddHashFooter(f File, size int64, o FooterOptions) (*HashDescriptor, error) {
	return nil, errors.New("avb: AddHashFooter")
}

// AddHashtreeFooter appends hash tree, FEC, vbmeta image and footer to the
// image of size bytes in f, as "avbtool add_hashtree_footer" does, and returns
// the descriptor.
func AddHashtreeFooter(f File, size int64, o FooterOptions) (*HashtreeDescriptor, error) {
	return nil, errors.New("avb: AddHashtreeFooter")
}

// MaxImageSize returns the largest image, in bytes, that fits a partition of
// o.PartitionSize bytes with the footer that AddHashtreeFooter (hashtree) or
// AddHashFooter adds, as avbtool's --calc_max_image_size.
func MaxImageSize(o FooterOptions, hashtree bool) (int64, error) { return 0, errors.New("avb: MaxImageSize") }
