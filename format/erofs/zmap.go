package erofs

import (
	"encoding/binary"

	"mios/format/fsimage"
)

// What a compressed file's header advises.
const (
	adviseCompacted2B = 0x01
	adviseExtents     = 0x01
	adviseBig1        = 0x02
	adviseBig2        = 0x04
	adviseInline      = 0x08
	adviseInterlaced  = 0x10
	adviseFragment    = 0x20
)

// What a logical cluster's index says it is.
const (
	clusterPlain = 0
	clusterHead1 = 1
	clusterNone  = 2 // it belongs to a head before it
	clusterHead2 = 3
)

const (
	partialRef   = 1 << 15
	blockCount   = 1 << 11 // a distance is a number of blocks
	maxPacked    = 1 << 20 // Z_EROFS_PCLUSTER_MAX_SIZE
	wholeInPart  = 0x80    // the file lies in the packed inode as a whole
	zHeaderSize  = 8
	noFragment   = -1
	maxShift     = 14 // bits of a logical cluster
	fullIndexGap = 8
)

// A zmap is how a compressed file is cut up.
type zmap struct {
	n        *inode
	base     int64 // first index, in the metadata
	advise   uint16
	shift    uint // bits of a logical cluster
	codecs   [2]int
	fragment int64 // where the end, or all, lies in the packed inode; or noFragment
	tail     int64 // the head of the last extent, if that is inline or a fragment
	inline   int64 // where the last extent's bytes lie, in the metadata
	idata    int64 // how many they are; 0: none
	extentsN int64 // of a file with extents
	recSize  int64 // of each
}

// A cluster is what the index of a logical cluster says.
type cluster struct {
	kind    int
	off     int64 // where the extent begins, in the cluster
	block   int64 // where a head's data lies
	back    int64 // distance to the head
	ahead   int64 // distance to the next head
	blocks  int64 // compressed blocks; 0: it does not say
	partial bool
	next    int64 // where the indexes go on
}

// newZmap reads the header of a compressed file.
func (n *inode) newZmap() (*zmap, error) {
	var b [zHeaderSize]byte
	at := (n.end + 7) &^ 7
	if err := n.read(b[:], at, "header of compressed data"); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	z := &zmap{n: n, base: at + zHeaderSize, fragment: noFragment, tail: -1, advise: le.Uint16(b[4:])}
	if b[7]&wholeInPart != 0 {
		z.advise, z.tail = adviseFragment, 0
		z.fragment = int64(le.Uint64(b[:]) &^ (1 << 63))
		return z, nil
	}
	z.shift = n.f.blockBits + uint(b[7]&15)
	if n.layout == layoutCompressed && z.advise&adviseExtents != 0 {
		z.extentsN = int64(le.Uint32(b[:])) | int64(le.Uint16(b[6:]))<<32
		z.recSize = 4 << (z.advise >> 1 & 3)
		z.base = (z.base + z.recSize - 1) / z.recSize * z.recSize
		return z, z.checkRecords()
	}
	if z.shift > 31 {
		return nil, n.bad(at+7, "inode %d: logical clusters of 1<<%d bytes", n.num(), z.shift)
	}
	z.codecs = [2]int{int(b[6] & 15), int(b[6] >> 4)}
	if n.layout == layoutCompressed {
		z.base += fullIndexGap
	} else if big := z.advise & (adviseBig1 | adviseBig2); big != 0 && big != adviseBig1|adviseBig2 {
		return nil, n.bad(at+4, "inode %d: compact indexes with only one kind of big clusters", n.num())
	} else if z.shift > maxShift {
		return nil, n.bad(at+7, "inode %d: compact indexes of logical clusters of 1<<%d bytes", n.num(), z.shift)
	}
	switch {
	case z.advise&adviseFragment != 0:
		z.fragment = int64(le.Uint32(b[:]))
	case z.advise&adviseInline != 0:
		z.idata = int64(le.Uint16(b[2:]))
	default:
		return z, nil
	}
	return z, z.findTail()
}

// findTail finds the head of the last extent.
func (z *zmap) findTail() error {
	if z.n.info.Size == 0 {
		return nil
	}
	last := (z.n.info.Size - 1) >> z.shift
	c, err := z.load(last)
	if err != nil {
		return err
	}
	z.inline = c.next
	lcn, head, err := z.head(z.n.info.Size-1, last, c)
	if err != nil {
		return err
	}
	if z.fragment != noFragment && z.n.layout == layoutCompressed {
		z.fragment |= head.block << 32
	}
	if z.fragment != noFragment || z.idata > 0 {
		z.tail = lcn
	}
	return nil
}

// head returns the head of the extent with byte at, which is in cluster lcn.
func (z *zmap) head(at, lcn int64, c cluster) (int64, cluster, error) {
	back := c.back
	if c.kind != clusterNone {
		if at&(1<<z.shift-1) >= c.off {
			return lcn, c, nil
		}
		back = 1
	}
	for back > 0 && back <= lcn {
		lcn -= back
		var err error
		if c, err = z.load(lcn); err != nil {
			return 0, c, err
		}
		if c.kind != clusterNone {
			return lcn, c, nil
		}
		back = c.back
	}
	return 0, c, z.n.bad(z.base, "inode %d: logical cluster %d: its head is %d clusters before it", z.n.num(), lcn, back)
}

// load reads the index of a logical cluster.
func (z *zmap) load(lcn int64) (cluster, error) {
	var c cluster
	var err error
	if z.n.layout == layoutCompressedCompact {
		c, err = z.loadCompact(lcn)
	} else {
		c, err = z.loadFull(lcn)
	}
	if err == nil && c.kind != clusterNone && c.off >= 1<<z.shift {
		err = z.n.bad(z.base, "inode %d: logical cluster %d: its extent begins at %d, behind its end", z.n.num(), lcn, c.off)
	}
	return c, err
}

func (z *zmap) loadFull(lcn int64) (cluster, error) {
	var b [8]byte
	at := z.base + 8*lcn
	if err := z.n.read(b[:], at, "indexes"); err != nil {
		return cluster{}, err
	}
	le := binary.LittleEndian
	advise := le.Uint16(b[:])
	c := cluster{kind: int(advise & 3), next: at + 8}
	if c.kind != clusterNone {
		c.partial = advise&partialRef != 0
		c.off, c.block = int64(le.Uint16(b[2:])), int64(le.Uint32(b[4:]))
		return c, nil
	}
	c.back, c.ahead = int64(le.Uint16(b[4:])), int64(le.Uint16(b[6:]))
	if c.back&blockCount != 0 {
		if z.advise&(adviseBig1|adviseBig2) == 0 {
			return c, z.n.bad(at+4, "inode %d: logical cluster %d: blocks are counted in a file without big clusters", z.n.num(), lcn)
		}
		c.blocks, c.back = c.back&^blockCount, 1
	}
	return c, nil
}

// extents yields those from the one with byte at on.
func (z *zmap) extents(at int64, yield func(fsimage.Extent, error) bool) {
	for at < z.n.info.Size {
		e, err := z.extent(at)
		if err == nil && (e.Off > at || e.Len <= at-e.Off) {
			err = z.n.bad(z.base, "inode %d: %d bytes from %d on do not hold byte %d", z.n.num(), e.Len, e.Off, at)
		}
		if err != nil {
			yield(fsimage.Extent{}, err)
			return
		}
		next := e.Off + e.Len
		if !z.put(e, at, yield) {
			return
		}
		at = next
	}
}

// A piece is an extent as the indexes have it.
type piece struct {
	fsimage.Extent
	plain    bool
	fragment bool
}

func (z *zmap) extent(at int64) (piece, error) {
	switch {
	case z.n.layout == layoutCompressed && z.advise&adviseExtents != 0:
		return z.record(at)
	case z.fragment != noFragment && z.tail == 0:
		return piece{Extent: fsimage.Extent{Len: z.n.info.Size}, fragment: true}, nil
	}
	lcn := at >> z.shift
	c, err := z.load(lcn)
	if err != nil {
		return piece{}, err
	}
	if lcn, c, err = z.head(at, lcn, c); err != nil {
		return piece{}, err
	}
	p := piece{Extent: fsimage.Extent{Off: lcn<<z.shift + c.off, Partial: c.partial}, plain: c.kind == clusterPlain}
	if p.Len, err = z.unpackedLen(lcn, p.Off); err != nil {
		return p, err
	}
	p.Full = p.Len
	switch {
	case lcn == z.tail && z.fragment != noFragment:
		p.fragment = true
		return p, nil
	case lcn == z.tail:
		p.At, p.Size, p.Inline = z.inline, z.idata, true
		if bs := z.n.f.BlockSize; p.At%bs+p.Size > bs {
			return p, z.n.bad(p.At, "inode %d: inline data of %d bytes goes over the end of a block", z.n.num(), p.Size)
		}
	default:
		p.At = c.block << z.n.f.blockBits
		blocks, err := z.packedBlocks(lcn, c.kind)
		if err != nil {
			return p, err
		}
		p.Size = blocks << z.n.f.blockBits
	}
	codec := z.codecs[0]
	if c.kind == clusterHead2 {
		codec = z.codecs[1]
	}
	return p, z.setCodec(&p, codec)
}

// setCodec sets how a piece is packed, and refuses what no packer makes.
func (z *zmap) setCodec(p *piece, codec int) error {
	switch {
	case p.plain && p.Len > p.Size:
		return z.n.bad(z.base, "inode %d: %d bytes from %d on are %d bytes that are not compressed", z.n.num(), p.Len, p.Off, p.Size)
	case p.plain:
		return nil
	case codec > zstd || z.n.f.Algorithms>>codec&1 == 0:
		return z.n.bad(z.base, "inode %d: algorithm %d, which the image does not say it uses", z.n.num(), codec)
	case p.Size > maxPacked || p.Full > fsimage.MaxUnpacked:
		return z.n.bad(z.base, "inode %d: %d bytes from %d on unpack to %d, want at most %d to %d",
			z.n.num(), p.Size, p.Off, p.Full, maxPacked, fsimage.MaxUnpacked)
	}
	p.Codec = fsimage.LZ4 + fsimage.Codec(codec)
	return nil
}

// unpackedLen is the length of the extent from byte off on whose head is lcn.
func (z *zmap) unpackedLen(lcn, off int64) (int64, error) {
	size := z.n.info.Size
	for next := lcn + 1; next<<z.shift < size; {
		c, err := z.load(next)
		if err != nil {
			return 0, err
		}
		if c.kind != clusterNone {
			return min(next<<z.shift+c.off, size) - off, nil
		}
		next += max(1, c.ahead) // mkfs before 1.0 wrote 0
		if next<<z.shift-off > 2*fsimage.MaxUnpacked && lcn != z.tail {
			return 0, z.n.bad(z.base, "inode %d: the extent from %d on unpacks to more than %d", z.n.num(), off, fsimage.MaxUnpacked)
		}
	}
	return size - off, nil
}

// packedBlocks is how many blocks the extent whose head is lcn has in the
// image.
func (z *zmap) packedBlocks(lcn int64, kind int) (int64, error) {
	big := z.advise & adviseBig2
	if kind == clusterHead1 {
		big = z.advise & adviseBig1
	}
	if big == 0 || (lcn+1)<<z.shift >= z.n.info.Size {
		return 1, nil
	}
	c, err := z.load(lcn + 1)
	switch {
	case err != nil:
		return 0, err
	case c.kind != clusterNone:
		return 1, nil
	case c.back != 1 || c.blocks == 0:
		return 0, z.n.bad(z.base, "inode %d: logical cluster %d does not count blocks", z.n.num(), lcn+1)
	}
	return c.blocks, nil
}

// put yields a piece: what is not compressed as that, and a fragment as what
// the packed inode is made of.
func (z *zmap) put(p piece, from int64, yield func(fsimage.Extent, error) bool) bool {
	e := p.Extent
	switch {
	case p.fragment:
		other, err := z.n.f.packedOnce()
		if err == nil && other.num() == z.n.num() {
			err = z.n.bad(z.n.off, "inode %d: the packed inode lies in itself", z.n.num())
		}
		if err != nil {
			return yield(e, err) && false
		}
		return z.n.within(other, z.fragment, e, from, yield)
	case e.At == fsimage.Hole:
		return yield(e, nil)
	case !e.Inline || z.n.num()&metaboxBit == 0:
		if err := z.n.inside(e); err != nil {
			return yield(e, err) && false
		}
	default:
		return yield(e, z.n.bad(e.At, "inode %d: compressed data lies in the metabox", z.n.num())) && false
	}
	if !p.plain {
		return yield(e, nil)
	}
	return z.putPlain(p, yield)
}

// putPlain yields what is not compressed. Interlaced data is turned round a
// block, so that it begins where it will in memory.
func (z *zmap) putPlain(p piece, yield func(fsimage.Extent, error) bool) bool {
	e := p.Extent
	e.Full, e.Partial = 0, false
	bs := z.n.f.BlockSize
	skip := e.Off % bs
	if z.advise&adviseInterlaced == 0 || (e.At|e.Size)%bs != 0 || skip == 0 {
		e.Size = e.Len
		return yield(e, nil)
	}
	if e.Size > bs {
		return yield(e, z.n.bad(e.At, "inode %d: interlaced data of %d bytes, want a block", z.n.num(), e.Size)) && false
	}
	right := min(bs-skip, e.Len)
	first, second := e, e
	first.At, first.Len, first.Size = e.At+skip, right, right
	second.Off, second.Len, second.Size = e.Off+right, e.Len-right, e.Len-right
	return yield(first, nil) && (second.Len == 0 || yield(second, nil))
}
