package erofs

import (
	"encoding/binary"

	"mios/format/fsimage"
)

// Files of the feature 48bit have a record for each extent in the place of an index
// for each logical cluster. Records of 4 bytes hold a packed length, of 8 a
// place too, both for extents of a block each; of 16 and 32, where in the file they begin.

const (
	recordPartial = 1 << 27
	recordFormat  = 28 // bits of the algorithm, plus 1
	recordLength  = 1<<21 - 1
)

// checkRecords refuses more records than the metadata can hold, and lengths
// that were never defined.
func (z *zmap) checkRecords() error {
	if z.n.f.Incompat&incompat48Bit == 0 {
		return z.n.bad(z.base, "inode %d: records of extents in an image without the feature 48bit", z.n.num())
	}
	if z.recSize >= 16 && z.extentsN > z.n.f.size/z.recSize && z.n.num()&metaboxBit == 0 {
		return z.n.bad(z.base, "inode %d: %d records of %d bytes, the image has %d", z.n.num(), z.extentsN, z.recSize, z.n.f.size)
	}
	return nil
}

// A record says where an extent lies.
type record struct {
	length uint32
	at     int64
	off    int64
}

// record returns the extent with byte at.
func (z *zmap) record(at int64) (piece, error) {
	find := z.search
	if z.recSize < 16 {
		find = z.count
	}
	r, next, last, err := find(at)
	if err != nil {
		return piece{}, err
	}
	p := piece{Extent: fsimage.Extent{Off: r.off, Len: next - r.off, Full: next - r.off}}
	if last && z.advise&adviseFragment != 0 {
		p.fragment = true
		z.fragment = int64(r.length)
		if z.recSize > 4 {
			z.fragment |= r.at << 32
		}
		return p, nil
	}
	p.Size = int64(r.length & recordLength)
	if p.Size == 0 {
		p.At = fsimage.Hole
		return p, nil
	}
	p.At, p.Partial = r.at, r.length&recordPartial != 0
	codec := int(r.length>>recordFormat) - 1
	p.plain = codec < 0
	return p, z.setCodec(&p, codec)
}

func (z *zmap) readRecord(i int64) (record, error) {
	var b [32]byte
	if err := z.n.read(b[:z.recSize], z.base+i*z.recSize, "records of extents"); err != nil {
		return record{}, err
	}
	le := binary.LittleEndian
	r := record{length: le.Uint32(b[:]), at: int64(le.Uint32(b[4:]))}
	if z.recSize >= 16 {
		r.at |= int64(le.Uint32(b[8:])) << 32
		r.off = int64(le.Uint32(b[12:]))
	}
	if z.recSize >= 32 {
		r.off |= int64(le.Uint32(b[16:])) << 32
	}
	return r, nil
}

// search finds the extent with byte at among records that are in order.
func (z *zmap) search(at int64) (r record, next int64, last bool, err error) {
	low, high, next := int64(0), z.extentsN, z.n.info.Size
	for low < high {
		mid := low + (high-low)/2
		m, err := z.readRecord(mid)
		switch {
		case err != nil:
			return r, 0, false, err
		case m.off < 0 || m.off > z.n.info.Size:
			return r, 0, false, z.n.bad(z.base+mid*z.recSize, "inode %d: record %d is of byte %d", z.n.num(), mid, uint64(m.off))
		case m.off > at:
			high, next = mid, m.off
		default:
			low, r = mid+1, m
		}
	}
	if low == 0 {
		return r, 0, false, z.n.bad(z.base, "inode %d: no record of byte %d", z.n.num(), at)
	}
	return r, next, low == z.extentsN, nil
}

// count finds the extent with byte at where each is of a logical cluster.
func (z *zmap) count(at int64) (r record, next int64, last bool, err error) {
	i, size := at>>z.shift, z.n.info.Size
	if z.recSize == 8 {
		r, err = z.readRecord(i)
	} else if r, err = z.readPlaced(i); err != nil {
		return r, 0, false, err
	}
	r.off = i << z.shift
	next = min(r.off+1<<z.shift, size)
	return r, next, next == size, err
}

// readPlaced reads record i of those that lie behind each other: a place of 8
// bytes comes before all.
func (z *zmap) readPlaced(i int64) (record, error) {
	var b [8]byte
	if err := z.n.read(b[:], z.base, "place of extents"); err != nil {
		return record{}, err
	}
	r := record{at: int64(binary.LittleEndian.Uint64(b[:]))}
	for k := int64(0); ; k++ {
		if err := z.n.read(b[:4], z.base+8+4*k, "records of extents"); err != nil {
			return r, err
		}
		r.length = binary.LittleEndian.Uint32(b[:])
		if k == i {
			return r, nil
		}
		if r.at += int64(r.length & recordLength); r.at < 0 || r.at > z.n.f.size {
			return r, z.n.bad(z.base, "inode %d: record %d lies behind the image", z.n.num(), k)
		}
	}
}
