package super

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// parseTables reads the four tables, which stand at off, in liblp's
// order and without gaps.
func (m *Metadata) parseTables(h *header, b []byte, off int64) error {
	var parts []partitionEntry
	var extents []extentEntry
	var groups []groupEntry
	var devices []deviceEntry
	end := uint64(0)
	for _, t := range []struct {
		d    descriptor
		size uint32
		what string
		read func(n int, b []byte) error
	}{
		{h.Partitions, partitionSize, "partition", table(&parts)},
		{h.Extents, extentSize, "extent", table(&extents)},
		{h.Groups, groupSize, "group", table(&groups)},
		{h.Devices, deviceSize, "block device", table(&devices)},
	} {
		n := uint64(t.d.Count) * uint64(t.size)
		switch {
		case t.d.EntrySize != t.size || uint64(t.d.Offset) != end:
			return bad(off, "%s table at %d with entries of %d bytes, want %d and %d", t.what, t.d.Offset, t.d.EntrySize, end, t.size)
		case n > uint64(len(b))-end:
			return bad(off+int64(end), "%s table of %d entries passes the end", t.what, t.d.Count)
		}
		if err := t.read(int(t.d.Count), b[end:end+n]); err != nil {
			return bad(off+int64(end), "%s table: %v", t.what, err)
		}
		end += n
	}
	if end != uint64(len(b)) {
		return bad(off+int64(end), "%d bytes after the tables", uint64(len(b))-end)
	}
	if err := m.set(parts, extents, groups, devices); err != nil {
		return bad(off, "%v", err)
	}
	if err := m.check(); err != nil {
		return bad(off, "%v", err)
	}
	return nil
}

// table returns a function that reads n entries of a table from b into to.
func table[E any](to *[]E) func(n int, b []byte) error {
	return func(n int, b []byte) error {
		*to = make([]E, n) // no larger than b
		_, err := binary.Decode(b, binary.LittleEndian, *to)
		return err
	}
}

// set fills m from its tables.
func (m *Metadata) set(parts []partitionEntry, extents []extentEntry, groups []groupEntry, devices []deviceEntry) error {
	for i, g := range groups {
		name, ok := str(g.Name)
		if !ok {
			return fmt.Errorf("group %d: name has bytes after its end", i)
		}
		m.Groups = append(m.Groups, Group{name, g.Flags, g.MaxSize})
	}
	for i, d := range devices {
		name, ok := str(d.Name)
		if !ok {
			return fmt.Errorf("block device %d: name has bytes after its end", i)
		}
		m.Devices = append(m.Devices, Device{name, d.FirstSector, d.Alignment, d.AlignmentOffset, d.Size, d.Flags})
	}
	next := 0
	for i, e := range parts {
		name, ok := str(e.Name)
		switch {
		case !ok:
			return fmt.Errorf("partition %d: name has bytes after its end", i)
		case uint64(e.Group) >= uint64(len(m.Groups)):
			return fmt.Errorf("partition %q: group %d of %d", name, e.Group, len(m.Groups))
		case int(e.FirstExtent) != next || uint64(e.Extents) > uint64(len(extents)-next):
			return fmt.Errorf("partition %q: extents from %d, %d of them, want from %d, %d in all", name, e.FirstExtent, e.Extents, next, len(extents))
		}
		p := Partition{Name: name, Attributes: e.Attributes, Group: m.Groups[e.Group].Name}
		for _, x := range extents[next : next+int(e.Extents)] {
			if x.Target > targetZero || x.Target == targetZero && (x.Data != 0 || x.Source != 0) {
				return fmt.Errorf("partition %q: extent of type %d at %d", name, x.Target, x.Data)
			}
			p.Extents = append(p.Extents, Extent{x.Sectors, x.Target == targetZero, x.Data, x.Source})
		}
		next += int(e.Extents)
		m.Partitions = append(m.Partitions, p)
	}
	if next != len(extents) {
		return fmt.Errorf("%d extents that are no partition's", len(extents)-next)
	}
	return nil
}

// tables returns the encoded tables and sets their descriptors in h.
func (m *Metadata) tables(h *header) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("super: %w", err)
	}
	var parts []partitionEntry
	var extents []extentEntry
	var groups []groupEntry
	var devices []deviceEntry
	index := make(map[string]int)
	for i, g := range m.Groups {
		index[g.Name] = i
	}
	for _, p := range m.Partitions {
		parts = append(parts, partitionEntry{name(p.Name), p.Attributes, uint32(len(extents)), uint32(len(p.Extents)), uint32(index[p.Group])})
		for _, e := range p.Extents {
			x := extentEntry{e.Sectors, targetLinear, e.Physical, e.Device}
			if e.Zero {
				x.Target = targetZero
			}
			extents = append(extents, x)
		}
	}
	for _, g := range m.Groups {
		groups = append(groups, groupEntry{name(g.Name), g.Flags, g.MaxSize})
	}
	for _, d := range m.Devices {
		devices = append(devices, deviceEntry{d.FirstSector, d.Alignment, d.AlignmentOffset, d.Size, name(d.Name), d.Flags})
	}
	var b bytes.Buffer
	for _, t := range []struct {
		d       *descriptor
		n, size int
		entries any
	}{
		{&h.Partitions, len(parts), partitionSize, parts}, {&h.Extents, len(extents), extentSize, extents},
		{&h.Groups, len(groups), groupSize, groups}, {&h.Devices, len(devices), deviceSize, devices},
	} {
		*t.d = descriptor{uint32(b.Len()), uint32(t.n), uint32(t.size)}
		if err := binary.Write(&b, binary.LittleEndian, t.entries); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// check verifies what holds for all metadata: names are there once, and
// extents lie on their devices behind the metadata, without overlap.
func (m *Metadata) check() error {
	if len(m.Devices) == 0 {
		return fmt.Errorf("no block device")
	}
	n := names{seen: map[string]bool{}}
	for _, d := range m.Devices {
		if d.Size > maxDevice || d.FirstSector > d.Size/SectorSize {
			return fmt.Errorf("block device %q: sector %d of %d bytes, of which there may be %d", d.Name, d.FirstSector, d.Size, uint64(maxDevice))
		}
		n.add("block device", d.Name)
	}
	for _, g := range m.Groups {
		n.add("group", g.Name)
	}
	var used []Extent
	for _, p := range m.Partitions {
		n.add("partition", p.Name)
		if !n.seen["group "+p.Group] {
			return fmt.Errorf("partition %q: no group %q", p.Name, p.Group)
		}
		sum := uint64(0)
		for i, e := range p.Extents {
			sum += e.Sectors
			if e.Sectors == 0 || e.Sectors > 1<<50 || sum > 1<<50 {
				return fmt.Errorf("partition %q: extent %d of %d sectors", p.Name, i, e.Sectors)
			}
			if e.Zero {
				if e.Physical != 0 || e.Device != 0 {
					return fmt.Errorf("partition %q: extent %d of zeros has a place", p.Name, i)
				}
				continue
			}
			if err := m.onDevice(e); err != nil {
				return fmt.Errorf("partition %q: extent %d: %w", p.Name, i, err)
			}
			used = append(used, e)
		}
	}
	if n.err != nil {
		return n.err
	}
	return overlap(used)
}

// names collects names of several kinds, and the first that cannot be.
type names struct {
	seen map[string]bool
	err  error
}

func (n *names) add(kind, name string) {
	key := kind + " " + name
	if n.err == nil && (name == "" || len(name) > nameSize || strings.IndexByte(name, 0) >= 0 || n.seen[key]) {
		n.err = fmt.Errorf("%s %q: names must be there once and have 1 to %d bytes, none of them zero", kind, name, nameSize)
	}
	n.seen[key] = true
}

func (m *Metadata) onDevice(e Extent) error {
	if uint64(e.Device) >= uint64(len(m.Devices)) {
		return fmt.Errorf("block device %d of %d", e.Device, len(m.Devices))
	}
	d := m.Devices[e.Device]
	end := d.Size / SectorSize
	if e.Physical < d.FirstSector || e.Physical > end || e.Sectors > end-e.Physical {
		return fmt.Errorf("%d sectors from %d, %q has %d to %d", e.Sectors, e.Physical, d.Name, d.FirstSector, end)
	}
	return nil
}

// sortExtents sorts by place.
func sortExtents(list []Extent) {
	slices.SortFunc(list, func(a, b Extent) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Physical, b.Physical))
	})
}

// overlap refuses extents that share a sector.
func overlap(used []Extent) error {
	sortExtents(used)
	for i := 1; i < len(used); i++ {
		a, b := used[i-1], used[i]
		if a.Device == b.Device && b.Physical < a.Physical+a.Sectors {
			return fmt.Errorf("two extents share sector %d", b.Physical)
		}
	}
	return nil
}

// str returns the string in a name field, and whether only zeros follow it.
func str(f [nameSize]byte) (string, bool) {
	s, rest, _ := bytes.Cut(f[:], []byte{0})
	return string(s), allZero(rest)
}

func name(s string) (f [nameSize]byte) {
	copy(f[:], s)
	return f
}
