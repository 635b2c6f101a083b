package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"mios"
	"mios/format/bootctl"
	"mios/format/gpt"
	"mios/format/super"
	"mios/internal/tool"
)

// Tries is how many boots a new slot has to prove itself.
const Tries = 3

// GroupName is the group of a slot's logical partitions, without the suffix.
const GroupName = "mios"

// Sizes in bytes.
const (
	miscSize      = 1 << 20
	rpmbSize      = 64 << 10
	superMetadata = 1 << 20 // both geometries, and the metadata of all slots twice
)

// layout returns a build's partitions in their order on the disk.
func (m *Manifest) layout() []gpt.Spec {
	boot, vbmeta := m.Find("boot").Limit, m.Find("vbmeta").Limit
	return []gpt.Spec{
		{Name: "misc", Size: miscSize},
		{Name: "rpmb", Size: rpmbSize},
		{Name: "vbmeta_a", Size: vbmeta},
		{Name: "vbmeta_b", Size: vbmeta},
		{Name: "boot_a", Size: boot},
		{Name: "boot_b", Size: boot},
		{Name: "super", Size: m.SuperSize},
		{Name: "userdata", Size: m.UserdataSize},
	}
}

// super returns the logical partitions of a build.
func (m *Manifest) super() (*super.Image, error) {
	spec := super.Spec{Size: m.SuperSize}
	for _, slot := range bootctl.Suffixes(2) {
		spec.Groups = append(spec.Groups, super.Group{Name: GroupName + slot, MaxSize: uint64(m.GroupSize())})
		for _, p := range m.Partitions {
			if p.Logical {
				spec.Partitions = append(spec.Partitions, super.PartitionSpec{
					Name: p.Name + slot, Group: GroupName + slot, Attributes: super.AttrReadonly, Size: p.Limit,
				})
			}
		}
	}
	return super.Build(spec)
}

// WriteDisk makes the disk of a factory-new device of the build in dir: a
// sparse raw image, both slots filled, userdata empty. It replaces the file at
// name once it is whole. It needs mke2fs.
func WriteDisk(ctx context.Context, dir, name string) error {
	m, err := ReadManifest(dir)
	if err != nil {
		return err
	}
	if m.Find("boot") == nil || m.Find("vbmeta") == nil || m.Find("system") == nil {
		return fmt.Errorf("%s: the build lacks boot, vbmeta or system", dir)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	size := int64(4 << 20) // both tables, and what alignment costs
	for _, s := range m.layout() {
		size += (s.Size + gpt.Align - 1) / gpt.Align * gpt.Align
	}
	table, err := gpt.New("mios "+m.Product, size, m.layout())
	if err != nil {
		return err
	}
	d := &disk{f: f, dir: dir, m: m, table: table}
	if err := errors.Join(f.Truncate(size), f.Chmod(0o644)); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return table.WriteDisk(f) }, d.misc, d.slots, d.super, func() error { return d.userdata(ctx) }, f.Sync,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return os.Rename(f.Name(), name)
}

// A disk is one being assembled.
type disk struct {
	f     *os.File
	dir   string
	m     *Manifest
	table *gpt.Table
}

func (d *disk) section(name string) (*io.OffsetWriter, error) {
	p, ok := d.table.Find(name)
	if !ok {
		return nil, fmt.Errorf("no partition %q", name)
	}
	return io.NewOffsetWriter(d.f, p.Offset()), nil
}

// misc makes slot a the active one, and b the one to fall back to.
func (d *disk) misc() error {
	c := bootctl.New(2, Tries)
	c.SetActive(1, Tries)
	c.SetActive(0, Tries)
	b, err := c.Bytes()
	if err != nil {
		return err
	}
	w, err := d.section("misc")
	if err != nil {
		return err
	}
	_, err = w.WriteAt(b, bootctl.ControlOffset)
	return err
}

// slots copies the partitions that are not logical into both slots.
func (d *disk) slots() error {
	for _, p := range d.m.Partitions {
		if p.Logical {
			continue
		}
		for _, suffix := range bootctl.Suffixes(2) {
			w, err := d.section(p.Name + suffix)
			if err != nil {
				return err
			}
			if err := d.copy(w, &p); err != nil {
				return err
			}
		}
	}
	return nil
}

// super writes the metadata and the logical partitions of both slots.
func (d *disk) super() error {
	img, err := d.m.super()
	if err != nil {
		return err
	}
	part, _ := d.table.Find("super")
	dev := &window{d.f, part.Offset()}
	if err := img.WriteDisk(dev); err != nil {
		return err
	}
	for _, p := range d.m.Partitions {
		if !p.Logical {
			continue
		}
		for _, suffix := range bootctl.Suffixes(2) {
			v, err := img.Slots[0].Open(p.Name+suffix, dev)
			if err != nil {
				return err
			}
			if err := d.copy(io.NewOffsetWriter(v, 0), &p); err != nil {
				return err
			}
		}
	}
	return nil
}

// reserved is the part of userdata that only root may fill, in percent: an app
// that writes until there is no more room does not keep the device from
// updating.
const reserved = "5"

// userdata makes an empty ext4 in place; UUID, hash seed and times are fixed.
func (d *disk) userdata(ctx context.Context) error {
	mke2fs, err := tool.Look("mke2fs")
	if err != nil {
		return err
	}
	p, ok := d.table.Find("userdata")
	if !ok {
		return errors.New("no partition userdata")
	}
	id := p.ID.String()
	cmd := exec.CommandContext(ctx, mke2fs, "-q", "-F", "-b", "4096", "-m", reserved, "-L", "userdata", "-U", id, "-I", "256",
		"-O", "none,has_journal,extent,huge_file,flex_bg,64bit,dir_nlink,extra_isize,filetype,sparse_super,large_file,ext_attr,dir_index,metadata_csum",
		"-E", "offset="+strconv.FormatInt(p.Offset(), 10)+",hash_seed="+id+",lazy_itable_init=0,lazy_journal_init=0,nodiscard",
		d.f.Name(), strconv.FormatInt(p.Size()>>10, 10)+"k")
	cmd.Env = append(os.Environ(), "E2FSPROGS_FAKE_TIME="+strconv.FormatInt(d.m.BuildTime, 10), "MKE2FS_CONFIG=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, out)
	}
	return nil
}

// A window is the part of a file from off on.
type window struct {
	f   *os.File
	off int64
}

func (w *window) ReadAt(p []byte, off int64) (int, error)  { return w.f.ReadAt(p, w.off+off) }
func (w *window) WriteAt(p []byte, off int64) (int, error) { return w.f.WriteAt(p, w.off+off) }

// copy writes a partition's image to w, as long as the manifest says and with
// the digest that it says.
func (d *disk) copy(w io.Writer, p *Partition) error {
	name := filepath.Join(d.dir, p.File)
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(w, io.TeeReader(io.LimitReader(f, p.Size), h))
	if err != nil {
		return err
	}
	if n != p.Size || mios.Digest(h.Sum(nil)) != p.SHA256 {
		return fmt.Errorf("%s is not what was built: %w: build it again", name, mios.ErrInvalid)
	}
	return nil
}
