package super

import (
	"errors"
	"io"
)

var errNew = errors.New("super: only the API is here")

// Read reads the metadata of all slots from the super partition r, each from
// its backup if the primary copy is broken. damage says what is broken; nil if
// nothing is. It fails if both copies of the geometry or of a slot are broken.
func Read(r io.ReaderAt) (m *Image, damage []error, err error) { return nil, nil, errNew }

// ReadSlot reads the metadata of one slot, from its backup if the primary copy
// is broken.
func ReadSlot(r io.ReaderAt, slot int) (*Metadata, error) { return nil, errNew }

// WriteDisk writes the reserved area, both geometries and both copies of all
// slots to a super partition.
func (m *Image) WriteDisk(w io.WriterAt) error { return errNew }

// ReadEmpty reads an image file without partitions' data, as lpmake writes it
// (super_empty.img): one geometry and one metadata.
func ReadEmpty(b []byte) (Geometry, *Metadata, error) { return Geometry{}, nil, errNew }

// WriteEmpty is the inverse of [ReadEmpty].
func WriteEmpty(w io.Writer, g Geometry, m *Metadata) error { return errNew }

// A Spec says which super partition [Build] makes.
type Spec struct {
	Name            string // of the partition on the disk; "" is "super"
	Size            int64  // bytes
	MetadataMaxSize uint32 // bytes; 0 is 65536
	Slots           uint32 // 0 is 2
	Alignment       uint32 // bytes; 0 is 1 MiB
	BlockSize       uint32 // bytes; 0 is 4096
	Groups          []Group
	Partitions      []PartitionSpec
}

// A PartitionSpec is a logical partition to be made.
type PartitionSpec struct {
	Name       string
	Group      string
	Attributes uint32
	Size       int64 // bytes, rounded up to the block size
}

// Build lays the partitions out in their order, each one linear extent, and
// returns the metadata, the same in all slots. It refuses what does not fit in
// its group or in the partition.
func Build(s Spec) (*Image, error) { return nil, errNew }

// A Run maps sectors of a logical partition.
type Run struct {
	Sector   uint64 // first, in the logical partition
	Count    uint64 // sectors
	Zero     bool   // reads as zeros
	Physical uint64 // first sector on super
}

// Map returns the runs of a logical partition, in order and without gaps. It
// refuses extents on another device than super itself.
func (m *Metadata) Map(name string) ([]Run, error) { return nil, errNew }

// A Volume reads and writes a logical partition.
type Volume struct {
	dev  ReadWriterAt
	runs []Run
	size int64
}

// A ReadWriterAt is a super partition.
type ReadWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// Open returns the logical partition of that name on dev.
func (m *Metadata) Open(name string, dev ReadWriterAt) (*Volume, error) { return nil, errNew }

// Size returns the partition's size in bytes.
func (v *Volume) Size() int64 { return v.size }

// ReadAt reads from the partition.
func (v *Volume) ReadAt(p []byte, off int64) (int, error) { return 0, errNew }

// WriteAt writes to the partition; bytes past its end and bytes for extents of
// zeros are refused.
func (v *Volume) WriteAt(p []byte, off int64) (int, error) { return 0, errNew }
