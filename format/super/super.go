// Package super reads and writes the metadata of Android's dynamic partitions
// (liblp, version 10: AOSP's system/core/fs_mgr/liblp
// include/liblp/metadata_format.h): a "super" partition that holds logical
// partitions as lists of extents.
//
// The metadata stands in slots, each written twice; the geometry, which says
// how many and where, is written twice as well. What [Read] finds intact,
// [Image.WriteDisk] writes byte for byte.
package super

import "fmt"

// Sizes and places, in bytes.
const (
	SectorSize   = 512
	ReservedSize = 4096 // at the start, for a boot sector
	GeometrySize = 4096 // of each of the two copies that follow
)

// A FormatError says where metadata breaks the format, and how.
type FormatError struct {
	Off int64  // in bytes from the partition's start
	Msg string // what is wrong there
}

func (e *FormatError) Error() string { return fmt.Sprintf("super: offset %#x: %s", e.Off, e.Msg) }

// A Geometry says where the metadata is.
type Geometry struct {
	MetadataMaxSize uint32 // bytes of one slot, a multiple of SectorSize
	SlotCount       uint32
	BlockSize       uint32 // of logical partitions: their sizes are multiples of it
}

// Metadata is one slot: the partitions and where they are.
type Metadata struct {
	Minor      uint16 // of version 10; 0 to 2
	Flags      uint32 // from minor version 2 on
	Partitions []Partition
	Groups     []Group
	Devices    []Device
}

// Flags of Metadata.
const (
	FlagVirtualAB      = 1 << 0
	FlagOverlaysActive = 1 << 1
)

// A Partition is a logical partition.
type Partition struct {
	Name       string // at most 36 bytes
	Attributes uint32
	Group      string // of Metadata.Groups
	Extents    []Extent
}

// Attributes of a Partition.
const (
	AttrReadonly     = 1 << 0
	AttrSlotSuffixed = 1 << 1
	AttrUpdated      = 1 << 2 // minor version 1
	AttrDisabled     = 1 << 3 // minor version 1
)

// Size returns the partition's size in bytes.
func (p Partition) Size() int64 {
	var n uint64
	for _, e := range p.Extents {
		n += e.Sectors
	}
	return int64(n) * SectorSize
}

// An Extent is a run of sectors of a logical partition.
type Extent struct {
	Sectors  uint64
	Zero     bool   // reads as zeros, and is nowhere
	Physical uint64 // first sector on the device
	Device   uint32 // index in Metadata.Devices; 0 is super itself
}

// A Group limits the size of the partitions in it.
type Group struct {
	Name    string // at most 36 bytes
	Flags   uint32
	MaxSize uint64 // bytes; 0 is no limit
}

// A Device is a block device that extents are on.
type Device struct {
	Name            string // of its partition, at most 36 bytes
	FirstSector     uint64 // that a logical partition may use
	Alignment       uint32 // bytes
	AlignmentOffset uint32 // bytes
	Size            uint64 // bytes
	Flags           uint32
}

// An Image is all of the metadata of a super partition.
type Image struct {
	Geometry Geometry
	Slots    []*Metadata // Geometry.SlotCount; nil: nothing was ever written there
}
