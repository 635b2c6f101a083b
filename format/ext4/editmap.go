package ext4

import (
	"encoding/binary"
	"io/fs"

	"mios/format/fsimage"
)

// each calls fn for all blocks that a file has: those of data, also behind its
// end, and those that tell of others. It checks that they are in the image.
func (n *inode) each(fn func(r fsimage.Run, index bool)) error {
	mode := n.info.Mode
	if !mode.IsRegular() && !mode.IsDir() && mode.Type() != fs.ModeSymlink || n.flags&flagInline != 0 {
		return nil
	}
	if mode.Type() == fs.ModeSymlink && n.fast() {
		return nil
	}
	m := mapper{n: n, fn: fn}
	if n.flags&flagExtents != 0 {
		return m.node(n.raw[mapOff:mapOff+mapSize], n.info.Off+mapOff, -1)
	}
	for i := range int64(directBlocks + mapLevels) {
		block := int64(binary.LittleEndian.Uint32(n.raw[mapOff+4*i:]))
		if err := m.mapped(block, n.info.Off+mapOff+4*i, int(max(0, i-directBlocks+1))); err != nil {
			return err
		}
	}
	return nil
}

// A mapper goes through all blocks of a file.
type mapper struct {
	n     *inode
	fn    func(fsimage.Run, bool)
	next  int64 // block of the file
	count int64 // blocks that tell of others
}

func (m *mapper) index(at, block int64) error {
	if err := m.n.blocks(at, block, 1); err != nil {
		return err
	}
	if m.count++; m.count > m.n.f.Blocks {
		return bad(at, "inode %d: more blocks that tell of blocks than the image has", m.n.info.Num)
	}
	m.fn(fsimage.Run{Start: block, Count: 1}, true)
	return nil
}

// node goes through a node of the tree of extents.
func (m *mapper) node(b []byte, at int64, depth int) error {
	le := binary.LittleEndian
	count, level := int(le.Uint16(b[2:])), int(le.Uint16(b[6:]))
	switch {
	case le.Uint16(b) != extentMagic:
		return bad(at, "inode %d: magic of extents is %#x, want %#x", m.n.info.Num, le.Uint16(b), extentMagic)
	case count > (len(b)-extentHeader)/extentSize || level > maxDepth || depth >= 0 && level != depth || depth >= 0 && count == 0:
		return bad(at+2, "inode %d: %d extents, depth %d", m.n.info.Num, count, level)
	}
	for i := range count {
		off := extentHeader + i*extentSize
		e := b[off : off+extentSize]
		first := int64(le.Uint32(e))
		if first < m.next {
			return bad(at+int64(off), "inode %d: the extent of block %d stands behind block %d", m.n.info.Num, first, m.next)
		}
		m.next = first
		if level > 0 {
			if err := m.child(int64(le.Uint16(e[8:]))<<32|int64(le.Uint32(e[4:])), at+int64(off), level-1); err != nil {
				return err
			}
			continue
		}
		length := int64(le.Uint16(e[4:]))
		if length > maxWritten {
			length -= maxWritten
		}
		start := int64(le.Uint16(e[6:]))<<32 | int64(le.Uint32(e[8:]))
		if err := m.n.blocks(at+int64(off), start, length); err != nil {
			return err
		}
		m.fn(fsimage.Run{Start: start, Count: length}, false)
		m.next = first + length
	}
	return nil
}

func (m *mapper) child(block, at int64, level int) error {
	if err := m.index(at, block); err != nil {
		return err
	}
	bs := m.n.f.BlockSize
	node := make([]byte, bs)
	if err := m.n.f.read(node, block*bs, "extents"); err != nil {
		return err
	}
	return m.node(node, block*bs, level)
}

// mapped goes through what a number of a block map leads to.
func (m *mapper) mapped(block, at int64, level int) error {
	if block == 0 {
		return nil
	}
	if level == 0 {
		if err := m.n.blocks(at, block, 1); err != nil {
			return err
		}
		m.fn(fsimage.Run{Start: block, Count: 1}, false)
		return nil
	}
	if err := m.index(at, block); err != nil {
		return err
	}
	bs := m.n.f.BlockSize
	b := make([]byte, bs)
	if err := m.n.f.read(b, block*bs, "block map"); err != nil {
		return err
	}
	for i := range bs / 4 {
		if err := m.mapped(int64(binary.LittleEndian.Uint32(b[4*i:])), block*bs+4*i, level-1); err != nil {
			return err
		}
	}
	return nil
}

// An extent is one of those that are written.
type extent struct {
	first int64 // block of the file
	run   fsimage.Run
}

// release frees the blocks of a file that nobody else uses, and returns them, those of data
// before others, and how many the file had.
func (e *Editor) release(n *inode) (own []fsimage.Run, had int64, err error) {
	var data, index []fsimage.Run
	err = n.each(func(r fsimage.Run, isIndex bool) {
		had += r.Count
		if isIndex {
			index = append(index, r)
		} else {
			data = append(data, r)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	for _, r := range append(data, index...) {
		own = append(own, e.free(r)...)
	}
	return own, had, nil
}

// setRuns makes runs, which are taken, the data of a file, and writes its inode. It
// had as many blocks as had says; own may be used for what tells of the others.
func (e *Editor) setRuns(n *inode, runs []fsimage.Run, size, had int64, own []fsimage.Run) error {
	var list []extent
	at, total := int64(0), int64(0)
	for _, r := range runs {
		for r.Count > 0 {
			part := fsimage.Run{Start: r.Start, Count: min(r.Count, maxWritten)}
			list = append(list, extent{at, part})
			r.Start, r.Count, at = r.Start+part.Count, r.Count-part.Count, at+part.Count
		}
	}
	total = at
	root := n.raw[mapOff : mapOff+mapSize]
	clear(root)
	depth := 0
	for per := int(e.f.BlockSize-extentHeader) / extentSize; len(list) > rootExtents; depth++ {
		blocks, err := e.take(int64((len(list)+per-1)/per), e.stillFree(own))
		if err != nil {
			return err
		}
		var above []extent
		for _, r := range blocks {
			for block := r.Start; block < r.Start+r.Count; block++ {
				part := list[:min(per, len(list))]
				if err := e.writeNode(n, block, part, depth); err != nil {
					return err
				}
				above = append(above, extent{part[0].first, fsimage.Run{Start: block}})
				list, total = list[len(part):], total+1
			}
		}
		list = above
	}
	putExtents(root, list, depth)
	le := binary.LittleEndian
	n.flags |= flagExtents
	n.flags &^= flagBehindEnd
	e.setSize(n, size)
	e.addSectors(n, total-had)
	le.PutUint32(n.raw[32:], n.flags)
	return e.writeInode(n)
}

const (
	rootExtents   = 4
	flagBehindEnd = 0x400000 // EXT4_EOFBLOCKS_FL: there are blocks behind the end
)

// stillFree are the blocks of runs that nobody has taken since.
func (e *Editor) stillFree(runs []fsimage.Run) []fsimage.Run {
	var out []fsimage.Run
	for _, r := range runs {
		for block := r.Start; block < r.Start+r.Count; block++ {
			if e.space.IsFree(block) {
				out = append(out, fsimage.Run{Start: block, Count: 1})
			}
		}
	}
	return out
}

// writeNode writes a block of extents.
func (e *Editor) writeNode(n *inode, block int64, list []extent, depth int) error {
	b := make([]byte, e.f.BlockSize)
	putExtents(b, list, depth)
	if e.f.hasSums() {
		end := extentHeader + (len(b)-extentHeader)/extentSize*extentSize
		binary.LittleEndian.PutUint32(b[end:], crc(n.seed, b[:end]))
	}
	return e.write(b, block*e.f.BlockSize)
}

// putExtents fills a node of the tree of extents.
func putExtents(b []byte, list []extent, depth int) {
	le := binary.LittleEndian
	le.PutUint16(b, extentMagic)
	le.PutUint16(b[2:], uint16(len(list)))
	le.PutUint16(b[4:], uint16((len(b)-extentHeader)/extentSize))
	le.PutUint16(b[6:], uint16(depth))
	for i, x := range list {
		e := b[extentHeader+i*extentSize:]
		le.PutUint32(e, uint32(x.first))
		if depth > 0 {
			le.PutUint32(e[4:], uint32(x.run.Start))
			le.PutUint16(e[8:], uint16(x.run.Start>>32))
			continue
		}
		le.PutUint16(e[4:], uint16(x.run.Count))
		le.PutUint16(e[6:], uint16(x.run.Start>>32))
		le.PutUint32(e[8:], uint32(x.run.Start))
	}
}

// setSize sets the size of a file.
func (e *Editor) setSize(n *inode, size int64) {
	le := binary.LittleEndian
	n.info.Size = size
	le.PutUint32(n.raw[4:], uint32(size))
	if n.info.Mode.IsRegular() || e.f.Incompat&incompatLargeDir != 0 {
		le.PutUint32(n.raw[108:], uint32(size>>32))
	}
	if size > 1<<31-1 {
		le.PutUint32(e.super[100:], le.Uint32(e.super[100:])|roLargeFile)
	}
}

// addSectors changes how many blocks a file is said to take.
func (e *Editor) addSectors(n *inode, blocks int64) {
	le := binary.LittleEndian
	sectors := int64(le.Uint32(n.raw[28:]))
	if e.f.ROCompat&roHugeFile != 0 {
		sectors |= int64(le.Uint16(n.raw[116:])) << 32
	}
	if n.flags&flagHuge == 0 {
		blocks *= e.f.BlockSize / 512
	}
	sectors = max(sectors+blocks, 0)
	le.PutUint32(n.raw[28:], uint32(sectors))
	if e.f.ROCompat&roHugeFile != 0 {
		le.PutUint16(n.raw[116:], uint16(sectors>>32))
	}
}
