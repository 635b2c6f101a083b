package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mios/format/super"
	"mios/internal/atomicfile"
	"mios/internal/progress"
	"mios/internal/units"
)

var superMake = command{"super make", "[flags] --output FILE", "make a super image, as lpmake does\n" +
	"Without images of partitions it holds only metadata (super_empty.img). With several\n" +
	"--device, FILE is a folder that gets an image of each.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		o := newSuperMaker(fs)
		if err := parse(fs, args, 0, 0); err != nil {
			return err
		}
		if err := o.check(); err != nil {
			return err
		}
		return o.run(ctx, e)
	}}

// A superMaker holds lpmake's arguments.
type superMaker struct {
	output, name                           string
	deviceSize                             string
	metadata, slots, block, align, alignAt uint64
	implied                                bool // the device is described by flags of its own
	spec                                   super.Spec
	images                                 map[string]string
	sparse, full                           bool
}

func newSuperMaker(fs *flag.FlagSet) *superMaker {
	o := &superMaker{images: map[string]string{}, align: 1 << 20, block: 4096}
	both := func(short, long, help string, set func(string) error) {
		fs.Func(long, help, set)
		fs.Func(short, "the same as --"+long, set)
	}
	number := func(to *uint64, implied bool) func(string) error {
		return func(s string) (err error) {
			o.implied = o.implied || implied
			*to, err = parseUint(s, math.MaxUint32)
			return err
		}
	}
	both("d", "device-size", "size of the super partition in `bytes`, or auto", func(s string) error {
		o.deviceSize, o.implied = s, true
		return nil
	})
	both("m", "metadata-size", "largest size of one slot's metadata in `bytes`", number(&o.metadata, false))
	both("s", "metadata-slots", "`number` of metadata slots", number(&o.slots, false))
	both("b", "block-size", "block size in `bytes` (default: 4096)", number(&o.block, false))
	both("a", "alignment", "partitions' alignment in `bytes` (default: 1048576)", number(&o.align, true))
	both("O", "alignment-offset", "`bytes` that the device is off its parent's alignment", number(&o.alignAt, true))
	both("p", "partition", "`NAME:ATTRIBUTES:SIZE[:GROUP]` of a partition; attributes are none or readonly; again for more", o.partition)
	both("g", "group", "`NAME:SIZE` of a group and its limit; again for more", o.group)
	both("D", "device", "`NAME:SIZE[:ALIGNMENT[:OFFSET]]` of a block device that super spans; again for more", o.device)
	both("i", "image", "`NAME=FILE` that a partition holds, plain or sparse; again for more", o.image)
	for _, f := range []struct{ short, long, help, def string }{{"o", "output", "`file` to write, or folder with several devices", ""},
		{"n", "super-name", "`name` of the block device that has the metadata", "super"}} {
		to := &o.output
		if f.short == "n" {
			to = &o.name
		}
		fs.StringVar(to, f.long, f.def, f.help)
		fs.StringVar(to, f.short, f.def, "the same as --"+f.long+" `name`")
	}
	for _, f := range []struct {
		to                *bool
		short, long, help string
	}{{&o.sparse, "S", "sparse", "write a sparse image"}, {&o.full, "F", "force-full-image", "write all of the image, even if no partition has one"},
		{&o.spec.SlotSuffixed, "x", "auto-slot-suffixing", "mark names that need a slot's suffix"},
		{&o.spec.VirtualAB, "virtual-ab", "virtual-ab", "mark a device with Virtual A/B"}} {
		fs.BoolVar(f.to, f.long, false, f.help)
		if f.short != f.long {
			fs.BoolVar(f.to, f.short, false, "the same as --"+f.long)
		}
	}
	return o
}

func parseUint(s string, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("want a number up to %d", most)
	}
	return n, nil
}

func (o *superMaker) partition(s string) error {
	f := strings.Split(s, ":")
	if len(f) < 3 || len(f) > 4 {
		return fmt.Errorf("want NAME:ATTRIBUTES:SIZE[:GROUP]")
	}
	p := super.PartitionSpec{Name: f[0], Group: super.DefaultGroup}
	switch f[1] {
	case "readonly":
		p.Attributes = super.AttrReadonly
	case "none":
	default:
		return fmt.Errorf("attributes %q: want none or readonly", f[1])
	}
	n, err := parseUint(f[2], math.MaxInt64/4)
	if len(f) == 4 {
		p.Group = f[3]
	}
	p.Size = int64(n)
	o.spec.Partitions = append(o.spec.Partitions, p)
	return err
}

func (o *superMaker) group(s string) error {
	name, size, ok := strings.Cut(s, ":")
	n, err := parseUint(size, math.MaxUint64)
	if !ok || name == "" || err != nil {
		return fmt.Errorf("want NAME:SIZE")
	}
	o.spec.Groups = append(o.spec.Groups, super.Group{Name: name, MaxSize: n})
	return nil
}

func (o *superMaker) device(s string) error {
	f := strings.Split(s, ":")
	if len(f) < 2 || len(f) > 4 {
		return fmt.Errorf("want NAME:SIZE[:ALIGNMENT[:OFFSET]]")
	}
	d := super.Device{Name: f[0], Alignment: 1 << 20}
	size, err := parseUint(f[1], math.MaxInt64/4)
	if err != nil || size == 0 {
		return fmt.Errorf("size %q: want bytes", f[1])
	}
	d.Size = size
	for i, to := range []*uint32{&d.Alignment, &d.AlignmentOffset} {
		if len(f) > i+2 {
			n, err := parseUint(f[i+2], math.MaxUint32)
			if err != nil {
				return err
			}
			*to = uint32(n)
		}
	}
	o.spec.Devices = append(o.spec.Devices, d)
	return nil
}

func (o *superMaker) image(s string) error {
	name, file, ok := strings.Cut(s, "=")
	if !ok || name == "" || file == "" {
		return fmt.Errorf("want NAME=FILE")
	}
	o.images[name] = file
	return nil
}

// check says what is missing.
func (o *superMaker) check() error {
	switch {
	case o.implied && (len(o.spec.Devices) > 0 || o.deviceSize == ""), !o.implied && len(o.spec.Devices) == 0:
		return fmt.Errorf("%w: give --device-size, with the alignment if need be, or --device", errUsage)
	case o.metadata < 256:
		return fmt.Errorf("%w: --metadata-size: want at least 256, as a rule 65536", errUsage)
	case o.slots == 0:
		return fmt.Errorf("%w: --metadata-slots: want at least 1: 2 for A/B devices, 3 for Virtual A/B", errUsage)
	case o.block == 0:
		return fmt.Errorf("%w: --block-size: want more than 0", errUsage)
	case o.output == "":
		return fmt.Errorf("%w: name the file to write with --output", errUsage)
	case len(o.spec.Partitions) == 0:
		return fmt.Errorf("%w: give at least one --partition", errUsage)
	}
	return nil
}

func (o *superMaker) run(ctx context.Context, e env) error {
	contents := map[string]super.Content{}
	for name, file := range o.images {
		r, size, c, err := openPlain(file)
		if err != nil {
			return err
		}
		defer c.Close()
		contents[name] = super.Content{R: r, Size: size}
		i := slices.IndexFunc(o.spec.Partitions, func(p super.PartitionSpec) bool { return p.Name == name })
		if i < 0 {
			return fmt.Errorf("%s: an image is for %s, and there is no such partition", file, name)
		}
		if p := &o.spec.Partitions[i]; p.Size == 0 {
			p.Size = size
		}
	}
	if err := o.complete(); err != nil {
		return err
	}
	img, err := super.Build(o.spec)
	if err != nil {
		return err
	}
	if len(contents) == 0 && !o.full {
		var b bytes.Buffer
		if err := super.WriteEmpty(&b, img.Geometry, img.Slots[0]); err != nil {
			return err
		}
		return atomicfile.WriteBytes(o.output, b.Bytes(), 0o644)
	}
	if 4096%o.block != 0 || uint64(img.Geometry.MetadataMaxSize)%o.block != 0 {
		return fmt.Errorf("block size %d with metadata of %d bytes: a full image needs a block that divides 4096 and the metadata's size", o.block, img.Geometry.MetadataMaxSize)
	}
	disks, err := img.Disks(contents)
	if err != nil {
		return err
	}
	return o.write(ctx, e, img.Slots[0].Devices, disks)
}

// complete sets in the specification what flags say.
func (o *superMaker) complete() error {
	s := &o.spec
	s.Name, s.BlockSize, s.Slots = o.name, uint32(o.block), uint32(o.slots)
	s.MetadataMaxSize = uint32((o.metadata + super.SectorSize - 1) / super.SectorSize * super.SectorSize)
	if !o.implied {
		return nil
	}
	size := uint64(0)
	if o.deviceSize == "auto" {
		size = o.autoSize()
	} else {
		var err error
		if size, err = parseUint(o.deviceSize, math.MaxInt64/4); err != nil || size == 0 {
			return fmt.Errorf("%w: --device-size %s: want bytes or auto", errUsage, o.deviceSize)
		}
	}
	s.Devices = []super.Device{{Name: o.name, Size: size, Alignment: uint32(o.align), AlignmentOffset: uint32(o.alignAt)}}
	return nil
}

// autoSize is lpmake's size of a device that holds the partitions: aligned
// metadata, and an alignment more for each.
func (o *superMaker) autoSize() uint64 {
	n := super.ReservedSize + 2*super.GeometrySize + 2*o.slots*o.metadata
	if o.align > 0 {
		n += o.align - n%o.align
	}
	for _, p := range o.spec.Partitions {
		n += o.align + (uint64(p.Size)+o.block-1)/o.block*o.block
	}
	return n
}

// write writes the disks.
func (o *superMaker) write(ctx context.Context, e env, devices []super.Device, disks []*super.Disk) error {
	if len(disks) == 1 {
		return o.writeDisk(ctx, e, o.output, disks[0])
	}
	for _, d := range devices {
		if !fileName(d.Name) {
			return fmt.Errorf("block device %q: its name is no name for a file", d.Name)
		}
	}
	defer emptied(o.output)()
	if err := os.MkdirAll(o.output, 0o755); err != nil {
		return err
	}
	for i, d := range devices {
		if err := o.writeDisk(ctx, e, filepath.Join(o.output, "super_"+d.Name+".img"), disks[i]); err != nil {
			return err
		}
	}
	return nil
}

func (o *superMaker) writeDisk(ctx context.Context, e env, name string, d *super.Disk) error {
	return e.story(false).Step(ctx, "make "+name, func(ctx context.Context, t *progress.Task) error {
		if o.sparse {
			return writeSparseSuper(ctx, t, name, d, uint32(o.block))
		}
		t.Done("%s: %s", name, units.Binary(d.Size))
		return atomicfile.Fill(name, 0o644, func(f *os.File) error {
			if err := d.WriteRaw(ctx, f, t.Bytes); err != nil {
				return err
			}
			return f.Truncate(d.Size)
		})
	})
}

// writeSparseSuper writes a disk as a sparse image.
func writeSparseSuper(ctx context.Context, t *progress.Task, name string, d *super.Disk, block uint32) error {
	m, err := d.Sparse(ctx, block, nil)
	if err != nil {
		return err
	}
	t.Done("%s: %s of %s", name, units.Binary(m.EncodedSize()), units.Binary(d.Size))
	return atomicfile.Fill(name, 0o644, func(f *os.File) error { return m.Encode(ctx, f, t.Bytes) })
}
