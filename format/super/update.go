package super

import (
	"bytes"
	"fmt"
	"io"

	"mios/internal/readat"
)

// Update replaces the metadata of slots of a super partition from which m was
// read by now, so that a cut at any moment leaves all of the old or all of the
// new in each slot: broken copies are made whole first, geometry included; then
// the backups are written, then, after a sync, the primary copies.
func (m *Image) Update(dev ReadWriterAt, slots []int, now *Metadata, sync func() error) error {
	enc, err := m.Geometry.encode(now)
	if err != nil {
		return err
	}
	next := make([]byte, m.Geometry.MetadataMaxSize)
	copy(next, enc)
	for _, slot := range slots {
		if slot < 0 || slot >= len(m.Slots) {
			return fmt.Errorf("super: metadata slot %d of %d", slot, len(m.Slots))
		}
	}
	if err := m.repair(dev, slots, sync); err != nil {
		return err
	}
	for _, backup := range []bool{true, false} {
		for _, slot := range slots {
			if _, err := dev.WriteAt(next, m.Geometry.offset(slot, backup)); err != nil {
				return err
			}
		}
		if err := sync(); err != nil {
			return err
		}
	}
	for _, slot := range slots {
		m.Slots[slot] = now
	}
	return nil
}

// repair writes copies that differ from what was read again: of the geometry,
// and of the slots. Only one of two copies can, since Read found the other.
func (m *Image) repair(dev ReadWriterAt, slots []int, sync func() error) error {
	g, err := m.Geometry.bytes()
	if err != nil {
		return err
	}
	wrote := false
	put := func(want []byte, off int64) error {
		have := make([]byte, len(want))
		if n, err := dev.ReadAt(have, off); n < len(have) && err != io.EOF {
			return err
		}
		if bytes.Equal(have, want) {
			return nil
		}
		wrote = true
		_, err := dev.WriteAt(want, off)
		return err
	}
	for _, off := range []int64{ReservedSize, ReservedSize + GeometrySize} {
		if err := put(g, off); err != nil {
			return err
		}
	}
	for _, slot := range slots {
		if m.Slots[slot] == nil {
			continue
		}
		enc, err := m.Geometry.encode(m.Slots[slot])
		if err != nil {
			return err
		}
		whole := append(enc, make([]byte, int(m.Geometry.MetadataMaxSize)-len(enc))...)
		for _, backup := range []bool{false, true} {
			if err := put(whole, m.Geometry.offset(slot, backup)); err != nil {
				return err
			}
		}
	}
	if wrote {
		return sync()
	}
	return nil
}

// Same returns the slots whose metadata is that of a slot, and the extents of
// the others, which are not free for it.
func (m *Image) Same(slot int) (same []int, others []Extent, err error) {
	if slot < 0 || slot >= len(m.Slots) || m.Slots[slot] == nil {
		return nil, nil, fmt.Errorf("super: metadata slot %d was never written: %d slots", slot, len(m.Slots))
	}
	want, err := m.Slots[slot].bytes()
	if err != nil {
		return nil, nil, err
	}
	for i, md := range m.Slots {
		if md == nil {
			continue
		}
		b, err := md.bytes()
		if err != nil {
			return nil, nil, err
		}
		if bytes.Equal(b, want) {
			same = append(same, i)
			continue
		}
		others = append(others, md.taken(nil)...)
	}
	return same, others, nil
}

// OthersThan returns the extents of all slots but one.
func (m *Image) OthersThan(slot int) []Extent {
	var list []Extent
	for i, md := range m.Slots {
		if md != nil && i != slot {
			list = append(list, md.taken(nil)...)
		}
	}
	return list
}

// A Reader reads a logical partition that may lie on several block devices.
type Reader struct {
	extents []Extent
	devices []io.ReaderAt
	size    int64
}

// Reader returns a reader of the partition of that name; devices are those of m,
// in their order, as many as it needs.
func (m *Metadata) Reader(name string, devices ...io.ReaderAt) (*Reader, error) {
	p := m.Find(name)
	if p == nil {
		return nil, fmt.Errorf("super: no logical partition %q", name)
	}
	for _, e := range p.Extents {
		if !e.Zero && int(e.Device) >= len(devices) {
			return nil, fmt.Errorf("super: %s: a part of it is on the block device %s: give its image too", name, m.Devices[e.Device].Name)
		}
	}
	return &Reader{p.Extents, devices, p.Size()}, nil
}

// Size returns the partition's size in bytes.
func (r *Reader) Size() int64 { return r.size }

// ReadAt reads from the partition.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= r.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), r.size-off)]
	done, at := 0, int64(0)
	for _, e := range r.extents {
		n := int64(e.Sectors) * SectorSize
		if in := off + int64(done) - at; done < len(p) && in < n {
			b := p[done:min(int64(len(p)), int64(done)+n-in)]
			if e.Zero {
				clear(b)
			} else if err := readat.Full(r.devices[e.Device], b, int64(e.Physical)*SectorSize+in); err != nil {
				return done, err
			}
			done += len(b)
		}
		at += n
	}
	if done < want {
		return done, io.EOF
	}
	return done, nil
}
