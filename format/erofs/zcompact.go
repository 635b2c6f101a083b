package erofs

import "encoding/binary"

// Compact indexes come in packs: of 2 in 8 bytes, or of 16 in 32 bytes. Each
// pack ends with 4 bytes, the block that its first head's data is behind; what
// stands before are bit fields of equal width, a number and 2 bits of kind.

// A pack is one of them.
type pack struct {
	b     []byte
	count int  // of indexes
	width int  // of a field, in bits
	low   uint // bits of its number
}

func (p pack) field(i int) (number int64, kind int) {
	at := i * p.width
	var w [8]byte
	copy(w[:], p.b[at/8:])
	v := binary.LittleEndian.Uint64(w[:]) >> (at & 7)
	return int64(v & (1<<p.low - 1)), int(v >> p.low & 3)
}

// find returns the pack of a logical cluster, its place in that, and where the
// pack ends.
func (z *zmap) find(lcn int64) (p pack, i int, end int64, err error) {
	total := (z.n.info.Size + z.n.f.BlockSize - 1) >> z.n.f.blockBits
	if lcn >= total {
		return p, 0, 0, z.n.bad(z.base, "inode %d: logical cluster %d of %d", z.n.num(), lcn, total)
	}
	first := (32 - z.base%32) / 4 & 7 // until packs of 16 are aligned
	small := int64(0)
	if z.advise&adviseCompacted2B != 0 && first < total {
		small = (total - first) / 16 * 16
	}
	at, each := z.base, int64(4)
	if lcn >= first {
		at, lcn = at+4*first, lcn-first
		if lcn < small {
			each = 2
		} else {
			at, lcn = at+2*small, lcn-small
		}
	}
	at += each * lcn
	p = pack{count: 2, low: max(z.shift, 12)}
	if each == 2 {
		p.count = 16
		if z.shift > 12 {
			return p, 0, 0, z.n.bad(at, "inode %d: indexes of 2 bytes for clusters of 1<<%d bytes", z.n.num(), z.shift)
		}
	}
	size := each * int64(p.count)
	start := at &^ (size - 1)
	p.width = int((size - 4) * 8 / int64(p.count))
	p.b = make([]byte, size)
	return p, int((at - start) / each), start + size, z.n.read(p.b, start, "compact indexes")
}

func (z *zmap) loadCompact(lcn int64) (cluster, error) {
	p, i, end, err := z.find(lcn)
	if err != nil {
		return cluster{}, err
	}
	number, kind := p.field(i)
	c := cluster{kind: kind, next: end}
	if kind != clusterNone {
		c.off = number
		c.block = int64(binary.LittleEndian.Uint32(p.b[len(p.b)-4:]))
		blocks, ok := p.blocksBefore(i, z.advise&adviseBig1 != 0)
		if !ok {
			return c, z.n.bad(end, "inode %d: logical cluster %d: distances of the pack before it are wrong", z.n.num(), lcn)
		}
		c.block += blocks
		return c, nil
	}
	c.ahead = p.ahead(i)
	switch {
	case number&blockCount != 0:
		if z.advise&adviseBig1 == 0 {
			return c, z.n.bad(end, "inode %d: logical cluster %d: blocks are counted in a file without big clusters", z.n.num(), lcn)
		}
		c.blocks, c.back = number&^blockCount, 1
	case i+1 < p.count:
		c.back = number
	default: // the last holds the distance ahead; the one before it tells
		before, kind := p.field(i - 1)
		switch {
		case kind != clusterNone:
			before = 0
		case before&blockCount != 0:
			before = 1
		}
		c.back = before + 1
	}
	return c, nil
}

// ahead is the distance from index i to the next head, as far as the pack
// tells.
func (p pack) ahead(i int) int64 {
	distance, number := int64(0), int64(0)
	for ; i < p.count; i++ {
		var kind int
		if number, kind = p.field(i); kind != clusterNone {
			return distance
		}
		distance++
	}
	if number&blockCount == 0 {
		distance += number - 1
	}
	return distance
}

// blocksBefore is how many blocks lie between the pack's block and that of the
// head at index i. Packs of files without big clusters begin at the block before.
func (p pack) blocksBefore(i int, big bool) (int64, bool) {
	if !big {
		n := int64(1)
		for i > 0 {
			i--
			number, kind := p.field(i)
			if kind == clusterNone {
				i -= int(number)
			}
			if i >= 0 {
				n++
			}
		}
		return n, true
	}
	n := int64(0)
	for i > 0 {
		i--
		number, kind := p.field(i)
		switch {
		case kind != clusterNone:
			n++
		case number&blockCount != 0:
			i--
			n += number &^ blockCount
		case number <= 1:
			return 0, false
		default:
			i -= int(number) - 2
		}
	}
	return n, true
}
