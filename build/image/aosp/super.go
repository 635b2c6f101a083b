package aosp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"mios"
	"mios/build/image"
	"mios/format/super"
	"mios/format/targetfiles"
)

// super makes super_empty.img, with which fastboot's flashall makes partitions,
// and super.img with all of them, sparse, for loaders that write it whole; of a
// retrofit, one for each block device (build_super_image.py).
func (b *builder) super() error {
	d, err := targetfiles.ParseDynamic(b.misc)
	if err != nil {
		return err
	}
	if !d.Enabled || len(d.Groups) == 0 {
		return nil
	}
	m := b.out.Manifest
	m.SuperSize, m.VirtualAB = d.SuperSize, d.VirtualAB
	for _, g := range d.Groups {
		m.Groups = append(m.Groups, image.Group{Name: g.Name, Size: g.Size, Partitions: g.Partitions})
	}
	if err := b.fits(m); err != nil {
		return err
	}
	empty, err := super.Build(b.layout(d, false))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := super.WriteEmpty(&out, empty.Geometry, empty.Slots[0]); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, SuperEmpty), out.Bytes(), 0o644); err != nil || b.NoSuper {
		return err
	}
	return b.fullSuper(d)
}

// fits refuses partitions that are together more than their group may be. With
// virtual A/B that is all that a slot needs; without, the group of the other
// slot takes as much again.
func (b *builder) fits(m *image.Manifest) error {
	for _, g := range m.Groups {
		total := int64(0)
		for _, name := range g.Partitions {
			if p := m.Find(name); p != nil {
				total += p.Size
			}
		}
		if g.Size > 0 && total > g.Size {
			return fmt.Errorf("partitions %v: %d bytes, and group %s of super has %d: %w: bring less, or build AOSP with a larger super", g.Partitions, total, g.Name, g.Size, mios.ErrInvalid)
		}
	}
	return nil
}

// layout is the super partition: partitions of slot a have their images' sizes
// if it is full, those of b none.
func (b *builder) layout(d *targetfiles.Dynamic, full bool) super.Spec {
	ab := b.misc.Bool("ab_update")
	suffixed := ab && !d.Retrofit
	s := super.Spec{Name: d.Metadata, Slots: 2, VirtualAB: d.VirtualAB && !b.misc.Bool("virtual_ab_retrofit"), SlotSuffixed: ab && d.Retrofit}
	if suffixed {
		s.Slots = 3
	}
	for _, dev := range d.Devices {
		s.Devices = append(s.Devices, super.Device{Name: dev.Name, Size: uint64(dev.Size), Alignment: 1 << 20})
	}
	suffixes := []string{""}
	if suffixed {
		suffixes = []string{"_a", "_b"}
	}
	for _, g := range d.Groups {
		for _, suffix := range suffixes {
			s.Groups = append(s.Groups, super.Group{Name: g.Name + suffix, MaxSize: uint64(g.Size)})
		}
		for _, name := range g.Partitions {
			for i, suffix := range suffixes {
				p := super.PartitionSpec{Name: name + suffix, Group: g.Name + suffix, Attributes: super.AttrReadonly}
				if img := b.out.Find(name); full && i == 0 && img != nil {
					p.Size = img.Size
				}
				s.Partitions = append(s.Partitions, p)
			}
		}
	}
	return s
}

// fullSuper writes super.img.
func (b *builder) fullSuper(d *targetfiles.Dynamic) error {
	spec := b.layout(d, true)
	img, err := super.Build(spec)
	if err != nil {
		return err
	}
	contents := map[string]super.Content{}
	for _, p := range b.out.Partitions {
		if !p.Logical {
			continue
		}
		f, err := os.Open(filepath.Join(b.dir, p.File))
		if err != nil {
			return err
		}
		defer f.Close()
		name := p.Name
		if spec.Slots == 3 {
			name += "_a"
		}
		contents[name] = super.Content{R: f, Size: p.Size}
	}
	disks, err := img.Disks(contents)
	if err != nil {
		return err
	}
	for i, disk := range disks {
		name := SuperImage
		if d.Retrofit {
			name = "super_" + img.Slots[0].Devices[i].Name + ".img"
		}
		if err := b.writeSparse(filepath.Join(b.dir, name), disk); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (b *builder) writeSparse(name string, d *super.Disk) error {
	m, err := d.Sparse(b.ctx, super.SectorSize*8, nil)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := m.Encode(b.ctx, f, nil); err != nil {
		return err
	}
	return f.Sync()
}

// logical are the partitions in super, in the order in which they are flashed.
func (b *builder) logical() []string {
	var out []string
	for _, p := range b.out.Partitions {
		if p.Logical {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return out
}
