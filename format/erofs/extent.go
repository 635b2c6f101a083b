package erofs

import (
	"encoding/binary"
	"io/fs"
	"iter"

	"mios/format/fsimage"
)

// Extents implements [fsimage.Node].
func (n *inode) Extents(from int64) iter.Seq2[fsimage.Extent, error] {
	from = max(from, 0)
	return func(yieldAll func(fsimage.Extent, error) bool) {
		yield := func(e fsimage.Extent, err error) bool { // what is made of several may begin before
			return err == nil && e.Off+e.Len <= from || yieldAll(e, err)
		}
		next := n.plain
		switch {
		case !n.info.Mode.IsRegular() && !n.info.Mode.IsDir() && n.info.Mode.Type() != fs.ModeSymlink:
			return
		case n.layout == layoutChunks:
			next = n.chunk
		case n.layout == layoutCompressed || n.layout == layoutCompressedCompact:
			z, err := n.lazy()
			if err != nil {
				yield(fsimage.Extent{}, err)
				return
			}
			z.extents(from, yield)
			return
		}
		for at := from; at < n.info.Size; {
			e, err := next(at)
			if err == nil {
				err = n.inside(e)
			}
			if err != nil {
				yield(fsimage.Extent{}, err)
				return
			}
			if !n.put(e, at, yield) {
				return
			}
			at = e.Off + e.Len
		}
	}
}

// put yields an extent; one that lies in the metabox is what that is made of.
func (n *inode) put(e fsimage.Extent, from int64, yield func(fsimage.Extent, error) bool) bool {
	if !e.Inline || n.num()&metaboxBit == 0 {
		return yield(e, nil)
	}
	box, err := n.f.inode(n.f.metabox)
	if err != nil {
		return yield(fsimage.Extent{}, err) && false
	}
	return n.within(box, e.At, e, from, yield)
}

// within yields what the bytes of e are made of, from byte from of this file on,
// where they lie at byte at of another file.
func (n *inode) within(other *inode, at int64, e fsimage.Extent, from int64, yield func(fsimage.Extent, error) bool) bool {
	if at < 0 || e.Len > other.info.Size-at {
		return yield(e, n.bad(n.off, "inode %d: %d bytes at %d of inode %d, which has %d",
			n.num(), e.Len, at, other.num(), other.info.Size)) && false
	}
	end, off := at+e.Len, max(e.Off, from)
	at += off - e.Off
	for e, err := range other.Extents(at) {
		if err != nil {
			return yield(e, err) && false
		}
		to := min(e.Off+e.Len, end)
		if !yield(e.Cut(at, to-at, off), nil) {
			return false
		}
		off, at = off+to-at, to
		if at == end {
			break
		}
	}
	return true
}

// inside refuses an extent that is not in the image.
func (n *inode) inside(e fsimage.Extent) error {
	if e.At == fsimage.Hole || e.Inline && n.num()&metaboxBit != 0 {
		return nil
	}
	if e.At < 0 || e.Size > n.f.size-e.At {
		return n.bad(n.off, "inode %d: its bytes from %d on are %d at %#x, the image has %#x", n.num(), e.Off, e.Size, e.At, n.f.size)
	}
	return nil
}

// plain returns the extent with byte at of a file in one piece, of which the
// end may lie behind the inode.
func (n *inode) plain(at int64) (fsimage.Extent, error) {
	bs := n.f.BlockSize
	blocks := n.info.Size
	if n.layout == layoutInline {
		blocks = (n.info.Size - 1) / bs * bs
	}
	if at < blocks {
		e := fsimage.Extent{Len: blocks, Size: blocks, At: fsimage.Hole}
		if n.startsAt != noBlock {
			e.At = n.startsAt * bs
		}
		return e, nil
	}
	e := fsimage.Extent{Off: blocks, Len: n.info.Size - blocks, Size: n.info.Size - blocks, At: n.end, Inline: true}
	if n.end%bs+e.Len > bs {
		return e, n.bad(n.off, "inode %d: its last %d bytes at %#x go over the end of a block", n.num(), e.Len, n.end)
	}
	return e, nil
}

const (
	chunkBits    = 0x1f
	chunkIndexes = 0x20
	chunk48Bit   = 0x40

	// mergeChunks is how many chunks are looked at ahead, at most.
	mergeChunks = 1024
)

// chunk returns the extent with byte at of a file in chunks. Chunks that follow
// each other are one extent.
func (n *inode) chunk(at int64) (fsimage.Extent, error) {
	shift := n.f.blockBits + uint(n.chunks&chunkBits)
	if shift > 47 {
		return fsimage.Extent{}, n.bad(n.off+16, "inode %d: chunks of 1<<%d bytes", n.num(), shift)
	}
	size := int64(1) << shift
	i := at >> shift
	first, err := n.chunkStart(i)
	if err != nil {
		return fsimage.Extent{}, err
	}
	e := fsimage.Extent{Off: i << shift, At: first, Len: min(size, n.info.Size-i<<shift)}
	for range mergeChunks {
		if e.Off+e.Len >= n.info.Size {
			break
		}
		i++
		start, err := n.chunkStart(i)
		if err != nil {
			return e, err
		}
		if (first == fsimage.Hole) != (start == fsimage.Hole) || first != fsimage.Hole && start != first+e.Len {
			break
		}
		e.Len += min(size, n.info.Size-i<<shift)
	}
	if e.Size = e.Len; first == fsimage.Hole {
		e.Size = 0
	}
	return e, nil
}

// chunkStart is where chunk i lies in the image.
func (n *inode) chunkStart(i int64) (int64, error) {
	var b [8]byte
	le := binary.LittleEndian
	if n.chunks&chunkIndexes == 0 {
		if err := n.read(b[:4], (n.end+3)&^3+4*i, "chunks"); err != nil {
			return 0, err
		}
		if le.Uint32(b[:]) == 1<<32-1 {
			return fsimage.Hole, nil
		}
		return int64(le.Uint32(b[:])) << n.f.blockBits, nil
	}
	at := (n.end+7)&^7 + 8*i
	if err := n.read(b[:], at, "chunk indexes"); err != nil {
		return 0, err
	}
	start, mask := int64(le.Uint32(b[4:])), int64(1<<32-1)
	if n.chunks&chunk48Bit != 0 {
		start, mask = start|int64(le.Uint16(b[:]))<<32, 1<<48-1
	}
	switch device := le.Uint16(b[2:]); {
	case start == mask:
		return fsimage.Hole, nil
	case device != 0:
		return 0, n.bad(at, "inode %d: chunk %d is on device %d, of which there is none", n.num(), i, device)
	}
	return start << n.f.blockBits, nil
}
