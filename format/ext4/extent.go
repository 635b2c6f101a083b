package ext4

import (
	"encoding/binary"
	"io/fs"
	"iter"

	"mios/format/fsimage"
)

// Extents implements [fsimage.Node]. Blocks that are set aside and were never
// written are holes.
func (n *inode) Extents(from int64) iter.Seq2[fsimage.Extent, error] {
	return func(yield func(fsimage.Extent, error) bool) {
		if !n.info.Mode.IsRegular() && !n.info.Mode.IsDir() && n.info.Mode.Type() != fs.ModeSymlink {
			return
		}
		w := blockWalk{n: n, next: max(from, 0) / n.f.BlockSize, yield: yield}
		w.at = w.next * n.f.BlockSize
		w.end = (n.info.Size + n.f.BlockSize - 1) / n.f.BlockSize
		var err error
		switch {
		case n.info.Size == 0 || from >= n.info.Size:
			return
		case n.flags&flagInline != 0:
			err = n.inlineExtents(from, yield)
		case n.info.Mode&fs.ModeSymlink != 0 && n.fast():
			yield(fsimage.Extent{Len: n.info.Size, Size: n.info.Size, At: n.info.Off + mapOff, Inline: true}, nil)
		case n.flags&flagExtents != 0:
			if err = w.node(n.raw[mapOff:mapOff+mapSize], n.info.Off+mapOff, -1); err == nil {
				w.finish()
			}
		default:
			if err = w.blockMap(); err == nil {
				w.finish()
			}
		}
		if err != nil {
			yield(fsimage.Extent{}, err)
		}
	}
}

// inlineExtents yields data that is in the inode, and among its attributes.
// What is in neither is zeros: mke2fs makes such files of those that are holes.
func (n *inode) inlineExtents(from int64, yield func(fsimage.Extent, error) bool) error {
	size := n.info.Size
	list := []fsimage.Extent{{Len: min(size, mapSize), At: n.info.Off + mapOff, Inline: true}}
	if size > mapSize {
		x, ok, err := n.inlineRest()
		if err != nil {
			return err
		}
		rest := fsimage.Extent{Off: mapSize, Len: min(size-mapSize, int64(x.size)), At: x.at, Inline: true}
		if ok && rest.Len > 0 {
			list = append(list, rest)
		}
		if end := mapSize + rest.Len; end < size {
			list = append(list, fsimage.Extent{Off: end, Len: size - end, At: fsimage.Hole})
		}
	}
	for _, e := range list {
		if e.At != fsimage.Hole {
			e.Size = e.Len
		}
		if e.Off+e.Len > from && !yield(e, nil) {
			break
		}
	}
	return nil
}

// A blockWalk goes through the blocks of a file in order, and joins those that
// follow each other.
type blockWalk struct {
	n       *inode
	next    int64 // first block of the file that was not seen
	end     int64 // behind its last
	at      int64 // bytes that are yielded, or in pending
	pending fsimage.Extent
	yield   func(fsimage.Extent, error) bool
	stopped bool
}

// add takes count blocks of the file from block on, which are at start in the
// image, or a hole.
func (w *blockWalk) add(block, count, start int64) {
	bs := w.n.f.BlockSize
	if skip := w.next - block; skip > 0 { // before what was asked for
		block, count = block+skip, count-skip
		if start != fsimage.Hole {
			start += skip
		}
	}
	count = min(count, w.end-block)
	if count <= 0 || w.stopped {
		return
	}
	if block > w.next {
		w.join(fsimage.Extent{Off: w.next * bs, Len: (block - w.next) * bs, At: fsimage.Hole})
	}
	e := fsimage.Extent{Off: block * bs, Len: count * bs, At: fsimage.Hole}
	if start != fsimage.Hole {
		e.At, e.Size = start*bs, e.Len
	}
	w.join(e)
	w.next = block + count
}

func (w *blockWalk) join(e fsimage.Extent) {
	p := &w.pending
	switch {
	case p.Len == 0:
	case (p.At == fsimage.Hole) == (e.At == fsimage.Hole) && (e.At == fsimage.Hole || p.At+p.Size == e.At):
		p.Len, p.Size = p.Len+e.Len, p.Size+e.Size
		return
	default:
		w.flush()
	}
	*p = e
}

// flush yields what is pending. The last block may be needed in part.
func (w *blockWalk) flush() {
	e := w.pending
	if w.pending = (fsimage.Extent{}); e.Len == 0 || w.stopped {
		return
	}
	e.Len = min(e.Len, w.n.info.Size-e.Off)
	if e.At != fsimage.Hole {
		e.Size = e.Len
	}
	w.stopped = !w.yield(e, nil)
}

// finish yields what is left: behind the last block there is a hole.
func (w *blockWalk) finish() {
	w.add(w.end-1, 1, fsimage.Hole)
	w.flush()
}

// blocks checks that blocks of a file are in the image, and none of those that
// tell where all else is.
func (n *inode) blocks(at, start, count int64) error {
	if start <= n.f.firstBlock || count <= 0 || count > n.f.Blocks || start > n.f.Blocks-count {
		return bad(at, "inode %d: its data is in %d blocks from %d on, of %d", n.info.Num, count, start, n.f.Blocks)
	}
	return nil
}

const (
	extentMagic  = 0xf30a
	extentSize   = 12
	maxDepth     = 5
	maxWritten   = 1 << 15 // blocks; more are not written yet
	extentHeader = 12
)

// node reads a node of the tree of extents, which is at byte at of the image.
// Its depth must be depth, unless that is -1.
func (w *blockWalk) node(b []byte, at int64, depth int) error {
	le := binary.LittleEndian
	count, room, level := int(le.Uint16(b[2:])), int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	switch {
	case le.Uint16(b) != extentMagic:
		return bad(at, "inode %d: magic of extents is %#x, want %#x", w.n.info.Num, le.Uint16(b), extentMagic)
	case count > room || room > (len(b)-extentHeader)/extentSize || level > maxDepth || depth >= 0 && level != depth:
		return bad(at+2, "inode %d: %d extents of %d, depth %d", w.n.info.Num, count, room, level)
	}
	last := int64(-1)
	for i := range count {
		e := b[extentHeader+i*extentSize:][:extentSize]
		block := int64(le.Uint32(e))
		if block <= last {
			return bad(at+int64(extentHeader+i*extentSize), "inode %d: the extent of block %d stands behind block %d", w.n.info.Num, block, last)
		}
		if block >= w.end || w.stopped { // set aside behind the end, or a verity tree
			return nil
		}
		var err error
		if level == 0 {
			last, err = w.leaf(e, at+int64(extentHeader+i*extentSize))
		} else {
			last, err = block, w.child(b, i, count, at, level)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaf takes an extent, and returns the last block of the file that is in it.
func (w *blockWalk) leaf(e []byte, at int64) (int64, error) {
	le := binary.LittleEndian
	block, count := int64(le.Uint32(e)), int64(le.Uint16(e[4:]))
	start := int64(le.Uint16(e[6:]))<<32 | int64(le.Uint32(e[8:]))
	written := count <= maxWritten
	if !written {
		count -= maxWritten
	}
	if err := w.n.blocks(at, start, count); err != nil {
		return 0, err
	}
	if !written {
		start = fsimage.Hole
	}
	if block < w.next && block+count > w.next && block*w.n.f.BlockSize > w.at {
		return 0, bad(at, "inode %d: the extent of block %d overlaps the one before", w.n.info.Num, block)
	}
	w.add(block, count, start)
	return block + count - 1, nil
}

// child reads the node that entry i of a node leads to, unless the next entry
// begins before what is wanted.
func (w *blockWalk) child(b []byte, i, count int, at int64, level int) error {
	le := binary.LittleEndian
	if i+1 < count && int64(le.Uint32(b[extentHeader+(i+1)*extentSize:])) <= w.next {
		return nil
	}
	e := b[extentHeader+i*extentSize:]
	block := int64(le.Uint16(e[8:]))<<32 | int64(le.Uint32(e[4:]))
	if err := w.n.blocks(at, block, 1); err != nil {
		return err
	}
	bs := w.n.f.BlockSize
	node := make([]byte, bs)
	if err := w.n.f.read(node, block*bs, "extents"); err != nil {
		return err
	}
	if w.n.f.hasSums() {
		end := extentHeader + int(le.Uint16(node[4:]))*extentSize
		if end+4 > len(node) {
			return bad(block*bs+4, "inode %d: %d extents in a block", w.n.info.Num, le.Uint16(node[4:]))
		}
		if sum, want := crc(w.n.seed, node[:end]), le.Uint32(node[end:]); sum != want {
			return bad(block*bs+int64(end), "inode %d: CRC-32C of extents is %#x, want %#x", w.n.info.Num, sum, want)
		}
	}
	return w.node(node, block*bs, level-1)
}

const (
	directBlocks = 12
	mapLevels    = 3
)

// blockMap goes through the map of ext2 and ext3: 12 blocks, and a tree of
// one, two and three levels of blocks with numbers of blocks.
func (w *blockWalk) blockMap() error {
	le := binary.LittleEndian
	at := w.n.info.Off + mapOff
	b := w.n.raw[mapOff : mapOff+mapSize]
	for i := range int64(directBlocks) {
		if err := w.mapped(i, 1, int64(le.Uint32(b[4*i:])), at+4*i, 0); err != nil {
			return err
		}
	}
	first, span := int64(directBlocks), w.n.f.BlockSize/4
	for level := 1; level <= mapLevels; level++ {
		i := int64(directBlocks + level - 1)
		if err := w.mapped(first, span, int64(le.Uint32(b[4*i:])), at+4*i, level); err != nil {
			return err
		}
		first += span
		span *= w.n.f.BlockSize / 4
	}
	if w.end > first {
		return w.n.bad(4, "%d blocks, a block map holds %d", w.end, first)
	}
	return nil
}

// mapped takes span blocks of the file from block on: a hole, a block, or those that
// a block of numbers leads to.
func (w *blockWalk) mapped(block, span, number, at int64, level int) error {
	if block+span <= w.next || block >= w.end || w.stopped {
		return nil
	}
	if number == 0 {
		w.add(block, span, fsimage.Hole)
		return nil
	}
	if err := w.n.blocks(at, number, 1); err != nil {
		return err
	}
	if level == 0 {
		w.add(block, 1, number)
		return nil
	}
	bs := w.n.f.BlockSize
	b := make([]byte, bs)
	if err := w.n.f.read(b, number*bs, "block map"); err != nil {
		return err
	}
	span /= bs / 4
	for i := range bs / 4 {
		child := int64(binary.LittleEndian.Uint32(b[4*i:]))
		if err := w.mapped(block+i*span, span, child, number*bs+4*i, level-1); err != nil {
			return err
		}
	}
	return nil
}
