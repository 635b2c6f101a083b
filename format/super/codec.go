package super

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	geometryMagic = 0x616c4467 // "gDla"
	headerMagic   = 0x414c5030 // "0PLA"
	major         = 10
	maxMinor      = 2
	headerV0      = 128 // bytes of the header to minor version 1
	headerV2      = 256 // and from 2 on
	geometryBytes = 52

	// Limits on what a geometry may claim, far above what devices use.
	maxMetadata = 1 << 20
	maxSlots    = 8
	maxDevice   = 1 << 58 // bytes

	targetLinear = 0
	targetZero   = 1
)

// The layouts on disk, little-endian.

// geometry is LpMetadataGeometry.
type geometry struct {
	Magic, Size uint32
	Checksum    [32]byte
	Geometry
}

// header is LpMetadataHeader to minor version 1; 2 adds flags and 124 bytes.
type header struct {
	Magic                                uint32
	Major, Minor                         uint16
	Size                                 uint32
	Checksum                             [32]byte
	TablesSize                           uint32
	TablesChecksum                       [32]byte
	Partitions, Extents, Groups, Devices descriptor
}

// descriptor is LpMetadataTableDescriptor.
type descriptor struct{ Offset, Count, EntrySize uint32 }

// The entries of the four tables.
type (
	partitionEntry struct {
		Name                        [nameSize]byte
		Attributes                  uint32
		FirstExtent, Extents, Group uint32
	}
	extentEntry struct {
		Sectors uint64
		Target  uint32
		Data    uint64
		Source  uint32
	}
	groupEntry struct {
		Name    [nameSize]byte
		Flags   uint32
		MaxSize uint64
	}
	deviceEntry struct {
		FirstSector                uint64
		Alignment, AlignmentOffset uint32
		Size                       uint64
		Name                       [nameSize]byte
		Flags                      uint32
	}
)

const (
	headerChecksumOff   = 12 // of the checksum in the header
	geometryChecksumOff = 8
	nameSize            = 36
	partitionSize       = 52
	extentSize          = 24
	groupSize           = 48
	deviceSize          = 64
)

func bad(off int64, format string, args ...any) error {
	return &FormatError{off, fmt.Sprintf(format, args...)}
}

// sumWithout returns the SHA-256 of b with the 32 bytes at off taken as zeros.
func sumWithout(b []byte, off int) [32]byte {
	c := bytes.Clone(b)
	clear(c[off : off+32])
	return sha256.Sum256(c)
}

// parseGeometry reads the geometry block b, which stands at off.
func parseGeometry(b []byte, off int64) (Geometry, error) {
	var g geometry
	if len(b) < GeometrySize {
		return Geometry{}, bad(off, "geometry: %d bytes left, want %d", len(b), GeometrySize)
	}
	if _, err := binary.Decode(b, binary.LittleEndian, &g); err != nil {
		return Geometry{}, bad(off, "geometry: %v", err)
	}
	switch {
	case g.Magic != geometryMagic:
		return Geometry{}, bad(off, "geometry's magic is %#x, want %#x", g.Magic, uint32(geometryMagic))
	case g.Size != geometryBytes:
		return Geometry{}, bad(off+4, "geometry of %d bytes, want %d", g.Size, geometryBytes)
	case sumWithout(b[:geometryBytes], geometryChecksumOff) != g.Checksum:
		return Geometry{}, bad(off+geometryChecksumOff, "geometry's checksum is wrong")
	case !allZero(b[geometryBytes:GeometrySize]):
		return Geometry{}, bad(off+geometryBytes, "bytes after the geometry are not zero")
	}
	if err := g.check(); err != nil {
		return Geometry{}, bad(off+40, "%v", err)
	}
	return g.Geometry, nil
}

func (g Geometry) check() error {
	switch {
	case g.MetadataMaxSize == 0 || g.MetadataMaxSize%SectorSize != 0 || g.MetadataMaxSize > maxMetadata:
		return fmt.Errorf("metadata slot of %d bytes, want a multiple of %d up to %d", g.MetadataMaxSize, SectorSize, maxMetadata)
	case g.SlotCount == 0 || g.SlotCount > maxSlots:
		return fmt.Errorf("%d metadata slots, want 1 to %d", g.SlotCount, maxSlots)
	case g.BlockSize == 0 || g.BlockSize%SectorSize != 0:
		return fmt.Errorf("block of %d bytes, want a multiple of %d", g.BlockSize, SectorSize)
	}
	return nil
}

// bytes returns the geometry's block.
func (g Geometry) bytes() ([]byte, error) {
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("super: %w", err)
	}
	b, err := binary.Append(make([]byte, 0, GeometrySize), binary.LittleEndian, geometry{Magic: geometryMagic, Size: geometryBytes, Geometry: g})
	if err != nil {
		return nil, err
	}
	sum := sumWithout(b, geometryChecksumOff)
	copy(b[geometryChecksumOff:], sum[:])
	return b[:GeometrySize], nil
}

// parseMetadata reads the metadata at the start of b, which stands at off, and
// returns how many bytes of b it takes.
func parseMetadata(b []byte, off int64) (*Metadata, int, error) {
	var h header
	if _, err := binary.Decode(b, binary.LittleEndian, &h); err != nil {
		return nil, 0, bad(off, "metadata: %d bytes left, want %d", len(b), headerV0)
	}
	want := uint32(headerV0)
	if h.Minor >= 2 {
		want = headerV2
	}
	switch {
	case h.Magic != headerMagic:
		return nil, 0, bad(off, "metadata's magic is %#x, want %#x", h.Magic, uint32(headerMagic))
	case h.Major != major || h.Minor > maxMinor:
		return nil, 0, bad(off+4, "version %d.%d, want %d.0 to %d.%d", h.Major, h.Minor, major, major, maxMinor)
	case h.Size != want || len(b) < int(want):
		return nil, 0, bad(off+8, "header of %d bytes in %d, want %d", h.Size, len(b), want)
	case sumWithout(b[:want], headerChecksumOff) != h.Checksum:
		return nil, 0, bad(off+headerChecksumOff, "header's checksum is wrong")
	case uint64(h.TablesSize) > uint64(len(b))-uint64(want):
		return nil, 0, bad(off+44, "tables of %d bytes pass the end of the slot", h.TablesSize)
	}
	tables := b[want : want+h.TablesSize]
	if sha256.Sum256(tables) != h.TablesChecksum {
		return nil, 0, bad(off+48, "tables' checksum is wrong")
	}
	m := &Metadata{Minor: h.Minor}
	if want == headerV2 {
		m.Flags = binary.LittleEndian.Uint32(b[headerV0:])
		if !allZero(b[headerV0+4 : headerV2]) {
			return nil, 0, bad(off+headerV0+4, "reserved bytes are not zero")
		}
	}
	if err := m.parseTables(&h, tables, off+int64(want)); err != nil {
		return nil, 0, err
	}
	return m, int(want + h.TablesSize), nil
}

// bytes returns the encoded metadata.
func (m *Metadata) bytes() ([]byte, error) {
	if m.Minor > maxMinor || m.Minor < 2 && m.Flags != 0 {
		return nil, fmt.Errorf("super: version 10.%d with the flags %#x: flags need 10.2", m.Minor, m.Flags)
	}
	h := header{Magic: headerMagic, Major: major, Minor: m.Minor, Size: headerV0}
	if m.Minor >= 2 {
		h.Size = headerV2
	}
	tables, err := m.tables(&h)
	if err != nil {
		return nil, err
	}
	h.TablesSize, h.TablesChecksum = uint32(len(tables)), sha256.Sum256(tables)
	b, err := binary.Append(make([]byte, 0, int(h.Size)+len(tables)), binary.LittleEndian, h)
	if err != nil {
		return nil, err
	}
	b = b[:h.Size]
	if m.Minor >= 2 {
		binary.LittleEndian.PutUint32(b[headerV0:], m.Flags)
	}
	sum := sumWithout(b, headerChecksumOff)
	copy(b[headerChecksumOff:], sum[:])
	return append(b, tables...), nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
