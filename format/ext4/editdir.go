package ext4

import (
	"encoding/binary"
	"io/fs"
	"slices"

	"mios/format/fsimage"
)

// dirBlocks are the blocks of a folder, in order.
func (n *inode) dirBlocks() ([]int64, error) {
	var out []int64
	bs := n.f.BlockSize
	for x, err := range n.Extents(0) {
		if err != nil {
			return nil, err
		}
		if x.At == fsimage.Hole || x.Inline {
			return nil, n.bad(mapOff, "a folder with a hole, or in its inode")
		}
		for at := int64(0); at < x.Len; at += bs {
			out = append(out, (x.At+at)/bs)
		}
	}
	return out, nil
}

// end is where entries of a folder's block end: behind them there is a checksum.
func (e *Editor) end() int {
	if e.f.hasSums() {
		return int(e.f.BlockSize) - tailSize
	}
	return int(e.f.BlockSize)
}

// putLen puts the length of an entry in a block of so many bytes.
func putLen(b []byte, n int) {
	binary.LittleEndian.PutUint16(b[4:], uint16(min(n, 1<<16-1)))
}

// writeDirBlock writes a block of entries, with its checksum.
func (e *Editor) writeDirBlock(dir *inode, block int64, b []byte) error {
	if !e.space.Owned(block) {
		return dir.bad(mapOff, "a folder in block %d, which something else uses, too", block)
	}
	if e.f.hasSums() {
		le, tail := binary.LittleEndian, b[len(b)-tailSize:]
		clear(tail)
		le.PutUint16(tail[4:], tailSize)
		tail[7] = tailType
		le.PutUint32(tail[8:], crc(dir.seed, b[:len(b)-tailSize]))
	}
	return e.write(b, block*e.f.BlockSize)
}

// putEntry puts an entry of size bytes at the beginning of b.
func (e *Editor) putEntry(b []byte, size int, name string, n *inode) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(n.info.Num))
	putLen(b, size)
	b[6], b[7] = byte(len(name)), 0
	if e.f.Incompat&incompatFileType != 0 {
		b[7] = byte(max(slices.Index(direntTypes[:], n.info.Mode.Type()), 0))
	}
	copy(b[direntHeader:], name)
	clear(b[direntHeader+len(name) : entryLen(len(name))])
}

// entryLen is how long an entry with a name of n bytes is at least.
func entryLen(n int) int { return (direntHeader + n + 3) &^ 3 }

// fillDir makes a new inode an empty folder.
func (e *Editor) fillDir(n, parent *inode) error {
	binary.LittleEndian.PutUint16(n.raw[26:], 2)
	n.info.Links = 2
	runs, err := e.take(1, nil)
	if err != nil {
		return err
	}
	b := make([]byte, e.f.BlockSize)
	e.putEntry(b, entryLen(1), ".", n)
	e.putEntry(b[entryLen(1):], e.end()-entryLen(1), "..", parent)
	if err := e.writeDirBlock(n, runs[0].Start, b); err != nil {
		return err
	}
	return e.setRuns(n, runs, e.f.BlockSize, 0, nil)
}

// A slotFunc looks at an entry: where it is, and where the one before it in the
// block is, or -1.
type slotFunc func(b []byte, at, before, size int) (done bool)

// slots calls fn for each entry of a folder, also for those not in use, until it is done; what it
// changes is written. Entries must be as [inode.Entries] wants them.
func (e *Editor) slots(dir *inode, fn slotFunc) (done bool, err error) {
	blocks, err := dir.dirBlocks()
	if err != nil {
		return false, err
	}
	b := make([]byte, e.f.BlockSize)
	for i, block := range blocks {
		if err := e.f.read(b, block*e.f.BlockSize, "folder"); err != nil {
			return false, err
		}
		if dir.flags&flagIndex != 0 && (i == 0 || e.isIndex(b)) {
			continue
		}
		before := -1
		for at := 0; at < e.end(); {
			if e.end()-at < direntHeader {
				return false, dir.bad(mapOff, "folder, block %d: %d bytes left", block, e.end()-at)
			}
			size := recordLen(binary.LittleEndian.Uint16(b[at+4:]), len(b))
			if size < direntHeader || size%4 != 0 || size > e.end()-at || entryLen(int(b[at+6])) > size && binary.LittleEndian.Uint32(b[at:]) != 0 {
				return false, dir.bad(mapOff, "folder, block %d: an entry of %d bytes at %d", block, size, at)
			}
			if fn(b, at, before, size) {
				return true, e.writeDirBlock(dir, block, b)
			}
			before, at = at, at+size
		}
	}
	return false, nil
}

// isIndex reports whether a block of a folder looks as those of indexes do: as
// if it had one entry, that is not in use.
func (e *Editor) isIndex(b []byte) bool {
	return binary.LittleEndian.Uint32(b) == 0 && recordLen(binary.LittleEndian.Uint16(b[4:]), len(b)) == len(b)
}

// insert puts a name into a folder.
func (e *Editor) insert(dir *inode, name string, n *inode) error {
	if dir.flags&flagIndex != 0 {
		if err := e.unindex(dir); err != nil {
			return err
		}
	}
	need := entryLen(len(name))
	done, err := e.slots(dir, func(b []byte, at, _, size int) bool {
		used := 0
		if binary.LittleEndian.Uint32(b[at:]) != 0 {
			used = entryLen(int(b[at+6]))
		}
		if size-used < need {
			return false
		}
		if used > 0 {
			putLen(b[at:], used)
		}
		e.putEntry(b[at+used:], size-used, name, n)
		return true
	})
	if err != nil || done {
		return err
	}
	return e.appendDir(dir, name, n)
}

// appendDir gives a folder another block, with one name in it.
func (e *Editor) appendDir(dir *inode, name string, n *inode) error {
	var runs []fsimage.Run
	var index []fsimage.Run
	had := int64(0)
	err := dir.each(func(r fsimage.Run, isIndex bool) {
		had += r.Count
		if isIndex {
			index = append(index, r)
		} else if k := len(runs); k > 0 && runs[k-1].Start+runs[k-1].Count == r.Start {
			runs[k-1].Count += r.Count
		} else {
			runs = append(runs, r)
		}
	})
	if err != nil {
		return err
	}
	count := int64(0)
	for _, r := range runs {
		count += r.Count
	}
	if count*e.f.BlockSize != dir.info.Size {
		return dir.bad(4, "a folder of %d bytes in %d blocks", dir.info.Size, count)
	}
	for _, r := range index {
		e.free(r)
	}
	more, err := e.take(1, nil)
	if err != nil {
		return err
	}
	b := make([]byte, e.f.BlockSize)
	e.putEntry(b, e.end(), name, n)
	if err := e.writeDirBlock(dir, more[0].Start, b); err != nil {
		return err
	}
	return e.setRuns(dir, append(runs, more...), dir.info.Size+e.f.BlockSize, had, e.stillFree(index))
}

// erase takes a name out of a folder: the entry before it takes its room.
func (e *Editor) erase(dir *inode, name string) error {
	done, err := e.slots(dir, func(b []byte, at, before, size int) bool {
		le := binary.LittleEndian
		nameLen := int(b[at+6])
		if le.Uint32(b[at:]) == 0 || string(b[at+direntHeader:at+direntHeader+nameLen]) != name {
			return false
		}
		if before >= 0 {
			putLen(b[before:], at-before+size)
			clear(b[at : at+entryLen(nameLen)])
		} else {
			clear(b[at : at+4])
			clear(b[at+6 : at+entryLen(nameLen)])
		}
		return true
	})
	if err == nil && !done {
		err = fs.ErrNotExist
	}
	return err
}

// unindex makes a folder one without an index: the blocks of that hold no entries, but for
// . and .. in the first.
func (e *Editor) unindex(dir *inode) error {
	blocks, err := dir.dirBlocks()
	if err != nil {
		return err
	}
	dotDot := entryLen(1)
	b := make([]byte, e.f.BlockSize)
	for i, block := range blocks {
		if err := e.f.read(b, block*e.f.BlockSize, "folder"); err != nil {
			return err
		}
		switch {
		case i == 0:
			clear(b[dotDot+entryLen(2):])
			putLen(b[dotDot:], e.end()-dotDot)
		case e.isIndex(b):
			clear(b)
			putLen(b, e.end())
		default:
			continue
		}
		if err := e.writeDirBlock(dir, block, b); err != nil {
			return err
		}
	}
	dir.flags &^= flagIndex
	binary.LittleEndian.PutUint32(dir.raw[32:], dir.flags)
	return e.writeInode(dir)
}
