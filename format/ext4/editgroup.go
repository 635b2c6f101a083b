package ext4

import (
	"encoding/binary"

	"mios/format/fsimage"
)

// Fields of a group's descriptor, and where the upper half of each is in one of
// 64 bytes.
type field struct{ low, high int }

var (
	descBlockBitmap = field{0, 32}
	descInodeBitmap = field{4, 36}
	descInodeTable  = field{8, 40}
	descFreeBlocks  = field{12, 44}
	descFreeInodes  = field{14, 46}
	descFolders     = field{16, 48}
	descUnused      = field{28, 50} // inodes at the end of the table that never were
	descBlockSum    = field{24, 56}
	descInodeSum    = field{26, 58}
)

const (
	descFlags   = 18
	inodeUninit = 1 // no inode is used, the bitmap may be anything
	blockUninit = 2 // only metadata is there, the bitmap may be anything
	inodeZeroed = 4
)

// A group is a group of blocks, as it will be.
type group struct {
	desc    []byte
	blocks  []byte // bitmap
	inodes  []byte // bitmap
	changed bool   // of desc and bitmaps, whatever flags say
	closed  bool   // nothing is given away here
}

// word is a field of blocks' numbers.
func (g *group) word(f field) int64 {
	n := int64(binary.LittleEndian.Uint32(g.desc[f.low:]))
	if len(g.desc) >= 64 {
		n |= int64(binary.LittleEndian.Uint32(g.desc[f.high:])) << 32
	}
	return n
}

func (g *group) setWord(f field, n int64) {
	binary.LittleEndian.PutUint32(g.desc[f.low:], uint32(n))
	if len(g.desc) >= 64 {
		binary.LittleEndian.PutUint32(g.desc[f.high:], uint32(n>>32))
	}
}

// half is a field that counts.
func (g *group) half(f field) int64 {
	n := int64(binary.LittleEndian.Uint16(g.desc[f.low:]))
	if len(g.desc) >= 64 {
		n |= int64(binary.LittleEndian.Uint16(g.desc[f.high:])) << 16
	}
	return n
}

func (g *group) setHalf(f field, n int64) {
	binary.LittleEndian.PutUint16(g.desc[f.low:], uint16(n))
	if len(g.desc) >= 64 {
		binary.LittleEndian.PutUint16(g.desc[f.high:], uint16(n>>16))
	}
	g.changed = true
}

// flags of a group mean nothing without checksums.
func (e *Editor) flags(g *group) uint16 {
	if e.f.ROCompat&(roMetadataSum|roGroupSum) == 0 {
		return 0
	}
	return binary.LittleEndian.Uint16(g.desc[descFlags:])
}

func (e *Editor) clearFlag(g *group, flag uint16) {
	if e.flags(g)&flag != 0 {
		binary.LittleEndian.PutUint16(g.desc[descFlags:], e.flags(g)&^flag)
		g.changed = true
	}
}

func bit(b []byte, i int64) bool { return b[i/8]>>(i%8)&1 != 0 }
func setBit(b []byte, i int64)   { b[i/8] |= 1 << (i % 8) }
func clearBit(b []byte, i int64) { b[i/8] &^= 1 << (i % 8) }

// first is the first block of a group.
func (f *FS) first(group int64) int64 { return f.firstBlock + group*f.BlocksInGroup }

// groupCount is how many groups there are.
func (f *FS) groupCount() int64 {
	return (f.Blocks - f.firstBlock + f.BlocksInGroup - 1) / f.BlocksInGroup
}

// blocksIn is how many blocks a group has: the last one may have fewer.
func (f *FS) blocksIn(group int64) int64 {
	return min(f.BlocksInGroup, f.Blocks-f.first(group))
}

// readGroups reads descriptors and bitmaps, and notes which blocks are free.
func (e *Editor) readGroups() error {
	f := e.f
	if f.BlocksInGroup > 8*f.BlockSize || f.BlocksInGroup%8 != 0 || f.InodesInGroup%8 != 0 {
		return bad(superOffset+32, "groups of %d blocks and %d inodes, which bitmaps of a block cannot tell of", f.BlocksInGroup, f.InodesInGroup)
	}
	if n := f.groupCount(); int64(f.Inodes) != n*int64(f.InodesInGroup) {
		return bad(superOffset, "%d inodes in %d groups of %d", f.Inodes, n, f.InodesInGroup)
	}
	for i := range f.groupCount() {
		if _, err := f.inodeTable(i); err != nil {
			return err
		}
		g := &group{desc: make([]byte, f.descSize)}
		if err := f.read(g.desc, f.descriptorAt(i), "group descriptor"); err != nil {
			return err
		}
		if err := e.readBitmaps(i, g); err != nil {
			return err
		}
		e.groups = append(e.groups, g)
	}
	for i, g := range e.groups {
		e.pinMetadata(int64(i), g)
	}
	for i, g := range e.groups {
		if g.closed {
			continue
		}
		for b := range f.blocksIn(int64(i)) {
			if !bit(g.blocks, b) {
				e.space.Unhold(f.first(int64(i)) + b)
			}
		}
	}
	return nil
}

// readBitmaps reads those of a group. Those that may be anything are made.
func (e *Editor) readBitmaps(i int64, g *group) error {
	f, bs := e.f, e.f.BlockSize
	for _, m := range []struct {
		at     field
		sum    field
		uninit uint16
		bits   int64 // that the checksum is of
		used   int64 // bits that there are
		to     *[]byte
	}{
		{descBlockBitmap, descBlockSum, blockUninit, f.BlocksInGroup, f.blocksIn(i), &g.blocks},
		{descInodeBitmap, descInodeSum, inodeUninit, int64(f.InodesInGroup), int64(f.InodesInGroup), &g.inodes},
	} {
		b := make([]byte, bs)
		*m.to = b
		block := g.word(m.at)
		if block <= f.firstBlock || block >= f.Blocks {
			return bad(f.descriptorAt(i)+int64(m.at.low), "group %d: a bitmap is in block %d of %d", i, block, f.Blocks)
		}
		if e.flags(g)&m.uninit != 0 {
			for n := m.used; n < 8*bs; n++ {
				setBit(b, n)
			}
			continue
		}
		if err := f.read(b, block*bs, "bitmap"); err != nil {
			return err
		}
		if !f.hasSums() {
			continue
		}
		sum, mask := crc(f.seed, b[:m.bits/8]), uint32(1<<16-1)
		if f.descSize >= 64 {
			mask = 1<<32 - 1
		}
		if want := uint32(g.half(m.sum)); sum&mask != want {
			return bad(block*bs, "group %d: CRC-32C of a bitmap is %#x, want %#x", i, sum&mask, want)
		}
	}
	g.closed = e.flags(g)&blockUninit != 0 && f.Incompat&incompatMetaBG != 0
	return nil
}

// superRun is what a group's copy of the superblock and the descriptors takes.
func (e *Editor) superRun(i int64) fsimage.Run {
	f := e.f
	if !f.hasSuper(i) {
		return fsimage.Run{}
	}
	count := 1 + f.firstMeta
	if f.Incompat&incompatMetaBG == 0 {
		count = 1 + e.descBlocks() + int64(binary.LittleEndian.Uint16(e.super[206:]))
	}
	return fsimage.Run{Start: f.first(i), Count: count}
}

// descBlocks is how many blocks descriptors take.
func (e *Editor) descBlocks() int64 {
	return (e.f.groupCount()*e.f.descSize + e.f.BlockSize - 1) / e.f.BlockSize
}

// pinMetadata notes where the metadata of a group is: with flex_bg in another
// group, whose bitmap it may have to be put into.
func (e *Editor) pinMetadata(i int64, g *group) {
	f := e.f
	table := (int64(f.InodesInGroup)*f.InodeSize + f.BlockSize - 1) / f.BlockSize
	for _, r := range []fsimage.Run{
		e.superRun(i),
		{Start: g.word(descBlockBitmap), Count: 1},
		{Start: g.word(descInodeBitmap), Count: 1},
		{Start: g.word(descInodeTable), Count: table},
	} {
		e.space.Pin(r)
		for block := max(r.Start, f.firstBlock); block < min(r.Start+r.Count, f.Blocks); block++ {
			in := (block - f.firstBlock) / f.BlocksInGroup
			if g := e.groups[in]; e.flags(g)&blockUninit != 0 {
				setBit(g.blocks, block-f.first(in))
			}
		}
	}
}

// mark notes in bitmaps that blocks are used, or are not.
func (e *Editor) mark(runs []fsimage.Run, used bool) {
	f := e.f
	for _, r := range runs {
		for block := r.Start; block < r.Start+r.Count; block++ {
			in := (block - f.firstBlock) / f.BlocksInGroup
			g, b := e.groups[in], block-f.first(in)
			switch {
			case bit(g.blocks, b) == used:
				continue
			case used:
				setBit(g.blocks, b)
				g.setHalf(descFreeBlocks, g.half(descFreeBlocks)-1)
			default:
				clearBit(g.blocks, b)
				g.setHalf(descFreeBlocks, g.half(descFreeBlocks)+1)
			}
			e.clearFlag(g, blockUninit)
		}
	}
}

// free frees what of blocks nobody else uses.
func (e *Editor) free(r fsimage.Run) []fsimage.Run {
	runs := e.space.Free(r)
	e.mark(runs, false)
	return runs
}

// writeGroups writes bitmaps and descriptors that changed.
func (e *Editor) writeGroups() error {
	f, bs := e.f, e.f.BlockSize
	for i, g := range e.groups {
		if !g.changed {
			continue
		}
		if e.flags(g)&blockUninit == 0 {
			if err := e.write(g.blocks, g.word(descBlockBitmap)*bs); err != nil {
				return err
			}
		}
		if e.flags(g)&inodeUninit == 0 {
			if err := e.write(g.inodes, g.word(descInodeBitmap)*bs); err != nil {
				return err
			}
		}
		if f.hasSums() {
			g.setHalf(descBlockSum, int64(crc(f.seed, g.blocks[:f.BlocksInGroup/8])))
			g.setHalf(descInodeSum, int64(crc(f.seed, g.inodes[:f.InodesInGroup/8])))
		}
		if err := e.writeDesc(int64(i), g); err != nil {
			return err
		}
	}
	return nil
}

func (e *Editor) writeDesc(i int64, g *group) error {
	if e.f.ROCompat&(roMetadataSum|roGroupSum) != 0 {
		binary.LittleEndian.PutUint16(g.desc[30:], e.f.groupSum(uint32(i), g.desc))
	}
	return e.write(g.desc, e.f.descriptorAt(i))
}
