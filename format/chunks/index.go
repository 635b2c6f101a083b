package chunks

import (
	"encoding/binary"
	"fmt"

	"mios"
)

const magic = "miOSchk1"

// Bytes returns the root's encoding.
func (r *Root) Bytes() ([]byte, error) {
	if why := r.check(); why != "" {
		return nil, fmt.Errorf("chunks: root: %s: %w", why, mios.ErrInvalid)
	}
	b := append([]byte(nil), magic...)
	num := func(n int64) { b = binary.AppendUvarint(b, uint64(n)) }
	text := func(s []byte) { num(int64(len(s))); b = append(b, s...) }
	for _, n := range []int{r.Cutter.Min, r.Cutter.Avg, r.Cutter.Max} {
		num(int64(n))
	}
	num(r.PackSize)
	num(int64(len(r.Partitions)))
	for i := range r.Partitions {
		p := &r.Partitions[i]
		text([]byte(p.Name))
		num(p.Size)
		b = append(b, p.SHA256[:]...)
		num(int64(len(p.Areas)))
		for j := range p.Areas {
			a := &p.Areas[j]
			for _, n := range []int64{int64(a.Kind), a.Offset, a.Size, a.Covers} {
				num(n)
			}
			text([]byte(a.Hash))
			text(a.Salt)
			num(int64(a.Roots))
		}
		num(int64(len(p.Regions)))
		for j := range p.Regions {
			g := &p.Regions[j]
			num(g.Size)
			num(int64(g.Chunks))
			num(g.PartSize)
			b = append(b, g.Part[:]...)
			b = append(b, g.Sequence[:]...)
		}
	}
	if r.size = int64(len(b)); r.size > MaxRoot {
		return nil, fmt.Errorf("chunks: root of %d bytes, want at most %d: %w: cut larger chunks", len(b), MaxRoot, mios.ErrInvalid)
	}
	return b, nil
}

// ParseRoot reads a root. What it accepts, [Root.Bytes] gives back.
func ParseRoot(b []byte) (*Root, error) {
	r, n, err := ReadRoot(b)
	if err == nil && n < len(b) {
		return nil, &FormatError{"root", int64(n), fmt.Sprintf("%d bytes after the end", len(b)-n)}
	}
	return r, err
}

// ReadRoot reads the root that an index begins with, and returns how many bytes
// it has.
func ReadRoot(b []byte) (*Root, int, error) {
	d := &decoder{what: "root", b: b[:min(len(b), MaxRoot)]}
	if string(d.bytes(len(magic))) != magic {
		return nil, 0, &FormatError{"root", 0, "no index of chunks: want " + magic}
	}
	r := &Root{Cutter: Cutter{Min: d.count(maxChunk), Avg: d.count(maxChunk), Max: d.count(maxChunk)}, PackSize: d.num(maxSize)}
	for n := d.count(maxPartitions); n > 0 && d.err == nil; n-- {
		r.Partitions = append(r.Partitions, d.partition())
	}
	if d.err == nil {
		if why := r.check(); why != "" {
			d.fail(why)
		}
	}
	if d.err != nil {
		return nil, 0, d.err
	}
	r.size = int64(d.at)
	return r, d.at, nil
}

// IndexSize returns how many bytes an index has that begins with a root that
// was read.
func (r *Root) IndexSize() int64 {
	n := r.size
	for i := range r.Partitions {
		for _, g := range r.Partitions[i].Regions {
			n += g.PartSize
		}
	}
	return n
}

func (d *decoder) partition() (p Partition) {
	p.Name = string(d.text(maxName))
	p.Size = d.num(maxSize)
	p.SHA256 = d.digest()
	for n := d.count(maxAreas); n > 0 && d.err == nil; n-- {
		a := Area{Kind: Kind(d.count(255)), Offset: d.num(maxSize), Size: d.num(maxSize), Covers: d.num(maxSize)}
		a.Hash, a.Salt, a.Roots = string(d.text(32)), d.text(255), d.count(255)
		if len(a.Salt) == 0 {
			a.Salt = nil
		}
		p.Areas = append(p.Areas, a)
	}
	for n := d.num(maxSize); n > 0 && d.err == nil; n-- {
		p.Regions = append(p.Regions, Region{
			Size: d.num(maxSize), Chunks: d.count(regionChunks), PartSize: d.num(MaxPart), Part: d.digest(), Sequence: d.digest(),
		})
	}
	return p
}

// How a part's entry begins: the low bits of its size.
const (
	first  = 0 // the pack's next bytes
	again  = 1 // bytes of the pack that were named before
	zero   = 2 // zeros
	stored = 3 // the pack's next bytes, not compressed
)

// appendPart appends the encoding of a region's part. next is where in the
// pack the first chunk lies that is in no part before; what follows it is
// returned.
func appendPart(b []byte, list []Chunk, next int64) (_ []byte, after int64) {
	b = binary.AppendUvarint(b, uint64(next))
	for i := range list {
		c := &list[i]
		size := uint64(c.Size) << 2
		switch {
		case c.Zero():
			b = binary.AppendUvarint(b, size|zero)
		case c.Pack < next:
			b = binary.AppendUvarint(b, size|again)
			b = append(b, c.ID[:]...)
			b = binary.AppendUvarint(b, uint64(c.Pack))
			b = binary.AppendUvarint(b, uint64(c.Packed))
		case c.Packed == c.Size:
			b = binary.AppendUvarint(b, size|stored)
			b = append(b, c.ID[:]...)
			next += int64(c.Packed)
		default:
			b = binary.AppendUvarint(b, size|first)
			b = append(b, c.ID[:]...)
			b = binary.AppendUvarint(b, uint64(c.Packed))
			next += int64(c.Packed)
		}
	}
	return b, next
}

// ParsePart reads the part of the region g, which must have the hash that the
// root says: else the error wraps [mios.ErrInvalid] too.
func (r *Root) ParsePart(g *Region, b []byte) ([]Chunk, error) {
	if int64(len(b)) != g.PartSize || mios.Sum(b) != g.Part {
		return nil, &FormatError{"part", 0, "is not the one that the root names"}
	}
	d := &decoder{what: "part", b: b}
	list := make([]Chunk, 0, min(g.Chunks, len(b)))
	next, size := d.num(r.PackSize), int64(0)
	for range g.Chunks {
		c := d.chunk(r, &next)
		if d.err != nil {
			return nil, d.err
		}
		size += int64(c.Size)
		list = append(list, c)
	}
	switch {
	case d.at < len(b):
		d.fail(fmt.Sprintf("%d bytes after the end", len(b)-d.at))
	case size != g.Size:
		d.fail(fmt.Sprintf("chunks of %d bytes, want %d", size, g.Size))
	case Sequence(list) != g.Sequence:
		d.fail("chunks are not those that the root names")
	}
	return list, d.err
}

func (d *decoder) chunk(r *Root, next *int64) (c Chunk) {
	at := d.at
	n := d.num(maxChunk<<2 | 3)
	c.Size = int(n >> 2)
	kind := n & 3
	switch kind {
	case again:
		c.ID = ID(d.bytes(16))
		c.Pack, c.Packed = d.num(r.PackSize), d.count(maxChunk)
	case stored:
		c.ID = ID(d.bytes(16))
		c.Pack, c.Packed = *next, c.Size
		*next += int64(c.Size)
	case first:
		c.ID = ID(d.bytes(16))
		c.Pack, c.Packed = *next, d.count(maxChunk)
		*next += int64(c.Packed)
	}
	if d.err != nil {
		return c
	}
	switch {
	case c.Size == 0 || c.Size > r.Cutter.Max:
		d.at = at
		d.fail(fmt.Sprintf("chunk of %d bytes", c.Size))
	case kind != zero && (c.Packed == 0 || c.Packed > c.Size || c.Zero()), kind == first && c.Packed == c.Size:
		d.at = at
		d.fail(fmt.Sprintf("chunk of %d bytes in %d", c.Size, c.Packed))
	case kind == again && c.Pack >= *next:
		d.at = at
		d.fail(fmt.Sprintf("chunk at %d of the pack, which begins again at %d", c.Pack, *next))
	case c.Pack > r.PackSize-int64(c.Packed):
		d.at = at
		d.fail(fmt.Sprintf("chunk at %d in a pack of %d bytes", c.Pack, r.PackSize))
	}
	return c
}

// A decoder reads numbers and bytes, and keeps its first error.
type decoder struct {
	what string
	b    []byte
	at   int
	err  error
}

func (d *decoder) fail(msg string) {
	if d.err == nil {
		d.err = &FormatError{d.what, int64(d.at), msg}
	}
}

// bytes returns the next n bytes, or as many zeros after an error.
func (d *decoder) bytes(n int) []byte {
	if d.err == nil && len(d.b)-d.at < n {
		d.fail(fmt.Sprintf("%d bytes left, want %d", len(d.b)-d.at, n))
	}
	if d.err != nil {
		return make([]byte, n)
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

// num reads a number of at most max, in its shortest form.
func (d *decoder) num(max int64) int64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.b[d.at:])
	switch {
	case n <= 0:
		d.fail("a number that does not end")
	case n > 1 && d.b[d.at+n-1] == 0:
		d.fail("a number that is longer than it must be")
	case v > uint64(max):
		d.fail(fmt.Sprintf("%d, want at most %d", v, max))
	default:
		d.at += n
		return int64(v)
	}
	return 0
}

func (d *decoder) count(max int) int { return int(d.num(int64(max))) }

func (d *decoder) text(max int) []byte { return d.bytes(d.count(max)) }

func (d *decoder) digest() mios.Digest { return mios.Digest(d.bytes(len(mios.Digest{}))) }
