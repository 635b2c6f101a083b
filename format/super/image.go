package super

import (
	"errors"
	"fmt"
	"io"
)

// offset returns where a slot's metadata stands, in bytes; backup picks its
// second copy.
func (g Geometry) offset(slot int, backup bool) int64 {
	off := int64(ReservedSize+2*GeometrySize) + int64(slot)*int64(g.MetadataMaxSize)
	if backup {
		off += int64(g.SlotCount) * int64(g.MetadataMaxSize)
	}
	return off
}

// MetadataSize returns how many bytes at the start of super are not for
// partitions.
func (g Geometry) MetadataSize() int64 { return g.offset(int(g.SlotCount), true) }

// Read reads the metadata of all slots from the super partition r, each from
// its backup if the primary copy is broken. damage says what is broken; nil if
// nothing is. It fails if both copies of the geometry or of a slot are broken.
// A slot of zeros in both copies was never written, and is nil.
func Read(r io.ReaderAt) (m *Image, damage []error, err error) {
	g, damage, err := readGeometry(r)
	if err != nil {
		return nil, nil, err
	}
	m = &Image{Geometry: g, Slots: make([]*Metadata, g.SlotCount)}
	for i := range m.Slots {
		md, d, err := g.readSlot(r, i)
		if err != nil {
			return nil, nil, err
		}
		m.Slots[i] = md
		damage = append(damage, d...)
	}
	return m, damage, nil
}

// ReadSlot reads the metadata of one slot, from its backup if the primary copy
// is broken.
func ReadSlot(r io.ReaderAt, slot int) (*Metadata, error) {
	g, _, err := readGeometry(r)
	if err != nil {
		return nil, err
	}
	if slot < 0 || slot >= int(g.SlotCount) {
		return nil, fmt.Errorf("super: metadata slot %d of %d", slot, g.SlotCount)
	}
	m, _, err := g.readSlot(r, slot)
	if err == nil && m == nil {
		err = bad(g.offset(slot, false), "metadata slot %d was never written", slot)
	}
	return m, err
}

func readGeometry(r io.ReaderAt) (Geometry, []error, error) {
	var found []Geometry
	var damage []error
	for _, off := range []int64{ReservedSize, ReservedSize + GeometrySize} {
		b := make([]byte, GeometrySize)
		if _, err := r.ReadAt(b, off); err != nil {
			return Geometry{}, nil, fmt.Errorf("super: read geometry: %w", err)
		}
		g, err := parseGeometry(b, off)
		if err != nil {
			damage = append(damage, err)
			continue
		}
		found = append(found, g)
	}
	switch {
	case len(found) == 0:
		return Geometry{}, nil, errors.Join(damage...)
	case len(found) == 2 && found[0] != found[1]:
		damage = append(damage, bad(ReservedSize+GeometrySize, "the backup of the geometry differs"))
	}
	return found[0], damage, nil
}

// readSlot reads one slot. It is nil if both copies are zeros.
func (g Geometry) readSlot(r io.ReaderAt, slot int) (*Metadata, []error, error) {
	var found [2]*Metadata
	var raw [2][]byte
	var damage []error
	for i := range found {
		off := g.offset(slot, i == 1)
		raw[i] = make([]byte, g.MetadataMaxSize)
		if _, err := r.ReadAt(raw[i], off); err != nil {
			return nil, nil, fmt.Errorf("super: read metadata slot %d: %w", slot, err)
		}
		if allZero(raw[i]) {
			damage = append(damage, bad(off, "metadata slot %d: copy %d was never written", slot, i))
			continue
		}
		m, n, err := parseMetadata(raw[i], off)
		if err == nil && !allZero(raw[i][n:]) {
			err = bad(off+int64(n), "bytes after the metadata are not zero")
		}
		if err == nil && m.Devices[0].FirstSector < uint64(g.MetadataSize()/SectorSize) {
			err = bad(off, "partitions may begin at sector %d, in the metadata", m.Devices[0].FirstSector)
		}
		if err != nil {
			damage = append(damage, err)
			continue
		}
		found[i] = m
	}
	switch {
	case found[0] != nil && found[1] != nil && string(raw[0]) != string(raw[1]):
		damage = append(damage, bad(g.offset(slot, true), "metadata slot %d: the backup differs", slot))
	case found[0] == nil && found[1] == nil && allZero(raw[0]) && allZero(raw[1]):
		return nil, nil, nil
	case found[0] == nil && found[1] == nil:
		return nil, nil, errors.Join(damage...)
	case found[0] == nil:
		return found[1], damage, nil
	}
	return found[0], damage, nil
}

// WriteDisk writes the reserved area, both geometries and both copies of all
// slots to a super partition. A nil slot is written as zeros.
func (m *Image) WriteDisk(w io.WriterAt) error {
	if len(m.Slots) != int(m.Geometry.SlotCount) {
		return fmt.Errorf("super: %d slots, the geometry has %d", len(m.Slots), m.Geometry.SlotCount)
	}
	g, err := m.Geometry.bytes()
	if err != nil {
		return err
	}
	b := make([]byte, m.Geometry.MetadataSize())
	copy(b[ReservedSize:], g)
	copy(b[ReservedSize+GeometrySize:], g)
	for i, md := range m.Slots {
		if md == nil {
			continue
		}
		enc, err := m.Geometry.encode(md)
		if err != nil {
			return fmt.Errorf("metadata slot %d: %w", i, err)
		}
		copy(b[m.Geometry.offset(i, false):], enc)
		copy(b[m.Geometry.offset(i, true):], enc)
	}
	_, err = w.WriteAt(b, 0)
	return err
}

// WriteSlot writes both copies of one slot of a super partition whose geometry
// is there already: the primary copy, then sync, then the backup, so that a
// cut at any moment leaves one whole.
func WriteSlot(dev ReadWriterAt, slot int, m *Metadata, sync func() error) error {
	g, _, err := readGeometry(dev)
	if err != nil {
		return err
	}
	if slot < 0 || slot >= int(g.SlotCount) {
		return fmt.Errorf("super: metadata slot %d of %d", slot, g.SlotCount)
	}
	enc, err := g.encode(m)
	if err != nil {
		return err
	}
	b := make([]byte, g.MetadataMaxSize)
	copy(b, enc)
	for _, backup := range []bool{false, true} {
		if _, err := dev.WriteAt(b, g.offset(slot, backup)); err != nil {
			return err
		}
		if err := sync(); err != nil {
			return err
		}
	}
	return nil
}

// encode returns the metadata's bytes, and refuses what does not fit.
func (g Geometry) encode(m *Metadata) ([]byte, error) {
	b, err := m.bytes()
	switch {
	case err != nil:
		return nil, err
	case len(b) > int(g.MetadataMaxSize):
		return nil, fmt.Errorf("super: metadata of %d bytes, a slot holds %d", len(b), g.MetadataMaxSize)
	case m.Devices[0].FirstSector < uint64(g.MetadataSize()/SectorSize):
		return nil, fmt.Errorf("super: partitions may begin at sector %d, in the metadata of %d bytes", m.Devices[0].FirstSector, g.MetadataSize())
	}
	return b, nil
}

// ReadEmpty reads an image file without partitions' data, as lpmake writes it
// (super_empty.img): one geometry and one metadata, which fill b.
func ReadEmpty(b []byte) (Geometry, *Metadata, error) {
	g, err := parseGeometry(b, 0)
	if err != nil {
		return Geometry{}, nil, err
	}
	m, n, err := parseMetadata(b[GeometrySize:], GeometrySize)
	if err != nil {
		return Geometry{}, nil, err
	}
	if n != len(b)-GeometrySize || n > int(g.MetadataMaxSize) {
		return Geometry{}, nil, bad(GeometrySize, "metadata of %d bytes in a file with room for %d and slots of %d", n, len(b)-GeometrySize, g.MetadataMaxSize)
	}
	return g, m, nil
}

// WriteEmpty is the inverse of [ReadEmpty].
func WriteEmpty(w io.Writer, g Geometry, m *Metadata) error {
	head, err := g.bytes()
	if err != nil {
		return err
	}
	b, err := m.bytes()
	if err != nil {
		return err
	}
	if len(b) > int(g.MetadataMaxSize) {
		return fmt.Errorf("super: metadata of %d bytes, a slot holds %d", len(b), g.MetadataMaxSize)
	}
	_, err = w.Write(append(head, b...))
	return err
}
