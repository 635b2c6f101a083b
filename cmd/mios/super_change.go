package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"

	"mios/format/super"
	"mios/internal/atomicfile"
	"mios/internal/progress"
)

// A superChange is a change to the metadata of a super image.
type superChange struct {
	what string
	slot *string // "": slot 0, and those that hold the same
	// metadata changes it; places in taken are not free.
	metadata func(m *super.Metadata, g super.Geometry, taken []super.Extent) error
	// partition is a new one, and gets content, if R is set.
	partition string
	content   super.Content
}

func (c *superChange) flags(fs *flag.FlagSet) {
	c.slot = fs.String("slot", "", "change only this metadata `slot`: its number, or _a or _b (default: 0, and those that hold the same)")
}

// run makes the change. A plain image is changed in place, so that a cut at any
// moment leaves the old or the new; others are written anew.
func (c *superChange) run(ctx context.Context, e env, name string) error {
	slot := 0
	if *c.slot != "" {
		var err error
		if slot, err = parseSlot(*c.slot); err != nil {
			return err
		}
	}
	s, err := openSuper(name, true)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.empty && c.content.R != nil {
		return fmt.Errorf("%s: it holds no partitions' data: make a full one with mios super make --force-full-image", name)
	}
	old, err := s.slot(slot)
	if err != nil {
		return err
	}
	same, taken, err := s.Same(slot)
	if err != nil {
		return err
	}
	if *c.slot != "" {
		same, taken = []int{slot}, s.OthersThan(slot)
	}
	now := old.Clone()
	if err := c.metadata(now, s.Geometry, taken); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return e.story(false).Step(ctx, c.what, func(ctx context.Context, t *progress.Task) error {
		t.Done("%s: %s", name, c.what)
		switch {
		case s.empty:
			return c.empty(s, now)
		case s.sparse != nil:
			return c.sparse(ctx, t, s, same, now)
		}
		return c.plain(ctx, t, s, same, now)
	})
}

// empty writes an image without partitions' data anew.
func (c *superChange) empty(s *superFile, now *super.Metadata) error {
	var b bytes.Buffer
	if err := super.WriteEmpty(&b, s.Geometry, now); err != nil {
		return err
	}
	return atomicfile.WriteBytes(s.name, b.Bytes(), 0o644)
}

// sparse writes a sparse image anew.
func (c *superChange) sparse(ctx context.Context, t *progress.Task, s *superFile, same []int, now *super.Metadata) error {
	if len(same) != len(s.Slots) {
		return errors.New("its metadata slots differ: expand it with mios sparse expand, and change that")
	}
	if len(now.Devices) > 1 {
		return errors.New("it spans several block devices: make it anew with mios super make")
	}
	contents := map[string]super.Content{}
	for _, p := range now.Partitions {
		old := s.Slots[0].Find(p.Name)
		if old == nil || old.Size() == 0 || p.Size() == 0 || p.Name == c.partition {
			continue
		}
		r, err := s.Slots[0].Reader(p.Name, s.r)
		if err != nil {
			return err
		}
		contents[p.Name] = super.Content{R: r, Size: min(r.Size(), p.Size())}
	}
	if c.content.R != nil {
		contents[c.partition] = c.content
	}
	img := &super.Image{Geometry: s.Geometry}
	for range s.Slots {
		img.Slots = append(img.Slots, now)
	}
	disks, err := img.Disks(contents)
	if err != nil {
		return err
	}
	return writeSparseSuper(ctx, t, s.name, disks[0], s.sparse.BlockSize)
}

// plain changes a plain image in place: first the content, where nothing is yet,
// then the metadata.
func (c *superChange) plain(ctx context.Context, t *progress.Task, s *superFile, same []int, now *super.Metadata) error {
	if c.content.R != nil {
		v, err := now.Open(c.partition, s.f)
		if err != nil {
			return err
		}
		if err := super.CopyAll(ctx, v, c.content, v.Size(), t.Bytes); err != nil {
			return err
		}
		if err := s.f.Sync(); err != nil {
			return err
		}
	}
	return s.Update(s.f, same, now, s.f.Sync)
}

var superAdd = command{"super add", "[flags] SUPER NAME GROUP [IMAGE]", "add a logical partition to a super image, as lpadd does\n" +
	"It gets what IMAGE holds, plain or sparse. Without IMAGE it has the size that --size\n" +
	"says, or none.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		readonly := fs.Bool("readonly", false, "the partition is only to be read")
		replace := fs.Bool("replace", false, "take the place of the partition of that name")
		size := fs.Int64("size", -1, "`bytes` of the partition (default: IMAGE's, or 0)")
		c := superChange{}
		c.flags(fs)
		if err := parse(fs, args, 3, 4); err != nil {
			return err
		}
		c.partition, c.what = fs.Arg(1), "add "+fs.Arg(1)
		if fs.NArg() == 4 {
			r, n, f, err := openPlain(fs.Arg(3))
			if err != nil {
				return err
			}
			defer f.Close()
			c.content = super.Content{R: r, Size: n}
			if *size < 0 {
				*size = n
			}
			if *size < n {
				return fmt.Errorf("%w: --size %d: %s has %d bytes", errUsage, *size, fs.Arg(3), n)
			}
		}
		p := super.Partition{Name: c.partition, Group: fs.Arg(2)}
		if *readonly {
			p.Attributes = super.AttrReadonly
		}
		c.metadata = func(m *super.Metadata, g super.Geometry, taken []super.Extent) error {
			return addPartition(m, g, taken, p, max(0, *size), *replace)
		}
		return c.run(ctx, e, fs.Arg(0))
	}}

// addPartition adds a partition to metadata. One that it replaces keeps its
// place until the new metadata is there, if there is room beside it.
func addPartition(m *super.Metadata, g super.Geometry, taken []super.Extent, p super.Partition, size int64, replace bool) error {
	var old []super.Extent
	if replace {
		was := m.Find(p.Name)
		if was == nil {
			return fmt.Errorf("no partition %s to replace: leave out --replace", p.Name)
		}
		old = was.Extents
		if err := m.Remove(p.Name); err != nil {
			return err
		}
	}
	if err := m.Add(p); err != nil {
		return err
	}
	err := m.Resize(p.Name, size, g, append(old, taken...)...)
	if err != nil && replace {
		err = m.Resize(p.Name, size, g, taken...)
	}
	return err
}

var superResize = command{"super resize", "[flags] SUPER NAME SIZE", "give a logical partition of a super image another size\n" +
	"SIZE is in bytes. What it loses is its end; what it gets holds what was there.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		c := superChange{}
		c.flags(fs)
		if err := parse(fs, args, 3, 3); err != nil {
			return err
		}
		size, err := parseUint(fs.Arg(2), math.MaxInt64/4)
		if err != nil {
			return fmt.Errorf("%w: %s: want a size in bytes", errUsage, fs.Arg(2))
		}
		c.what = "resize " + fs.Arg(1)
		c.metadata = func(m *super.Metadata, g super.Geometry, taken []super.Extent) error {
			return m.Resize(fs.Arg(1), int64(size), g, taken...)
		}
		return c.run(ctx, e, fs.Arg(0))
	}}

var superRemove = command{"super remove", "[flags] SUPER NAME", "remove a logical partition from a super image\n" +
	"Its content stays where it was until something else is written there.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		c := superChange{}
		c.flags(fs)
		if err := parse(fs, args, 2, 2); err != nil {
			return err
		}
		c.what = "remove " + fs.Arg(1)
		c.metadata = func(m *super.Metadata, _ super.Geometry, _ []super.Extent) error { return m.Remove(fs.Arg(1)) }
		return c.run(ctx, e, fs.Arg(0))
	}}

var superGroup = command{"super group", "[flags] SUPER NAME [LIMIT]", "add a group to a super image, or give one another limit\n" +
	"LIMIT is in bytes, 0 for none.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		c := superChange{}
		c.flags(fs)
		remove := fs.Bool("remove", false, "remove the group, which must have no partitions")
		if err := parse(fs, args, 2, 3); err != nil {
			return err
		}
		if *remove == (fs.NArg() == 3) {
			return fmt.Errorf("%w: want a LIMIT or --remove", errUsage)
		}
		c.what = "group " + fs.Arg(1)
		limit := uint64(0)
		if !*remove {
			var err error
			if limit, err = parseUint(fs.Arg(2), math.MaxUint64); err != nil {
				return fmt.Errorf("%w: %s: want a limit in bytes", errUsage, fs.Arg(2))
			}
		}
		c.metadata = func(m *super.Metadata, _ super.Geometry, _ []super.Extent) error {
			if *remove {
				return m.RemoveGroup(fs.Arg(1))
			}
			return m.SetGroup(fs.Arg(1), limit)
		}
		return c.run(ctx, e, fs.Arg(0))
	}}
