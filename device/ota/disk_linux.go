package ota

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mios"
	"mios/device/partition"
	"mios/format/bootctl"
	"mios/format/super"
)

// BlockDisk is the device's disk as Linux shows it: GPT partitions by their
// names, and the logical partitions inside super. The zero value looks where
// Linux puts them.
type BlockDisk struct {
	Sys string // instead of /sys/class/block
	Dev string // instead of /dev
}

// Open opens a partition.
func (d BlockDisk) Open(name string) (Partition, error) {
	dev, err := d.find(name)
	if err == nil {
		return openDevice(dev)
	}
	if !errors.Is(err, mios.ErrNotFound) {
		return nil, err
	}
	return d.logical(name)
}

// find returns the device file of a GPT partition.
func (d BlockDisk) find(name string) (string, error) {
	sys, dev := d.Sys, d.Dev
	if sys == "" {
		sys = partition.Sys
	}
	if dev == "" {
		dev = "/dev"
	}
	nodes, err := partition.Scan(sys, dev)
	if err != nil {
		return "", err
	}
	if nodes[name] == "" {
		return "", fmt.Errorf("partition %s: %w on this disk", name, mios.ErrNotFound)
	}
	return nodes[name], nil
}

// logical opens a partition inside super, by the metadata of its own slot.
func (d BlockDisk) logical(name string) (Partition, error) {
	dev, err := d.find("super")
	if err != nil {
		return nil, err
	}
	p, err := openDevice(dev)
	if err != nil {
		return nil, err
	}
	v, err := openVolume(p, name)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return v, nil
}

// openVolume opens a logical partition on super.
func openVolume(p Partition, name string) (*volume, error) {
	slot := 0
	if strings.HasSuffix(name, bootctl.Suffix(1)) {
		slot = 1
	}
	md, err := super.ReadSlot(p, slot)
	if err != nil {
		return nil, err
	}
	found := false
	for _, l := range md.Partitions {
		found = found || l.Name == name
	}
	if !found {
		return nil, fmt.Errorf("partition %s: %w on this disk or in super", name, mios.ErrNotFound)
	}
	v, err := md.Open(name, p)
	if err != nil {
		return nil, err
	}
	return &volume{p, v}, nil
}

// A volume is a logical partition: everything but its place is super's.
type volume struct {
	Partition
	v *super.Volume
}

func (v *volume) ReadAt(b []byte, off int64) (int, error)  { return v.v.ReadAt(b, off) }
func (v *volume) WriteAt(b []byte, off int64) (int, error) { return v.v.WriteAt(b, off) }
func (v *volume) Size() int64                              { return v.v.Size() }

// A device is a block device, or a file that stands for one.
type device struct {
	*os.File
	size int64
}

func openDevice(path string) (Partition, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &device{f, size}, nil
}

func (d *device) Size() int64 { return d.size }

// Forget drops the page cache of a block device, as far as nothing else holds
// it, and of a file.
func (d *device) Forget() error {
	fi, err := d.Stat()
	if err != nil {
		return err
	}
	if fi.Mode()&fs.ModeDevice != 0 {
		if err := unix.IoctlSetInt(int(d.Fd()), unix.BLKFLSBUF, 0); err != nil {
			return fmt.Errorf("%s: drop what is cached: %w", d.Name(), err)
		}
		return nil
	}
	return unix.Fadvise(int(d.Fd()), 0, 0, unix.FADV_DONTNEED)
}
