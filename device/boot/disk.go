package boot

import (
	"fmt"
	"io"

	"mios/format/avb"
	"mios/format/gpt"
)

// A Disk has partitions by name. A name that it has not is an error that wraps
// [avb.ErrNoSuchPartition].
type Disk interface {
	Partition(name string) (Partition, error)
}

// A Partition is a part of a disk, sizes and offsets in bytes.
type Partition interface {
	io.ReaderAt
	io.WriterAt
	// Sync returns once all that was written is durable.
	Sync() error
	Size() int64
	ID() gpt.GUID
}

// A File is a whole disk: a block device or an image.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// gptDisk is a disk with a GUID partition table.
type gptDisk struct {
	file  File
	table *gpt.Table
}

// OpenDisk reads the partition table of a disk of size bytes. If one copy of
// the table is broken it is written anew from the other, for the kernel looks
// at the first one only; note says so, or is nil.
func OpenDisk(f File, size int64) (d Disk, note error, err error) {
	table, copies, err := gpt.Read(f, size)
	if err != nil {
		return nil, nil, err
	}
	for _, broken := range []error{copies.Primary, copies.Backup} {
		if broken != nil {
			note = fmt.Errorf("%w: repaired from the other copy", broken)
		}
	}
	if note != nil {
		if err := table.WriteDisk(f); err != nil {
			return nil, nil, fmt.Errorf("repair the partition table: %w", err)
		}
		if err := f.Sync(); err != nil {
			return nil, nil, fmt.Errorf("repair the partition table: %w", err)
		}
	}
	return &gptDisk{f, table}, note, nil
}

func (d *gptDisk) Partition(name string) (Partition, error) {
	p, ok := d.table.Find(name)
	if !ok {
		return nil, fmt.Errorf("%w: %s", avb.ErrNoSuchPartition, name)
	}
	return &partition{d.file, p}, nil
}

type partition struct {
	file File
	p    gpt.Partition
}

func (p *partition) Size() int64 { return p.p.Size() }

func (p *partition) ID() gpt.GUID { return p.p.ID }

func (p *partition) Sync() error { return p.file.Sync() }

func (p *partition) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off > p.Size() {
		return 0, fmt.Errorf("%w: offset %d of %d", avb.ErrRange, off, p.Size())
	}
	if left := p.Size() - off; int64(len(b)) > left {
		n, err := p.file.ReadAt(b[:left], p.p.Offset()+off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return p.file.ReadAt(b, p.p.Offset()+off)
}

func (p *partition) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off > p.Size() || int64(len(b)) > p.Size()-off {
		return 0, fmt.Errorf("%w: %d bytes at %d of %d", avb.ErrRange, len(b), off, p.Size())
	}
	return p.file.WriteAt(b, p.p.Offset()+off)
}
