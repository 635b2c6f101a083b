package main

import (
	"context"
	"fmt"
	"io"

	"mios/format/super"
	"mios/internal/units"
)

var superInfo = command{"super info", "[flags] SUPER", "tell what a super image holds, as lpdump does\n" +
	"SUPER may be plain, sparse, or without partitions' data (super_empty.img).",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		format := fs.String("format", "page", "`how` to tell it: page, lpdump or lpdump-json as lpdump does")
		slotArg := fs.String("slot", "0", "metadata `slot`: its number, or _a or _b")
		all := fs.Bool("all", false, "tell of all slots (page and lpdump)")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		slot, err := parseSlot(*slotArg)
		switch {
		case err != nil:
			return err
		case *format != "page" && *format != "lpdump" && *format != "lpdump-json":
			return fmt.Errorf("%w: --format %s: want page, lpdump or lpdump-json", errUsage, *format)
		case *all && (*format == "lpdump-json" || slot != 0):
			return fmt.Errorf("%w: --all with --slot or lpdump's JSON: want one of them", errUsage)
		}
		s, err := openSuper(fs.Arg(0), false)
		if err != nil {
			return err
		}
		defer s.Close()
		if s.empty {
			slot = 0
		}
		m, err := s.slot(slot)
		if err != nil {
			return err
		}
		switch {
		case *asJSON:
			return printJSON(e, describeSuper(s))
		case *format == "lpdump-json":
			b, err := m.JSON(s.Geometry)
			if err == nil {
				_, err = e.stdout.Write(b)
			}
			return err
		case *format == "lpdump":
			return lpdump(e, s, slot, *all)
		}
		printSuper(newPage(e.stdout), s, slot, *all)
		return nil
	}}

// lpdump prints what lpdump does.
func lpdump(e env, s *superFile, slot int, all bool) error {
	for i, m := range s.Slots {
		if m == nil || i != slot && !all {
			continue
		}
		text, err := m.Text(s.Geometry)
		if err != nil {
			return err
		}
		if len(s.Slots) > 1 {
			text = fmt.Sprintf("Slot %d:\n%s", i, text)
		}
		if i > 0 && all {
			text = "\n" + text
		}
		if _, err := io.WriteString(e.stdout, text); err != nil {
			return err
		}
	}
	return nil
}

// superReport is what mios super info tells, as JSON.
type superReport struct {
	File            string      `json:"file"`
	Kind            string      `json:"kind"` // plain, sparse or empty
	MetadataMaxSize uint32      `json:"metadata_max_size"`
	BlockSize       uint32      `json:"block_size"`
	Slots           []superSlot `json:"slots"`
	Damage          []string    `json:"damage,omitempty"`
}

type superSlot struct {
	Slot       int              `json:"slot"`
	Version    string           `json:"version"`
	Flags      string           `json:"flags,omitempty"`
	Free       uint64           `json:"free"` // bytes that partitions may still take
	Partitions []superPartition `json:"partitions"`
	Groups     []superGroupInfo `json:"groups"`
	Devices    []superDevice    `json:"devices"`
}

type superPartition struct {
	Name       string        `json:"name"`
	Group      string        `json:"group"`
	Size       int64         `json:"size"`
	Attributes string        `json:"attributes,omitempty"`
	Extents    []superExtent `json:"extents"`
}

type superExtent struct {
	Sectors uint64 `json:"sectors"`
	Zero    bool   `json:"zero,omitempty"`
	Device  string `json:"device,omitempty"`
	Sector  uint64 `json:"first_sector,omitempty"`
}

type superGroupInfo struct {
	Name    string `json:"name"`
	MaxSize uint64 `json:"max_size,omitempty"`
	Used    uint64 `json:"used"`
}

type superDevice struct {
	Name        string `json:"name"`
	Size        uint64 `json:"size"`
	FirstSector uint64 `json:"first_sector"`
	Alignment   uint32 `json:"alignment"`
}

// kind says what the file is.
func (s *superFile) kind() string {
	switch {
	case s.empty:
		return "empty"
	case s.sparse != nil:
		return "sparse"
	}
	return "plain"
}

func orEmpty(s string) string {
	if s == "none" {
		return ""
	}
	return s
}

func describeSuper(s *superFile) *superReport {
	r := &superReport{File: s.name, Kind: s.kind(), MetadataMaxSize: s.Geometry.MetadataMaxSize, BlockSize: s.Geometry.BlockSize, Slots: []superSlot{}}
	for _, err := range s.damage {
		r.Damage = append(r.Damage, err.Error())
	}
	for i, m := range s.Slots {
		if m != nil {
			r.Slots = append(r.Slots, describeSlot(i, m))
		}
	}
	return r
}

func describeSlot(i int, m *super.Metadata) superSlot {
	t := superSlot{Slot: i, Version: fmt.Sprintf("10.%d", m.Minor), Flags: orEmpty(m.FlagNames()), Free: m.Free(), Partitions: []superPartition{}}
	for _, p := range m.Partitions {
		part := superPartition{Name: p.Name, Group: p.Group, Size: p.Size(), Attributes: orEmpty(p.AttributeNames()), Extents: []superExtent{}}
		for _, x := range p.Extents {
			ext := superExtent{Sectors: x.Sectors, Zero: x.Zero}
			if !x.Zero {
				ext.Device, ext.Sector = m.Devices[x.Device].Name, x.Physical
			}
			part.Extents = append(part.Extents, ext)
		}
		t.Partitions = append(t.Partitions, part)
	}
	for _, g := range m.Groups {
		t.Groups = append(t.Groups, superGroupInfo{g.Name, g.MaxSize, m.Used(g.Name)})
	}
	for _, d := range m.Devices {
		t.Devices = append(t.Devices, superDevice{d.Name, d.Size, d.FirstSector, d.Alignment})
	}
	return t
}

func printSuper(p *page, s *superFile, slot int, all bool) {
	r := describeSuper(s)
	p.line("%s: %s super image, %d metadata slots of %s", s.name, r.Kind, s.Geometry.SlotCount, units.Binary(int64(r.MetadataMaxSize)))
	for _, d := range r.Damage {
		p.fact("broken", "%s: the other copy is whole", d)
	}
	for _, t := range r.Slots {
		if t.Slot == slot || all {
			printSlot(p, &t, len(r.Slots) > 1)
		}
	}
}

func printSlot(p *page, t *superSlot, numbered bool) {
	if numbered {
		p.section("Slot %d", t.Slot)
	}
	if t.Flags != "" {
		p.fact("flags", "%s", t.Flags)
	}
	for _, d := range t.Devices {
		p.fact("device", "%s: %s, partitions from %#x on, aligned to %s", d.Name, units.Binary(int64(d.Size)), d.FirstSector*super.SectorSize, units.Binary(int64(d.Alignment)))
	}
	p.fact("free", "%s", units.Binary(int64(t.Free)))
	for _, g := range t.Groups {
		limit := "no limit"
		if g.MaxSize > 0 {
			limit = "of " + units.Binary(int64(g.MaxSize))
		}
		p.fact("group", "%s: %s used, %s", g.Name, units.Binary(int64(g.Used)), limit)
	}
	p.section("Partitions")
	for _, part := range t.Partitions {
		line := fmt.Sprintf("  %-20s %12s  %s", part.Name, units.Binary(part.Size), part.Group)
		if part.Attributes != "" {
			line += ", " + part.Attributes
		}
		if n := len(part.Extents); n > 1 {
			line += fmt.Sprintf(", in %d pieces", n)
		}
		p.line("%s", line)
	}
}
