// Package bootimg reads and writes Android boot images (versions 0 to 4,
// init_boot included) and vendor_boot images (versions 3 and 4), in the
// layout of AOSP's system/tools/mkbootimg include/bootimg/bootimg.h.
//
// Images are parsed in memory and their parts point into it: nothing is
// copied. What [Parse] and [ParseVendor] accept, WriteTo gives back byte for
// byte; what follows an image in its partition (an AVB footer) is not theirs.
package bootimg

import "fmt"

// PageSize is the page of versions 3 and 4, in bytes.
const PageSize = 4096

// A FormatError says where an image breaks the format, and how.
type FormatError struct {
	Off int64  // in bytes from the image's start
	Msg string // what is wrong there
}

func (e *FormatError) Error() string { return fmt.Sprintf("bootimg: offset %#x: %s", e.Off, e.Msg) }

func bad(off int, format string, args ...any) error {
	return &FormatError{int64(off), fmt.Sprintf(format, args...)}
}

// An Image is a boot image: boot, init_boot or recovery.
type Image struct {
	Version  uint32 // 0 to 4
	PageSize uint32 // a power of two; always [PageSize] from version 3 on
	OS       OSVersion
	Cmdline  string // at most 512 bytes to version 2, then 1536 with the zero at the end

	Kernel  []byte
	Ramdisk []byte

	// Versions 0 to 2 only.
	Second       []byte
	ExtraCmdline string // what did not fit in Cmdline, at most 1024 bytes
	Name         string // of the board, at most 16 bytes
	ID           [32]byte
	KernelAddr   uint32
	RamdiskAddr  uint32
	SecondAddr   uint32
	TagsAddr     uint32

	RecoveryDTBO []byte // versions 1 and 2
	DTB          []byte // version 2
	DTBAddr      uint64 // version 2

	// OldHeader: the header of version 3 says that it has 1596 bytes, as Android
	// 11's mkbootimg wrote, and not 1580. Nothing else differs.
	OldHeader bool

	// Signature is the GKI boot signature that version 4 may end with.
	Signature []byte
}

// An OSVersion is the os_version field: the version of Android, 7 bits each,
// and the month of its security patches. The zero value stands for none.
type OSVersion struct {
	Major, Minor, Patch uint8
	Year                int // 2000 to 2127, or 0
	Month               int // 1 to 12, or 0
}

// New returns a version 4 image.
func New(kernel, ramdisk []byte, cmdline string, os OSVersion) *Image {
	return &Image{Version: 4, PageSize: PageSize, OS: os, Cmdline: cmdline, Kernel: kernel, Ramdisk: ramdisk}
}

// A Vendor is a vendor_boot image.
type Vendor struct {
	Version     uint32 // 3 or 4
	PageSize    uint32
	KernelAddr  uint32
	RamdiskAddr uint32
	TagsAddr    uint32
	Cmdline     string // at most 2048 bytes
	Name        string // of the board, at most 16 bytes
	DTB         []byte
	DTBAddr     uint64

	Ramdisk    []byte     // the whole vendor ramdisk section
	Fragments  []Fragment // version 4: what it is made of
	Bootconfig []byte     // version 4
}

// A Fragment is one entry of the vendor ramdisk table.
type Fragment struct {
	Type    RamdiskType
	Name    string // at most 32 bytes
	BoardID [16]uint32
	Offset  uint32 // in Vendor.Ramdisk
	Size    uint32
}

// A RamdiskType says what a fragment is for.
type RamdiskType uint32

// The types of ramdisk fragments.
const (
	RamdiskNone RamdiskType = iota
	RamdiskPlatform
	RamdiskRecovery
	RamdiskDLKM
)
