package super

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// bitNames returns the names of the set bits, with commas between, or "none".
func bitNames(bits uint32, names ...string) string {
	var list []string
	for i, name := range names {
		if bits&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	if list == nil {
		return "none"
	}
	return strings.Join(list, ",")
}

// AttributeNames returns lpdump's names of a partition's attributes.
func (p *Partition) AttributeNames() string {
	return bitNames(p.Attributes, "readonly", "slot-suffixed", "updated", "disabled")
}

// FlagNames returns lpdump's names of the flags in the header.
func (m *Metadata) FlagNames() string {
	names := []string{"virtual_ab_device"}
	for i := 1; i < 32; i++ {
		names = append(names, "unknown_flag_bit_"+strconv.Itoa(i))
	}
	return bitNames(m.Flags, names...)
}

const ruler = "------------------------\n"

// Text returns what lpdump prints of one slot's metadata, without the line that
// names the slot.
func (m *Metadata) Text(g Geometry) (string, error) {
	b, err := m.bytes()
	if err != nil {
		return "", err
	}
	var t strings.Builder
	fmt.Fprintf(&t, "Metadata version: %d.%d\n", major, m.Minor)
	fmt.Fprintf(&t, "Metadata size: %d bytes\nMetadata max size: %d bytes\nMetadata slot count: %d\n", len(b), g.MetadataMaxSize, g.SlotCount)
	fmt.Fprintf(&t, "Header flags: %s\nPartition table:\n%s", m.FlagNames(), ruler)
	for i := range m.Partitions {
		p := &m.Partitions[i]
		fmt.Fprintf(&t, "  Name: %s\n  Group: %s\n  Attributes: %s\n  Extents:\n", p.Name, p.Group, p.AttributeNames())
		first := uint64(0)
		for _, e := range p.Extents {
			fmt.Fprintf(&t, "    %d .. %d ", first, first+e.Sectors-1)
			first += e.Sectors
			if e.Zero {
				t.WriteString("zero\n")
			} else {
				fmt.Fprintf(&t, "linear %s %d\n", m.Devices[e.Device].Name, e.Physical)
			}
		}
		t.WriteString(ruler)
	}
	fmt.Fprintf(&t, "Super partition layout:\n%s", ruler)
	for _, l := range m.Layout() {
		fmt.Fprintf(&t, "%s: %d .. %d: %s (%d sectors)\n", m.Devices[l.Device].Name, l.Physical, l.Physical+l.Sectors, l.Partition, l.Sectors)
	}
	fmt.Fprintf(&t, "%sBlock device table:\n%s", ruler, ruler)
	for _, d := range m.Devices {
		fmt.Fprintf(&t, "  Partition name: %s\n  First sector: %d\n  Size: %d bytes\n  Flags: %s\n%s",
			d.Name, d.FirstSector, d.Size, bitNames(d.Flags, "slot-suffixed"), ruler)
	}
	fmt.Fprintf(&t, "Group table:\n%s", ruler)
	for _, g := range m.Groups {
		fmt.Fprintf(&t, "  Name: %s\n  Maximum size: %d bytes\n  Flags: %s\n%s", g.Name, g.MaxSize, bitNames(g.Flags, "slot-suffixed"), ruler)
	}
	return t.String(), nil
}

// A Place is an extent and whose it is.
type Place struct {
	Extent
	Partition string
}

// Layout returns all extents that are somewhere, sorted by the names of their
// devices and then by place.
func (m *Metadata) Layout() []Place {
	var list []Place
	for _, p := range m.Partitions {
		for _, e := range p.Extents {
			if !e.Zero {
				list = append(list, Place{e, p.Name})
			}
		}
	}
	slices.SortFunc(list, func(a, b Place) int {
		return cmp.Or(cmp.Compare(m.Devices[a.Device].Name, m.Devices[b.Device].Name), cmp.Compare(a.Physical, b.Physical))
	})
	return list
}

// JSON returns what lpdump --json prints of one slot's metadata. Numbers of 64
// bits are strings, and what is zero is left out, as protobuf has it
// (dynamic_partitions_device_info.proto).
func (m *Metadata) JSON(g Geometry) ([]byte, error) {
	type partition struct {
		Name    string `json:"name"`
		Group   string `json:"group_name"`
		Dynamic bool   `json:"is_dynamic"`
		Size    uint64 `json:"size,string,omitempty"`
	}
	type group struct {
		Name    string `json:"name"`
		MaxSize uint64 `json:"maximum_size,string,omitempty"`
	}
	type device struct {
		Name            string `json:"name"`
		Size            uint64 `json:"size,string,omitempty"`
		BlockSize       uint32 `json:"block_size,string,omitempty"`
		Alignment       uint32 `json:"alignment,string,omitempty"`
		AlignmentOffset uint32 `json:"alignment_offset,string,omitempty"`
	}
	var out struct {
		Partitions []partition `json:"partitions,omitempty"`
		Groups     []group     `json:"groups,omitempty"`
		Devices    []device    `json:"block_devices,omitempty"`
	}
	for _, x := range m.Groups {
		out.Groups = append(out.Groups, group{x.Name, x.MaxSize})
		for _, p := range m.Partitions {
			if p.Group == x.Name {
				out.Partitions = append(out.Partitions, partition{p.Name, p.Group, true, uint64(p.Size())})
			}
		}
	}
	for _, d := range m.Devices {
		out.Devices = append(out.Devices, device{d.Name, d.Size, g.BlockSize, d.Alignment, d.AlignmentOffset})
	}
	b, err := json.MarshalIndent(out, "", " ")
	return append(b, '\n'), err
}
