// Package avb reads, writes, signs and verifies Android Verified Boot 2.0
// metadata: vbmeta images, their descriptors, footers, hash trees and forward
// error correction, and does to a slot what libavb's avb_slot_verify does.
//
// The layouts are those of AOSP's external/avb (libavb/*.h), the images those
// that its avbtool makes. A vbmeta image has one encoding here: what [Parse]
// accepts, [VBMeta.WriteTo] gives back byte for byte. Nothing is allocated
// that the input only claims.
//
// The package does not keep keys: signing goes through a [crypto.Signer].
package avb

import "fmt"

// The version of AVB that this package speaks, and puts on the kernel's
// command line as androidboot.vbmeta.avb_version.
const (
	VersionMajor = 1
	VersionMinor = 3
)

// Sizes of AVB's structures, in bytes.
const (
	HeaderSize    = 256       // a vbmeta image's header
	FooterSize    = 64        // a footer, at the very end of a partition
	BlockSize     = 4096      // of images with a footer, and of hash trees
	MaxVBMetaSize = 64 * 1024 // the largest vbmeta image that libavb loads
	MaxReleaseLen = 47        // of VBMeta.Release
)

// Flags of a vbmeta image (AvbVBMetaImageFlags). Only the top-level one may
// have any.
type Flags uint32

// The flags that AVB defines.
const (
	FlagHashtreeDisabled     Flags = 1 << 0 // dm-verity is off
	FlagVerificationDisabled Flags = 1 << 1 // descriptors are not even looked at
)

// A FormatError says where an image breaks the format, and how.
type FormatError struct {
	Off int64  // of the offending field, in bytes from the vbmeta image's or footer's start
	Msg string // what is wrong with it
}

func (e *FormatError) Error() string { return fmt.Sprintf("avb: offset %#x: %s", e.Off, e.Msg) }

func bad(off int64, format string, args ...any) error {
	return &FormatError{off, fmt.Sprintf(format, args...)}
}
