package super

import (
	"fmt"
	"math"
	"slices"
)

// DefaultGroup is the group that all metadata of AOSP's tools has; it has no
// limit.
const DefaultGroup = "default"

// FlagSlotSuffixed marks a Group or a Device whose name needs a slot's suffix.
const FlagSlotSuffixed = 1 << 0

// Clone returns a copy that shares nothing with m.
func (m *Metadata) Clone() *Metadata {
	c := *m
	c.Groups, c.Devices, c.Partitions = slices.Clone(m.Groups), slices.Clone(m.Devices), slices.Clone(m.Partitions)
	for i := range c.Partitions {
		c.Partitions[i].Extents = slices.Clone(c.Partitions[i].Extents)
	}
	return &c
}

// Find returns the partition of that name, or nil.
func (m *Metadata) Find(name string) *Partition {
	i := slices.IndexFunc(m.Partitions, func(p Partition) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Partitions[i]
}

func (m *Metadata) group(name string) *Group {
	i := slices.IndexFunc(m.Groups, func(g Group) bool { return g.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Groups[i]
}

// Used returns how many bytes the partitions of a group take.
func (m *Metadata) Used(group string) uint64 {
	n := uint64(0)
	for _, p := range m.Partitions {
		if p.Group == group {
			n += p.onDisk()
		}
	}
	return n * SectorSize
}

// onDisk returns how many sectors the partition takes.
func (p *Partition) onDisk() uint64 {
	n := uint64(0)
	for _, e := range p.Extents {
		if !e.Zero {
			n += e.Sectors
		}
	}
	return n
}

// Add adds a partition without extents.
func (m *Metadata) Add(p Partition) error {
	switch {
	case p.Name == "" || len(p.Name) > nameSize:
		return fmt.Errorf("super: partition %q: a name must be there once and have 1 to %d bytes", p.Name, nameSize)
	case m.Find(p.Name) != nil:
		return fmt.Errorf("super: partition %q: names must be there once", p.Name)
	case m.group(p.Group) == nil:
		return fmt.Errorf("super: partition %q: no group %q", p.Name, p.Group)
	}
	if p.Attributes&(AttrUpdated|AttrDisabled) != 0 {
		m.Minor = max(m.Minor, 1)
	}
	p.Extents = nil
	m.Partitions = append(m.Partitions, p)
	return nil
}

// Remove removes a partition.
func (m *Metadata) Remove(name string) error {
	if m.Find(name) == nil {
		return fmt.Errorf("super: no logical partition %q", name)
	}
	m.Partitions = slices.DeleteFunc(m.Partitions, func(p Partition) bool { return p.Name == name })
	return nil
}

// SetGroup adds a group, or gives one another limit in bytes, 0 for none.
func (m *Metadata) SetGroup(name string, limit uint64) error {
	g := m.group(name)
	switch {
	case name == DefaultGroup:
		return fmt.Errorf("super: the group %s has no limit, and keeps none", name)
	case g == nil:
		m.Groups = append(m.Groups, Group{Name: name, MaxSize: limit})
	case limit > 0 && m.Used(name) > limit:
		return fmt.Errorf("super: group %s: its partitions take %d bytes: more than %d", name, m.Used(name), limit)
	default:
		g.MaxSize = limit
	}
	return nil
}

// RemoveGroup removes a group without partitions.
func (m *Metadata) RemoveGroup(name string) error {
	i := slices.IndexFunc(m.Groups, func(g Group) bool { return g.Name == name })
	switch {
	case i < 0 || name == DefaultGroup:
		return fmt.Errorf("super: no group %q that can be removed", name)
	case slices.ContainsFunc(m.Partitions, func(p Partition) bool { return p.Group == name }):
		return fmt.Errorf("super: group %s has partitions: remove them first", name)
	}
	m.Groups = slices.Delete(m.Groups, i, i+1)
	return nil
}

// Resize makes a partition size bytes long, rounded up to the geometry's
// blocks. What it loses is its end, what it gets is the first free places that
// no extent in avoid takes, as AOSP's MetadataBuilder does. On an error, m is as
// it was.
func (m *Metadata) Resize(name string, size int64, g Geometry, avoid ...Extent) error {
	p := m.Find(name)
	if p == nil {
		return fmt.Errorf("super: no logical partition %q", name)
	}
	if size < 0 || size > math.MaxInt64/2 {
		return fmt.Errorf("super: %s: size %d", name, size)
	}
	want, have := uint64(roundUp(size, int64(g.BlockSize))/SectorSize), uint64(p.Size()/SectorSize)
	if want <= have {
		p.shrink(have - want)
		return nil
	}
	if l := m.group(p.Group); l != nil && l.MaxSize > 0 {
		if used := m.Used(l.Name); used >= l.MaxSize || l.MaxSize-used < (want-have)*SectorSize {
			return fmt.Errorf("super: %s: its group %s holds %d bytes, now %d: make the group larger",
				name, l.Name, l.MaxSize, used+(want-have)*SectorSize)
		}
	}
	return m.grow(p, want-have, uint64(g.BlockSize/SectorSize), avoid)
}

// shrink takes sectors off a partition's end.
func (p *Partition) shrink(n uint64) {
	p.Extents = slices.Clone(p.Extents)
	for n > 0 {
		last := &p.Extents[len(p.Extents)-1]
		if last.Sectors > n {
			last.Sectors -= n
			return
		}
		n -= last.Sectors
		p.Extents = p.Extents[:len(p.Extents)-1]
	}
	if len(p.Extents) == 0 {
		p.Extents = nil
	}
}

// grow adds n sectors to a partition, in whole blocks.
func (m *Metadata) grow(p *Partition, n, block uint64, avoid []Extent) error {
	extents, asked := slices.Clone(p.Extents), n
	taken := m.taken(avoid)
	if tail, ok := m.tail(p, n, taken); ok { // what alignment would waste
		extents = appendExtent(extents, tail)
		n -= tail.Sectors
	}
	for _, r := range m.free(taken) {
		if r.Sectors -= r.Sectors % block; r.Sectors == 0 || n == 0 {
			continue
		}
		r.Sectors = min(r.Sectors, n)
		extents = appendExtent(extents, r)
		n -= r.Sectors
	}
	if n > 0 {
		return fmt.Errorf("super: %s: %d bytes more are needed and %d are free: they do not fit: make super larger", p.Name, asked*SectorSize, (asked-n)*SectorSize)
	}
	p.Extents = extents
	return nil
}

// appendExtent appends an extent, and joins it with the last if it follows it.
func appendExtent(list []Extent, e Extent) []Extent {
	if n := len(list); n > 0 {
		last := &list[n-1]
		if !last.Zero && last.Device == e.Device && last.Physical+last.Sectors == e.Physical {
			last.Sectors += e.Sectors
			return list
		}
	}
	return append(list, e)
}

// taken returns the places of all extents and of those in avoid, sorted.
func (m *Metadata) taken(avoid []Extent) []Extent {
	list := slices.Clone(avoid)
	for _, p := range m.Partitions {
		list = append(list, p.Extents...)
	}
	list = slices.DeleteFunc(list, func(e Extent) bool { return e.Zero || uint64(e.Device) >= uint64(len(m.Devices)) })
	sortExtents(list)
	return list
}

// align returns the first aligned sector of a device from a sector on.
func (d *Device) align(sector uint64) uint64 {
	if d.Alignment == 0 {
		return sector
	}
	bytes := uint64(roundUp(int64(sector*SectorSize), int64(d.Alignment)))
	return (bytes + SectorSize - 1) / SectorSize
}

// tail returns the rest of the aligned piece that a partition ends in, at most n
// sectors, if nothing takes it.
func (m *Metadata) tail(p *Partition, n uint64, taken []Extent) (Extent, bool) {
	if len(p.Extents) == 0 || p.Extents[len(p.Extents)-1].Zero {
		return Extent{}, false
	}
	last := p.Extents[len(p.Extents)-1]
	d := &m.Devices[last.Device]
	end := last.Physical + last.Sectors
	stop := min(d.align(end), d.Size/SectorSize)
	if stop <= end {
		return Extent{}, false
	}
	e := Extent{Sectors: min(stop-end, n), Physical: end, Device: last.Device}
	for _, x := range taken {
		if x.Device == e.Device && x.Physical < e.Physical+e.Sectors && e.Physical < x.Physical+x.Sectors {
			return Extent{}, false
		}
	}
	return e, true
}

// free returns the aligned places that nothing takes, device by device.
func (m *Metadata) free(taken []Extent) []Extent {
	var list []Extent
	for i := range m.Devices {
		d := &m.Devices[i]
		at, end := d.align(d.FirstSector), d.Size/SectorSize
		for _, e := range taken {
			if e.Device != uint32(i) {
				continue
			}
			if at < e.Physical {
				list = append(list, Extent{Sectors: e.Physical - at, Physical: at, Device: uint32(i)})
			}
			at = max(at, d.align(e.Physical+e.Sectors))
		}
		if at < end {
			list = append(list, Extent{Sectors: end - at, Physical: at, Device: uint32(i)})
		}
	}
	return list
}

// Free returns how many bytes partitions may still take, besides the ends of
// aligned pieces.
func (m *Metadata) Free() uint64 {
	n := uint64(0)
	for _, e := range m.free(m.taken(nil)) {
		n += e.Sectors
	}
	return n * SectorSize
}
