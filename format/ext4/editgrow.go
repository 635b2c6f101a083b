package ext4

import (
	"encoding/binary"
	"fmt"

	"mios/format/fsimage"
)

// take gives n blocks to a file: of own first. The image grows if it must.
func (e *Editor) take(n int64, own []fsimage.Run) ([]fsimage.Run, error) {
	if err := e.room(n); err != nil {
		return nil, err
	}
	runs := e.space.Gather(n, own)
	e.mark(runs, true)
	return runs, nil
}

// room sees to it that n blocks are free.
func (e *Editor) room(n int64) error {
	missing := n - e.space.FreeBlocks()
	for missing > 0 {
		last := e.f.groupCount() - 1
		more := min(missing, e.f.BlocksInGroup-e.f.blocksIn(last))
		var err error
		if more > 0 {
			err = e.lengthen(more)
		} else {
			more, err = e.addGroup(missing)
		}
		if err != nil {
			return fmt.Errorf("ext4: %d blocks of %d bytes are needed, %d are free: %w", n, e.f.BlockSize, e.space.FreeBlocks(), err)
		}
		missing -= more
	}
	return nil
}

// resize makes the image longer.
func (e *Editor) resize(more int64) error {
	f := e.f
	size := (f.Blocks + more) * f.BlockSize
	switch {
	case e.o.MaxSize > 0 && size > e.o.MaxSize:
		return fmt.Errorf("%d bytes may be taken, %d are wanted: %w", e.o.MaxSize, size, fsimage.ErrNoSpace)
	case f.Blocks+more > 1<<32-1:
		return fmt.Errorf("more than %d blocks: %w", int64(1<<32-1), fsimage.ErrNoSpace)
	}
	if err := e.file.Truncate(size); err != nil {
		return err
	}
	f.Blocks, f.size, e.grown = f.Blocks+more, size, true
	f.cache.Resize(size)
	e.space.Grow(more)
	return nil
}

// lengthen makes the last group longer.
func (e *Editor) lengthen(more int64) error {
	last := e.f.groupCount() - 1
	from := e.f.blocksIn(last)
	if err := e.resize(more); err != nil {
		return err
	}
	g := e.groups[last]
	for b := from; b < from+more; b++ {
		clearBit(g.blocks, b)
	}
	g.setHalf(descFreeBlocks, g.half(descFreeBlocks)+more)
	return nil
}

// addGroup adds a group with want blocks for files, if it holds as many, and returns
// how many it has. Its metadata is at its beginning.
func (e *Editor) addGroup(want int64) (int64, error) {
	f, bs := e.f, e.f.BlockSize
	i := f.groupCount()
	tail := fsimage.ErrNoSpace
	switch {
	case (i+1)*f.descSize > e.descBlocks()*bs || f.Incompat&incompatMetaBG != 0:
		return 0, fmt.Errorf("there is no room for descriptors of more than %d groups: enlarge it with resize2fs: %w", i, tail)
	case f.hasSuper(i) && binary.LittleEndian.Uint16(e.super[206:]) > 0:
		return 0, fmt.Errorf("group %d would be one that resize_inode knows: enlarge it with resize2fs: %w", i, tail)
	case int64(f.Inodes)+int64(f.InodesInGroup) > 1<<32-1:
		return 0, fmt.Errorf("%d inodes, and no more have numbers: %w", f.Inodes, tail)
	}
	start := f.first(i)
	table := (int64(f.InodesInGroup)*f.InodeSize + bs - 1) / bs
	var head int64 // copies of superblock and descriptors
	if f.hasSuper(i) {
		head = 1 + e.descBlocks()
	}
	overhead := head + 2 + table
	if overhead >= f.BlocksInGroup {
		return 0, fmt.Errorf("a group of %d blocks is all metadata: %w", f.BlocksInGroup, tail)
	}
	blocks := min(f.BlocksInGroup, overhead+max(want, 1))
	if err := e.resize(blocks); err != nil {
		return 0, err
	}
	f.Inodes += f.InodesInGroup
	g := &group{desc: make([]byte, f.descSize), blocks: make([]byte, bs), inodes: make([]byte, bs)}
	g.setWord(descBlockBitmap, start+head)
	g.setWord(descInodeBitmap, start+head+1)
	g.setWord(descInodeTable, start+head+2)
	g.setHalf(descFreeBlocks, blocks-overhead)
	g.setHalf(descFreeInodes, int64(f.InodesInGroup))
	if f.ROCompat&(roMetadataSum|roGroupSum) != 0 {
		binary.LittleEndian.PutUint16(g.desc[descFlags:], inodeZeroed)
		g.setHalf(descUnused, int64(f.InodesInGroup))
	}
	for b := range 8 * bs {
		if b < overhead || b >= blocks {
			setBit(g.blocks, b)
		}
		if b >= int64(f.InodesInGroup) {
			setBit(g.inodes, b)
		}
	}
	e.groups = append(e.groups, g)
	e.space.Take(fsimage.Run{Start: start, Count: overhead})
	e.space.Pin(fsimage.Run{Start: start, Count: overhead})
	if old := binary.LittleEndian.Uint32(e.super[0x248:]); old > 0 {
		binary.LittleEndian.PutUint32(e.super[0x248:], old+uint32(overhead))
	}
	return blocks - overhead, e.writeDesc(i, g)
}

// writeSuper writes the superblock, and the copies if the image has grown.
func (e *Editor) writeSuper() error {
	f, le, b := e.f, binary.LittleEndian, e.super
	var blocks, inodes int64
	for _, g := range e.groups {
		blocks += g.half(descFreeBlocks)
		inodes += g.half(descFreeInodes)
	}
	le.PutUint32(b, f.Inodes)
	le.PutUint32(b[4:], uint32(f.Blocks))
	le.PutUint32(b[12:], uint32(blocks))
	le.PutUint32(b[16:], uint32(inodes))
	if f.Incompat&incompat64Bit != 0 {
		le.PutUint32(b[336:], uint32(f.Blocks>>32))
		le.PutUint32(b[0x158:], uint32(blocks>>32))
	}
	if err := e.writeCopy(0, superOffset); err != nil || !e.grown {
		return err
	}
	table := make([]byte, e.descBlocks()*f.BlockSize)
	if f.Incompat&incompatMetaBG == 0 {
		if err := f.read(table, f.descriptorAt(0), "group descriptors"); err != nil {
			return err
		}
	}
	for i := int64(1); i < f.groupCount(); i++ {
		if !f.hasSuper(i) {
			continue
		}
		at := f.first(i) * f.BlockSize
		if err := e.writeCopy(i, at); err != nil {
			return err
		}
		if f.Incompat&incompatMetaBG == 0 {
			if err := e.write(table, at+f.BlockSize); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeCopy writes the superblock of a group.
func (e *Editor) writeCopy(group, at int64) error {
	le, b := binary.LittleEndian, e.super
	le.PutUint16(b[90:], uint16(group))
	if e.f.hasSums() {
		le.PutUint32(b[superSumAt:], superSum(b))
	}
	return e.write(b, at)
}
