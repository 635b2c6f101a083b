package inspect

import (
	"fmt"
	"strings"

	"mios/format/bootctl"
	"mios/format/gpt"
	"mios/format/sparse"
	"mios/format/super"
	"mios/internal/progress"
)

// sparse tells of a sparse image, and of what it stands for.
func (s *scan) sparse(in *input, r *Report) error {
	m, err := sparse.Parse(in, in.size)
	if err != nil {
		return err
	}
	r.fact("stands for", "%s, in blocks of %d", progress.Size(m.Size()), m.BlockSize)
	r.fact("chunks", "%d", len(m.Chunks))
	switch {
	case !m.HasChecksum():
	case !s.afford(m.Size()):
		r.skipped("the checksum", why)
	default:
		if err := m.Verify(s.ctx); err != nil {
			r.fail(err, "it was damaged: fetch or make it anew")
		} else {
			r.done("checksum over %s", progress.Size(m.Size()))
		}
	}
	r.Summary = "of " + progress.Size(m.Size())
	c := s.look(part(strings.TrimSuffix(in.base(), ".simg"), m, m.Size(), in.depth), r)
	if c != nil && c.Kind != unknown {
		c.Name = "(expanded)"
		r.Summary = c.Title + " " + r.Summary
	}
	return nil
}

// gpt tells of a disk.
func (s *scan) gpt(in *input, r *Report) error {
	t, copies, err := gpt.Read(in, in.size)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what string
		err  error
	}{{"the protective MBR", copies.MBR}, {"the primary table", copies.Primary}, {"the backup table", copies.Backup}} {
		if c.err != nil {
			r.fail(fmt.Errorf("%s: %w", c.what, c.err), "sgdisk -e or --load-backup repairs a table of which one copy is whole")
		}
	}
	r.fact("disk", "%s, id %v", progress.Size(int64(t.Sectors)*gpt.SectorSize), t.Disk)
	n := 0
	for _, p := range t.Partitions {
		if p.Type == (gpt.GUID{}) || p.Last < p.First {
			continue
		}
		n++
		if p.Offset() < 0 || p.Size() < 0 || p.Offset()+p.Size() > in.size {
			r.part(&Report{Name: p.Name, Kind: unknown, Title: "partition", Size: p.Size(), Summary: "behind the end of this file"})
			continue
		}
		s.look(in.section(p.Name, p.Offset(), p.Size()), r)
	}
	r.Summary = count(n, "partition")
	return nil
}

// super tells of a super partition.
func (s *scan) super(in *input, r *Report) error {
	m, damage, err := super.Read(in)
	if err != nil {
		return err
	}
	for _, d := range damage {
		r.fail(fmt.Errorf("a copy of the metadata: %w", d), "mios super add, resize or remove writes broken copies anew")
	}
	slots := 0
	var first *super.Metadata
	for _, md := range m.Slots {
		if md == nil {
			continue
		}
		slots++
		if first == nil {
			first = md
		}
	}
	r.fact("slots of metadata", "%d, %d written", m.Geometry.SlotCount, slots)
	if first == nil {
		return nil
	}
	s.superFacts(first, r)
	for i := range first.Partitions {
		p := &first.Partitions[i]
		if p.Size() == 0 {
			r.part(&Report{Name: p.Name, Kind: "empty", Title: "empty", Summary: "empty"})
			continue
		}
		rd, err := first.Reader(p.Name, in)
		if err != nil {
			r.part(&Report{Name: p.Name, Kind: unknown, Title: "logical partition", Size: p.Size(), Summary: "on another block device"})
			continue
		}
		s.look(part(p.Name, rd, p.Size(), in.depth), r)
	}
	return nil
}

// superFacts tells what the metadata of a slot says.
func (s *scan) superFacts(md *super.Metadata, r *Report) {
	for _, d := range md.Devices {
		r.fact("device", "%s, %s", d.Name, progress.Size(int64(min(d.Size, 1<<62))))
	}
	for _, g := range md.Groups {
		limit := "no limit"
		if g.MaxSize > 0 {
			limit = "at most " + progress.Size(int64(min(g.MaxSize, 1<<62)))
		}
		if g.Name == super.DefaultGroup && md.Used(g.Name) == 0 {
			continue
		}
		r.fact("group", "%s: %s of %s", g.Name, progress.Size(int64(min(md.Used(g.Name), 1<<62))), limit)
	}
	if md.Flags != 0 {
		r.fact("flags", "%s", md.FlagNames())
	}
	r.Summary = count(len(md.Partitions), "partition")
}

// superEmpty tells of a super partition without data.
func (s *scan) superEmpty(in *input, r *Report) error {
	b, err := in.bytes()
	if err != nil {
		return err
	}
	_, md, err := super.ReadEmpty(b)
	if err != nil {
		return err
	}
	s.superFacts(md, r)
	for i := range md.Partitions {
		p := &md.Partitions[i]
		r.part(&Report{Name: p.Name, Kind: "logical", Title: "logical partition", Size: p.Size(), Summary: "group " + p.Group})
	}
	return nil
}

// isMisc says whether an input is called misc and has a control block.
func isMisc(in *input) bool {
	if name := in.base(); name != "misc" && name != "misc.img" || in.size < bootctl.ControlOffset+bootctl.ControlSize {
		return false
	}
	_, err := bootctl.ParseControl(in.head[bootctl.ControlOffset:])
	return err == nil
}

// misc tells of a misc partition which slots a loader may boot.
func (s *scan) misc(in *input, r *Report) error {
	c, err := bootctl.ParseControl(in.head[bootctl.ControlOffset:])
	if err != nil {
		return err
	}
	suffixes := bootctl.Suffixes(len(c.Slots))
	for i, slot := range c.Slots {
		state := "good"
		if !slot.Successful {
			state = count(int(slot.Tries), "try") + " left, and it has to prove itself"
		}
		if slot.Priority == 0 {
			state = "not to be booted"
		}
		r.fact("slot", "%s: priority %d, %s", suffixes[i], slot.Priority, state)
	}
	r.Summary = count(len(c.Slots), "slot")
	if i, ok := c.Choose(); ok {
		r.Summary += ", next " + suffixes[i]
	}
	return nil
}
