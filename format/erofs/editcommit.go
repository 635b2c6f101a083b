package erofs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"mios/format/fsimage"
	"mios/internal/readat"
)

// Commit implements [fsimage.Editor].
func (e *Editor) Commit() (int64, error) {
	for _, n := range e.made {
		if n.attr.Mode.IsDir() {
			if err := e.layoutDir(n); err != nil {
				return 0, err
			}
		}
	}
	if err := e.place(); err != nil {
		return 0, err
	}
	for _, n := range e.made {
		if err := e.writeNode(n); err != nil {
			return 0, err
		}
	}
	for _, n := range e.dirs {
		own, err := e.release(n)
		if err != nil {
			return 0, err
		}
		data := e.encodeDir(n)
		if err := e.refill(n, bytes.NewReader(data), int64(len(data)), own); err != nil {
			return 0, err
		}
	}
	if err := e.writeSuper(); err != nil {
		return 0, err
	}
	if err := e.space.Wipe(e.file, e.f.BlockSize); err != nil {
		return 0, err
	}
	size := e.blocksLeft() * e.f.BlockSize
	return size, e.file.Truncate(size)
}

// blocksLeft is how many blocks the image has: those at its end that nobody uses
// are cut off.
func (e *Editor) blocksLeft() int64 { return e.space.Blocks() - e.space.Tail() }

// dirents are the entries of a folder, with . and .., sorted.
func (n *node) dirents() []dirent {
	list := slices.Clone(n.entries)
	if n.inode == nil || n.dotInside {
		list = append(list, dirent{name: ".", kind: fs.ModeDir, num: n.number()})
	}
	list = append(list, dirent{name: "..", kind: fs.ModeDir, num: n.parent.number()})
	slices.SortFunc(list, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
	return list
}

func (n *node) number() uint64 {
	if n.inode != nil {
		return n.inode.num()
	}
	return n.num
}

// encodeDir returns what a folder's data is: in each block the entries, then the
// names.
func (e *Editor) encodeDir(n *node) []byte {
	list, bs := n.dirents(), int(e.f.BlockSize)
	var out []byte
	for len(list) > 0 {
		count, size := 0, 0
		for count < len(list) && size+direntSize+len(list[count].name) <= bs {
			size += direntSize + len(list[count].name)
			count++
		}
		out = append(out, make([]byte, -len(out)&(bs-1))...)
		out = appendDirents(out, list[:count])
		list = list[count:]
	}
	return out
}

func appendDirents(out []byte, list []dirent) []byte {
	le := binary.LittleEndian
	at := len(list) * direntSize
	for _, d := range list {
		if d.made != nil {
			d.num = d.made.num
		}
		out = le.AppendUint64(out, d.num)
		out = le.AppendUint16(out, uint16(at))
		out = append(out, byte(max(slices.Index(direntTypes[:], d.kind), 0)), 0)
		at += len(d.name)
	}
	for _, d := range list {
		out = append(out, d.name...)
	}
	return out
}

// layoutDir finds places for the data of a folder that is made. Its length does not depend
// on the numbers that are not known yet.
func (e *Editor) layoutDir(n *node) error {
	data := e.encodeDir(n)
	return e.fill(n, bytes.NewReader(data), int64(len(data)), nil)
}

// body is the inode of a file that is made, with what lies behind it.
func (e *Editor) body(n *node) ([]byte, error) {
	xattrs, err := e.encodeXattrs(n.attr.Xattrs)
	if err != nil {
		return nil, err
	}
	le, a, s := binary.LittleEndian, &n.attr, &e.f.Superblock
	b := make([]byte, compactSize, compactSize+len(xattrs)+len(n.tail))
	layout, start := uint16(layoutPlain), uint32(math.MaxUint32)
	switch {
	case len(n.indexes) > 0:
		layout, start = layoutCompressed, uint32(n.packed)
	case len(n.runs) > 0:
		start = uint32(n.runs[0].Start)
	}
	if len(n.tail) > 0 {
		layout = layoutInline
	}
	le.PutUint16(b, layout<<1)
	if len(xattrs) > 0 {
		le.PutUint16(b[2:], uint16((len(xattrs)-xattrHeader)/4+1))
	}
	le.PutUint16(b[4:], fsimage.RawMode(a.Mode))
	le.PutUint32(b[16:], start)
	le.PutUint32(b[20:], uint32(n.num))
	sameTime := a.ModTime.Equal(time.Unix(s.Epoch, int64(s.Nanosecond)))
	if sameTime && a.UID|a.GID|n.links < 1<<16 && n.size < 1<<32 {
		le.PutUint16(b[6:], uint16(n.links))
		le.PutUint32(b[8:], uint32(n.size))
		le.PutUint16(b[24:], uint16(a.UID))
		le.PutUint16(b[26:], uint16(a.GID))
	} else {
		b = append(b, make([]byte, extendedSize-compactSize)...)
		b[0] |= 1
		le.PutUint64(b[8:], uint64(n.size))
		le.PutUint32(b[24:], a.UID)
		le.PutUint32(b[28:], a.GID)
		le.PutUint64(b[32:], uint64(a.ModTime.Unix()))
		le.PutUint32(b[40:], uint32(a.ModTime.Nanosecond()))
		le.PutUint32(b[44:], n.links)
	}
	b = append(append(b, xattrs...), n.tail...)
	if len(n.indexes) > 0 {
		b = append(append(b, make([]byte, -len(b)&7)...), e.indexHeader()...)
		b = append(b, n.indexes...)
	}
	return b, nil
}

// place finds places for the inodes that are made. None lies over the end of a
// block, but for one with attributes that do not fit into one.
func (e *Editor) place() error {
	bs := e.f.BlockSize
	var at, end int64
	for _, n := range e.made {
		b, err := e.body(n)
		if err != nil {
			return err
		}
		size := int64(len(b))
		if at = (at + compactSize - 1) &^ (compactSize - 1); at+size > end {
			count := (size + bs - 1) / bs
			start, err := e.alloc(count, nil)
			if err != nil {
				return err
			}
			at, end = start*bs, (start+count)*bs
			if err := e.write(make([]byte, count*bs), at); err != nil {
				return err
			}
		}
		n.at, n.num = at, uint64(at-e.f.metaStart)/compactSize
		at += size
	}
	return nil
}

// writeNode writes an inode that is made, and what a folder holds.
func (e *Editor) writeNode(n *node) error {
	if n.attr.Mode.IsDir() {
		data := e.encodeDir(n)
		rest := len(n.tail)
		n.tail = data[len(data)-rest:]
		if len(n.runs) > 0 {
			run := n.runs[0]
			whole := append(data[:len(data)-rest:len(data)-rest], make([]byte, run.Count*e.f.BlockSize-int64(len(data)-rest))...)
			if err := e.write(whole, run.Start*e.f.BlockSize); err != nil {
				return err
			}
		}
	}
	b, err := e.body(n)
	if err != nil {
		return err
	}
	return e.write(b, n.at)
}

// writeSuper writes how many blocks and inodes there are, and the checksum.
func (e *Editor) writeSuper() error {
	bs := e.f.BlockSize
	if bs > superOffset {
		bs -= superOffset
	}
	b := make([]byte, max(bs, superSize))
	if err := readat.Full(e.f.cache, b, superOffset); err != nil {
		return err
	}
	le := binary.LittleEndian
	inodes := int64(e.f.Inodes) + e.count
	if inodes < 0 {
		return bad(superOffset+16, "%d inodes, of which %d were removed", e.f.Inodes, -e.count)
	}
	le.PutUint64(b[16:], uint64(inodes))
	le.PutUint32(b[36:], uint32(e.blocksLeft()))
	if e.f.Compat&compatChecksum != 0 {
		clear(b[4:8])
		le.PutUint32(b[4:], ^crc32.Update(0, castagnoli, b[:bs]))
	}
	if err := e.write(b[:superSize], superOffset); err != nil {
		return fmt.Errorf("superblock: %w", err)
	}
	return nil
}
