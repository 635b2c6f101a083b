package super

import (
	"fmt"
	"slices"
)

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

	// Devices, if there are any, take the place of Size and Alignment: block
	// devices that the partitions are spread over, of which the one called Name
	// holds the metadata (a retrofit). Its FirstSector is set by Build.
	Devices []Device
	// SlotSuffixed marks names that need a slot's suffix, as lpmake's
	// --auto-slot-suffixing; VirtualAB marks a device with Virtual A/B.
	SlotSuffixed, VirtualAB bool
}

// A PartitionSpec is a logical partition to be made.
type PartitionSpec struct {
	Name       string
	Group      string // "" is the group "default", which has no limit
	Attributes uint32
	Size       int64 // bytes, rounded up to the block size
}

// Build lays the partitions out in their order, each at the first free place,
// as AOSP's lpmake does, and returns the metadata, the same in all slots. It
// refuses what does not fit in its group or in the partition.
func Build(s Spec) (*Image, error) {
	s.defaults()
	g := Geometry{s.MetadataMaxSize, s.Slots, s.BlockSize}
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("super: %w", err)
	}
	m := &Metadata{Groups: append([]Group{{Name: DefaultGroup}}, s.Groups...)}
	if s.VirtualAB {
		m.Minor, m.Flags = 2, FlagVirtualAB
	}
	if err := m.addDevices(g, &s); err != nil {
		return nil, err
	}
	for _, p := range s.Partitions {
		if p.Group == "" {
			p.Group = DefaultGroup
		}
		if err := m.Add(Partition{Name: p.Name, Attributes: p.Attributes, Group: p.Group}); err != nil {
			return nil, err
		}
		if err := m.Resize(p.Name, p.Size, g); err != nil {
			return nil, err
		}
	}
	if s.SlotSuffixed {
		m.markSuffixed()
	}
	if _, err := g.encode(m); err != nil {
		return nil, err
	}
	img := &Image{Geometry: g}
	for range s.Slots {
		img.Slots = append(img.Slots, m)
	}
	return img, nil
}

func (s *Spec) defaults() {
	if s.Name == "" {
		s.Name = "super"
	}
	for _, d := range []struct {
		v   *uint32
		def uint32
	}{{&s.MetadataMaxSize, 64 << 10}, {&s.Slots, 2}, {&s.Alignment, 1 << 20}, {&s.BlockSize, 4096}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if len(s.Devices) == 0 {
		s.Devices = []Device{{Name: s.Name, Size: uint64(max(0, s.Size)), Alignment: s.Alignment}}
	}
}

// addDevices adds the block devices, the one with the metadata first, and sets
// where each has room for partitions.
func (m *Metadata) addDevices(g Geometry, s *Spec) error {
	for _, d := range s.Devices {
		block := uint64(g.BlockSize)
		if d.Size%block != 0 || d.Size > 1<<58 || d.Alignment%SectorSize != 0 || d.AlignmentOffset%SectorSize != 0 {
			return fmt.Errorf("super: %s: size %d, alignment %d, offset %d: want a size of whole blocks of %d bytes, and the others of whole sectors of %d",
				d.Name, d.Size, d.Alignment, d.AlignmentOffset, block, SectorSize)
		}
		start, align := int64(SectorSize), int64(d.Alignment)
		if d.Name == s.Name {
			start = g.MetadataSize()
		}
		if align == 0 {
			align = int64(block)
		}
		d.FirstSector = uint64(roundUp(start, align) / SectorSize)
		if d.Size < d.FirstSector*SectorSize+block {
			return fmt.Errorf("super: %s: %d bytes are too few: the first partition begins after %d", d.Name, d.Size, d.FirstSector*SectorSize)
		}
		if d.Name == s.Name {
			m.Devices = slices.Insert(m.Devices, 0, d)
		} else {
			m.Devices = append(m.Devices, d)
		}
	}
	if m.Devices[0].Name != s.Name {
		return fmt.Errorf("super: no block device is called %s, which the metadata goes to", s.Name)
	}
	return nil
}

// markSuffixed marks all names but the default group's.
func (m *Metadata) markSuffixed() {
	for i := range m.Devices {
		m.Devices[i].Flags |= FlagSlotSuffixed
	}
	for i := range m.Groups {
		if m.Groups[i].Name != DefaultGroup {
			m.Groups[i].Flags |= FlagSlotSuffixed
		}
	}
	for i := range m.Partitions {
		m.Partitions[i].Attributes |= AttrSlotSuffixed
	}
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
