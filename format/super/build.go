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
}

// A PartitionSpec is a logical partition to be made.
type PartitionSpec struct {
	Name       string
	Group      string // "" is the group "default", which has no limit
	Attributes uint32
	Size       int64 // bytes, rounded up to the block size
}

// Build lays the partitions out in their order, each one linear extent, and
// returns the metadata, the same in all slots. It refuses what does not fit in
// its group or in the partition.
func Build(s Spec) (*Image, error) {
	s.defaults()
	g := Geometry{s.MetadataMaxSize, s.Slots, s.BlockSize}
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("super: %w", err)
	}
	if s.Alignment%s.BlockSize != 0 || s.Size < g.MetadataSize() || s.Size%int64(s.BlockSize) != 0 {
		return nil, fmt.Errorf("super: size %d, alignment %d: want multiples of the block of %d bytes", s.Size, s.Alignment, s.BlockSize)
	}
	align := int64(s.Alignment)
	next := roundUp(g.MetadataSize(), align)
	m := &Metadata{
		Groups:  append([]Group{{Name: "default"}}, s.Groups...),
		Devices: []Device{{Name: s.Name, FirstSector: uint64(next / SectorSize), Alignment: s.Alignment, Size: uint64(s.Size)}},
	}
	used := map[string]uint64{}
	for _, p := range s.Partitions {
		if p.Group == "" {
			p.Group = "default"
		}
		size := roundUp(p.Size, int64(s.BlockSize))
		if size < 0 || size > s.Size-next {
			return nil, fmt.Errorf("super: %s: %d bytes do not fit after %d of %d: make super larger", p.Name, p.Size, next, s.Size)
		}
		used[p.Group] += uint64(size)
		i := slices.IndexFunc(m.Groups, func(g Group) bool { return g.Name == p.Group })
		if i >= 0 && m.Groups[i].MaxSize > 0 && used[p.Group] > m.Groups[i].MaxSize {
			return nil, fmt.Errorf("super: %s: its group %s holds %d bytes, now %d: make the group larger", p.Name, p.Group, m.Groups[i].MaxSize, used[p.Group])
		}
		part := Partition{Name: p.Name, Attributes: p.Attributes, Group: p.Group}
		if size > 0 {
			part.Extents = []Extent{{Sectors: uint64(size / SectorSize), Physical: uint64(next / SectorSize)}}
		}
		m.Partitions = append(m.Partitions, part)
		next = min(roundUp(next+size, align), s.Size)
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
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
