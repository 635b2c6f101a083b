package super

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"

	"mios/format/sparse"
	"mios/internal/readat"
)

// A Content is what a logical partition holds: the first Size bytes of R. The
// rest of the partition is zeros.
type Content struct {
	R    io.ReaderAt
	Size int64
}

// A Disk is what is on one block device of a super partition: the metadata, if
// it is the first, and partitions' contents. It is an [io.ReaderAt]; between
// them it reads as zeros.
type Disk struct {
	Size  int64
	block int64
	parts []diskPart // sorted by off, without overlap
}

// diskPart is size bytes of r from at on, at off on the disk.
type diskPart struct {
	off, size, at int64
	r             io.ReaderAt
	source        int  // differs between contents
	meta          bool // metadata, of which nothing is looked at
}

// Disks returns the devices' disks with the metadata of slot 0 and contents by
// partition. It refuses contents of partitions that are not there or are too
// small for them.
func (m *Image) Disks(contents map[string]Content) ([]*Disk, error) {
	if len(m.Slots) == 0 || m.Slots[0] == nil {
		return nil, fmt.Errorf("super: metadata slot 0 was never written")
	}
	md := m.Slots[0]
	meta := make(buffer, m.Geometry.MetadataSize())
	if err := m.WriteDisk(meta); err != nil {
		return nil, err
	}
	var disks []*Disk
	for _, d := range md.Devices {
		disks = append(disks, &Disk{Size: int64(d.Size), block: int64(m.Geometry.BlockSize)})
	}
	disks[0].parts = []diskPart{{size: int64(len(meta)), r: meta, meta: true}}
	for i, name := range slices.Sorted(keys(contents)) {
		p, c := md.Find(name), contents[name]
		switch {
		case p == nil:
			return nil, fmt.Errorf("super: an image is for %s, and there is no such partition", name)
		case c.Size > p.Size():
			return nil, fmt.Errorf("super: %s: an image of %d bytes for a partition of %d: make the partition larger", name, c.Size, p.Size())
		}
		at := int64(0)
		for _, e := range p.Extents {
			n := min(int64(e.Sectors)*SectorSize, c.Size-at)
			if n <= 0 {
				break
			}
			if !e.Zero {
				d := disks[e.Device]
				d.parts = append(d.parts, diskPart{off: int64(e.Physical) * SectorSize, size: n, at: at, r: c.R, source: i})
			}
			at += int64(e.Sectors) * SectorSize
		}
	}
	for _, d := range disks {
		slices.SortFunc(d.parts, func(a, b diskPart) int { return int(min(max(a.off-b.off, -1), 1)) })
	}
	return disks, nil
}

func keys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// buffer is bytes in memory.
type buffer []byte

func (b buffer) ReadAt(p []byte, off int64) (int, error) {
	if n := copy(p, b[min(off, int64(len(b))):]); n < len(p) {
		return n, io.EOF
	}
	return len(p), nil
}

func (b buffer) WriteAt(p []byte, off int64) (int, error) { return copy(b[off:], p), nil }

// ReadAt reads from the disk.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= d.Size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), d.Size-off)]
	clear(p)
	i := sort.Search(len(d.parts), func(i int) bool { return d.parts[i].off+d.parts[i].size > off })
	for ; i < len(d.parts) && d.parts[i].off < off+int64(len(p)); i++ {
		s := &d.parts[i]
		from, to := max(s.off, off), min(s.off+s.size, off+int64(len(p)))
		b := p[from-off : to-off]
		if err := readat.Full(s.r, b, s.at+from-s.off); err != nil {
			return 0, err
		}
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return want, nil
}

// WriteRaw writes the disk to w, which must read as zeros where nothing is
// written; a file is to be made Size bytes long afterwards. Zeros are left out.
// It uses all processors.
func (d *Disk) WriteRaw(ctx context.Context, w io.WriterAt, progress sparse.Progress) error {
	total, done := int64(0), int64(0)
	for _, s := range d.parts {
		total += s.size
	}
	for _, s := range d.parts {
		shift := func(n, _ int64) {
			if progress != nil {
				progress(done+n, total)
			}
		}
		if err := CopyData(ctx, io.NewOffsetWriter(w, s.off), io.NewSectionReader(s.r, s.at, s.size), s.size, shift); err != nil {
			return err
		}
		done += s.size
	}
	return nil
}

// maxChunk is where libsparse cuts chunks, in bytes.
const maxChunk = 64 << 20

// Sparse returns the disk as an Android sparse image with that block size, with
// the chunks that lpmake makes: blocks that repeat four bytes are fills, what no
// content covers is a hole. It reads all contents once.
func (d *Disk) Sparse(ctx context.Context, blockSize uint32, progress sparse.Progress) (*sparse.Image, error) {
	bs := int64(blockSize)
	if bs == 0 || bs%SectorSize != 0 || d.Size%bs != 0 || d.Size/bs > math.MaxUint32 {
		return nil, fmt.Errorf("super: a sparse image of %d bytes in blocks of %d", d.Size, bs)
	}
	b := chunker{bs: bs, r: d}
	for _, s := range d.parts {
		if s.off%bs != 0 {
			return nil, fmt.Errorf("super: sparse image: a partition begins at %d, inside a block of %d: give a larger alignment", s.off, bs)
		}
		if s.meta {
			b.add(run{kind: sparse.Fill, blocks: ReservedSize / bs, source: -1})
			b.add(run{kind: sparse.Raw, start: ReservedSize / bs, blocks: (s.size - ReservedSize) / bs, source: -1})
			continue
		}
		m, err := sparse.Scan(ctx, io.NewSectionReader(s.r, s.at, s.size), s.size, blockSize, progress)
		if err != nil {
			return nil, err
		}
		for _, c := range m.Chunks {
			r := run{kind: c.Kind, start: s.off/bs + int64(c.Start), blocks: int64(c.Blocks), source: s.source}
			r.at = s.at/bs + int64(c.Start)
			if c.Kind == sparse.Fill {
				if _, err := d.ReadAt(r.fill[:], r.start*bs); err != nil {
					return nil, err
				}
			}
			b.add(r)
		}
	}
	b.flush()
	b.hole(d.Size / bs)
	return sparse.Compose(d, blockSize, b.chunks)
}

// A run is blocks of one kind and source.
type run struct {
	kind          sparse.Kind
	start, blocks int64 // on the disk
	source        int
	at            int64 // block in the source
	fill          [4]byte
}

// chunker makes chunks of runs, as libsparse's list of backed blocks does.
type chunker struct {
	bs     int64
	r      io.ReaderAt
	last   run
	next   int64 // block after the last chunk
	chunks []sparse.Chunk
}

// add adds a run behind all others, joined with the last if it goes on with it.
func (b *chunker) add(r run) {
	l := &b.last
	if l.blocks > 0 && l.kind == r.kind && l.start+l.blocks == r.start &&
		(r.kind == sparse.Fill && l.fill == r.fill || r.kind == sparse.Raw && l.source == r.source && l.at+l.blocks == r.at) {
		l.blocks += r.blocks
		return
	}
	b.flush()
	b.last = r
}

// flush appends the last run's chunks.
func (b *chunker) flush() {
	r := b.last
	b.last = run{}
	if r.blocks == 0 {
		return
	}
	b.hole(r.start)
	for r.blocks > 0 {
		n := min(r.blocks, maxChunk/b.bs)
		b.chunks = append(b.chunks, sparse.Chunk{Kind: r.kind, Start: uint32(r.start), Blocks: uint32(n), Off: r.start * b.bs})
		r.start, r.blocks = r.start+n, r.blocks-n
		b.next = r.start
	}
}

// hole appends a hole up to a block.
func (b *chunker) hole(to int64) {
	if to > b.next {
		b.chunks = append(b.chunks, sparse.Chunk{Kind: sparse.Hole, Start: uint32(b.next), Blocks: uint32(to - b.next)})
		b.next = to
	}
}
