package super

import (
	"fmt"
	"io"
	"slices"
)

// A Run maps sectors of a logical partition.
type Run struct {
	Sector   uint64 // first, in the logical partition
	Count    uint64 // sectors
	Zero     bool   // reads as zeros
	Physical uint64 // first sector on super
}

// Map returns the runs of a logical partition, in order and without gaps. It
// refuses extents on another device than super itself.
func (m *Metadata) Map(name string) ([]Run, error) {
	i := slices.IndexFunc(m.Partitions, func(p Partition) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("super: no logical partition %q", name)
	}
	var runs []Run
	next := uint64(0)
	for _, e := range m.Partitions[i].Extents {
		if e.Device != 0 {
			return nil, fmt.Errorf("super: %s: an extent is on the block device %s, which is not mapped", name, m.Devices[e.Device].Name)
		}
		runs = append(runs, Run{next, e.Sectors, e.Zero, e.Physical})
		next += e.Sectors
	}
	return runs, nil
}

// A ReadWriterAt is a super partition.
type ReadWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// A Volume reads and writes a logical partition.
type Volume struct {
	dev  ReadWriterAt
	runs []Run
	size int64
}

// Open returns the logical partition of that name on dev.
func (m *Metadata) Open(name string, dev ReadWriterAt) (*Volume, error) {
	runs, err := m.Map(name)
	if err != nil {
		return nil, err
	}
	v := &Volume{dev: dev, runs: runs}
	for _, r := range runs {
		v.size += int64(r.Count) * SectorSize
	}
	return v, nil
}

// Size returns the partition's size in bytes.
func (v *Volume) Size() int64 { return v.size }

// ReadAt reads from the partition.
func (v *Volume) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("super: read at %d", off)
	}
	short := off > v.size || int64(len(p)) > v.size-off
	if short {
		p = p[:max(v.size-off, 0)]
	}
	n, err := v.each(p, off, func(p []byte, r Run, at int64) (int, error) {
		if r.Zero {
			clear(p)
			return len(p), nil
		}
		return v.dev.ReadAt(p, at)
	})
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// WriteAt writes to the partition; bytes past its end and bytes for extents of
// zeros are refused.
func (v *Volume) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > v.size || int64(len(p)) > v.size-off {
		return 0, fmt.Errorf("super: write of %d bytes at %d, the partition has %d", len(p), off, v.size)
	}
	return v.each(p, off, func(p []byte, r Run, at int64) (int, error) {
		if r.Zero {
			return 0, fmt.Errorf("super: write to an extent of zeros")
		}
		return v.dev.WriteAt(p, at)
	})
}

// each calls do for each part of p, which stands at off, that lies in one run;
// at is its place on super. p must lie in the partition.
func (v *Volume) each(p []byte, off int64, do func(p []byte, r Run, at int64) (int, error)) (n int, err error) {
	for _, r := range v.runs {
		in := off + int64(n) - int64(r.Sector)*SectorSize
		left := int64(r.Count)*SectorSize - in
		if left <= 0 {
			continue
		}
		if n == len(p) {
			break
		}
		part := p[n:min(int64(len(p)), int64(n)+left)]
		m, err := do(part, r, int64(r.Physical)*SectorSize+in)
		n += m
		if m == len(part) {
			continue
		}
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	return n, nil
}
