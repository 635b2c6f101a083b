package erofs

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"mios/format/fsimage"
)

// release frees the blocks of a file's data that nobody else uses.
func (e *Editor) release(n *node) ([]fsimage.Run, error) {
	if n.inode == nil {
		var out []fsimage.Run
		for _, r := range n.runs {
			out = append(out, e.space.Free(r)...)
		}
		return out, nil
	}
	var out []fsimage.Run
	for x, err := range n.Extents(0) {
		if err != nil {
			return nil, err
		}
		if !x.Inline {
			out = append(out, e.space.Free(e.blocks(x))...)
		} else if n.ownInline() {
			if err := e.write(make([]byte, x.Size), x.At); err != nil { // it must not be found any more
				return nil, err
			}
		}
	}
	return out, nil
}

// ownInline reports whether what lies among the metadata of a file lies behind its inode:
// fragments are of the packed inode.
func (n *inode) ownInline() bool {
	return n.layout == layoutInline || n.f.Incompat&incompatFragments == 0
}

// drop takes a name from a file. That of a folder goes with all that is in it.
func (e *Editor) drop(n *node) error {
	if n.mode().IsDir() {
		if _, _, err := e.find(n, ""); err != nil { // to load it
			return err
		}
		for _, d := range n.entries {
			child, err := e.child(n, d)
			if err == nil {
				err = e.drop(child)
			}
			if err != nil {
				return err
			}
		}
		n.entries, n.links = nil, 1
		e.dirs = slices.DeleteFunc(e.dirs, func(d *node) bool { return d == n })
	}
	if n.links--; n.links > 0 && n.inode != nil {
		n.links = min(n.links, n.info.Links)
		return e.patch(n.inode, n.layout, n.info.Size, n.startsAt, n.links)
	}
	if n.inode == nil {
		e.made = slices.DeleteFunc(e.made, func(m *node) bool { return m == n })
	} else {
		delete(e.nodes, n.inode.num())
	}
	e.count--
	_, err := e.release(n)
	return err
}

// fill takes the data of a file that is made: whole blocks are written, a rest
// goes behind the inode if it fits.
func (e *Editor) fill(n *node, r io.Reader, size int64, own []fsimage.Run) error {
	if size < 0 {
		return fs.ErrInvalid
	}
	n.indexes, n.packed = nil, 0
	if n.attr.Mode.IsRegular() {
		all, ok, err := e.packs(r, size)
		switch {
		case err != nil:
			return err
		case ok:
			return e.pack(n, all, size, own)
		}
		r = all
	}
	xattrs, err := e.encodeXattrs(n.attr.Xattrs)
	if err != nil {
		return err
	}
	bs := e.f.BlockSize
	rest := size % bs
	if extendedSize+int64(len(xattrs))+rest > bs {
		rest = 0
	}
	n.size, n.runs, n.tail = size, nil, nil
	var run fsimage.Run
	if err := e.store(&run, io.LimitReader(r, size-rest), size-rest, own); err != nil {
		return err
	}
	if run.Count > 0 {
		n.runs = []fsimage.Run{run}
	}
	n.tail, err = fsimage.ReadData(r, rest)
	return err
}

// store writes whole blocks, and zeros behind the data.
func (e *Editor) store(run *fsimage.Run, r io.Reader, size int64, own []fsimage.Run) error {
	if size == 0 {
		return nil
	}
	count := (size + e.f.BlockSize - 1) / e.f.BlockSize
	start, err := e.alloc(count, own)
	if err != nil {
		return err
	}
	*run = fsimage.Run{Start: start, Count: count}
	if err := fsimage.WriteBlocks(e.file, r, size, []fsimage.Run{*run}, e.f.BlockSize); err != nil {
		return err
	}
	e.f.cache.Forget(start*e.f.BlockSize, count*e.f.BlockSize)
	return nil
}

// refill gives other data to a file, or folder, of the image.
func (e *Editor) refill(n *node, r io.Reader, size int64, own []fsimage.Run) error {
	if size < 0 {
		return fs.ErrInvalid
	}
	if size >= 1<<32 && n.xattrs-n.off == compactSize {
		return fmt.Errorf("%d bytes for an inode that counts to 4 GiB: %w: remove the file and add it", size, ErrUnsupported)
	}
	bs, layout := e.f.BlockSize, layoutPlain
	var room, tail int64 // behind the inode
	if n.layout == layoutInline && n.info.Size > 0 {
		room = n.info.Size - (n.info.Size-1)/bs*bs
	}
	if size > 0 {
		tail = size - (size-1)/bs*bs
	}
	if tail == 0 || tail > room {
		tail = 0
	} else {
		layout = layoutInline
	}
	run := fsimage.Run{Start: noBlock}
	if err := e.store(&run, io.LimitReader(r, size-tail), size-tail, own); err != nil {
		return err
	}
	rest, err := fsimage.ReadData(r, tail)
	if err != nil {
		return err
	}
	if layout == layoutInline {
		if err := e.write(append(rest, make([]byte, room-tail)...), n.end); err != nil {
			return err
		}
	}
	if err := e.patch(n.inode, layout, size, run.Start, n.links); err != nil {
		return err
	}
	n.inode, err = e.f.inode(n.inode.num())
	return err
}

// write writes metadata.
func (e *Editor) write(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	_, err := e.file.WriteAt(p, off)
	e.f.cache.Forget(off, int64(len(p)))
	return err
}

// patch changes an inode in its place.
func (e *Editor) patch(n *inode, layout int, size, start int64, links uint32) error {
	b := make([]byte, n.xattrs-n.off)
	if err := n.read(b, n.off, "inode"); err != nil {
		return err
	}
	le := binary.LittleEndian
	format, high := le.Uint16(b), b[6:8]
	if layout != n.layout || start != n.startsAt || size != n.info.Size {
		le.PutUint16(b, format&^0xe|uint16(layout)<<1)
		le.PutUint32(b[16:], uint32(start))
		if format&1 != 0 || format&0x10 != 0 && !n.info.Mode.IsDir() { // the upper half of start
			clear(high)
		}
	}
	switch {
	case format&1 != 0:
		le.PutUint64(b[8:], uint64(size))
		le.PutUint32(b[44:], links)
	case format&0x10 != 0 && !n.info.Mode.IsDir(): // it has one link
		le.PutUint32(b[8:], uint32(size))
	case links > 1<<16-1:
		return fmt.Errorf("inode %d: %d links for an inode that counts to 65535: %w", n.num(), links, ErrUnsupported)
	default:
		le.PutUint32(b[8:], uint32(size))
		le.PutUint16(high, uint16(links))
	}
	return e.write(b, n.off)
}
