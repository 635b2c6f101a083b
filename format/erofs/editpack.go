package erofs

import (
	"bytes"
	"encoding/binary"
	"io"

	"mios/format/fsimage"
	lz4raw "mios/internal/lz4"
	"mios/internal/readat"
)

const (
	// packWindow is how much of a file is packed at once, in bytes: into one
	// piece no more goes.
	packWindow = 1 << 20
	// packBlocks is how many blocks a piece takes at most. mkfs.erofs -C65536
	// makes as large ones.
	packBlocks = 16
	// worthwhile is how much of 100 blocks packing must leave at most.
	worthwhile = 95
)

// A packing is how files are compressed that an editor makes.
type packing struct {
	blocks int  // of a piece, at most; 0: nothing is compressed
	seen   bool // a file of the image is packed with LZ4
}

// readPacking says how the image's kernel may unpack: if pieces of several
// blocks are allowed, and that distances are not limited.
func (e *Editor) readPacking() error {
	f, le := e.f, binary.LittleEndian
	if !e.packing.seen || f.Incompat&incompatZeroPadding == 0 {
		return nil
	}
	var b [superSize]byte
	if err := readat.Full(f.cache, b[:], superOffset); err != nil {
		return err
	}
	distance, most := le.Uint16(b[84:]), 1
	if f.Incompat&incompatConfigs != 0 {
		if f.Algorithms&(1<<lz4) == 0 {
			return nil
		}
		p, _, err := readSized(f.cache, superOffset+superSize+int64(b[13])*slotSize)
		if err != nil {
			return err
		}
		distance, most = le.Uint16(p), max(int(le.Uint16(p[2:])), 1)
	}
	if distance == 0 || distance == 1<<16-1 {
		e.packing.blocks = min(most, packBlocks)
	}
	return nil
}

// A packer packs a file's data into blocks, and makes its indexes.
type packer struct {
	e       *Editor
	lz      *lz4raw.Compressor
	out     []byte // a piece
	plain   int    // pieces that are not tried to be packed
	pieces  []packedPart
	batch   []byte // whose blocks have no place yet
	own     []fsimage.Run
	runs    []fsimage.Run
	indexes []byte
	within  int64 // the cluster in which the next piece begins
	blocks  int64
}

// A packedPart is a part of the file in blocks of its own.
type packedPart struct {
	size   int64 // in the file
	blocks int64
	plain  bool
}

func (e *Editor) newPacker(own []fsimage.Run) *packer {
	return &packer{e: e, lz: lz4raw.NewFast(), own: own, out: make([]byte, int64(e.packing.blocks)*e.f.BlockSize)}
}

// next packs the beginning of src. last says that the file ends with src.
func (p *packer) next(src []byte) packedPart {
	bs := int(p.e.f.BlockSize)
	if p.plain == 0 && len(src) > bs {
		written, used := p.lz.Fill(p.out, src)
		blocks := (written + bs - 1) / bs
		if blocks*bs < used {
			p.batch = append(p.batch, make([]byte, blocks*bs-written)...)
			p.batch = append(p.batch, p.out[:written]...)
			return packedPart{int64(used), int64(blocks), false}
		}
		p.plain = p.e.packing.blocks
	}
	p.plain = max(p.plain-1, 0)
	used := min(len(src), bs)
	p.batch = append(append(p.batch, src[:used]...), make([]byte, bs-used)...)
	return packedPart{int64(used), 1, true}
}

// packs says whether the beginning of a file's data is worth to be packed, and
// returns a reader of all of it.
func (e *Editor) packs(r io.Reader, size int64) (io.Reader, bool, error) {
	if e.packing.blocks == 0 || size < 2*e.f.BlockSize {
		return r, false, nil
	}
	head := make([]byte, min(size, packWindow))
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return r, false, err
	}
	all := io.MultiReader(bytes.NewReader(head[:n]), r)
	p := e.newPacker(nil)
	blocks := int64(0)
	for src := head[:n]; len(src) > 0; p.batch = p.batch[:0] {
		x := p.next(src)
		blocks, src = blocks+x.blocks, src[x.size:]
	}
	whole := (int64(n) + e.f.BlockSize - 1) / e.f.BlockSize
	return all, blocks*100 <= whole*worthwhile, nil
}

// pack writes the data of a file that is made, packed.
func (e *Editor) pack(n *node, r io.Reader, size int64, own []fsimage.Run) error {
	p := e.newPacker(own)
	buf := make([]byte, min(size, 4*packWindow))
	src, left := buf[:0], size // what is read and not packed, what is not read
	for left > 0 || len(src) > 0 {
		if len(src) < packWindow && left > 0 {
			have := copy(buf, src)
			more := min(left, int64(len(buf)-have))
			src = buf[:have+int(more)]
			if _, err := io.ReadFull(r, src[have:]); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
			left -= more
		}
		x := p.next(src[:min(len(src), packWindow)])
		p.pieces = append(p.pieces, x)
		src = src[x.size:]
		if len(p.batch) >= packWindow || len(src) == 0 && left == 0 {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	if err := fsimage.AtEnd(r, size); err != nil {
		return err
	}
	if p.within > 0 { // the end of the last piece
		p.index(clusterPlain, p.within, 0)
	}
	n.size, n.runs, n.packed, n.indexes, n.tail = size, p.runs, p.blocks, p.indexes, nil
	return nil
}

// flush finds places for the pieces of a batch, and writes them. Each must lie in
// blocks that follow each other.
func (p *packer) flush() error {
	bs := p.e.f.BlockSize
	for _, x := range p.pieces {
		start, err := p.e.alloc(x.blocks, p.mine(x.blocks))
		if err != nil {
			return err
		}
		if err := p.e.write(p.batch[:x.blocks*bs], start*bs); err != nil {
			return err
		}
		p.batch, p.blocks = p.batch[x.blocks*bs:], p.blocks+x.blocks
		p.runs = fsimage.AppendRun(p.runs, fsimage.Run{Start: start, Count: x.blocks})
		p.place(x, start)
	}
	p.pieces, p.batch = p.pieces[:0], nil
	return nil
}

// mine is where n blocks of the file's own follow each other, from its beginning
// on, or nothing.
func (p *packer) mine(n int64) []fsimage.Run {
	for ; len(p.own) > 0; p.own = p.own[1:] {
		r := &p.own[0]
		for r.Count > 0 && !p.e.space.IsFree(r.Start) { // taken for another piece
			r.Start, r.Count = r.Start+1, r.Count-1
		}
		free := int64(0)
		for free < n && free < r.Count && p.e.space.IsFree(r.Start+free) {
			free++
		}
		if free == n {
			return []fsimage.Run{{Start: r.Start, Count: n}}
		}
	}
	return nil
}

// place appends the indexes of a piece: one of the cluster in which it begins,
// and of each further one that it fills.
func (p *packer) place(x packedPart, start int64) {
	bs := p.e.f.BlockSize
	kind := uint16(clusterHead1)
	if x.plain {
		kind = clusterPlain
	}
	p.index(kind, p.within, uint32(start))
	end := p.within + x.size
	if end < bs { // of the file, too
		p.within = 0
		return
	}
	clusters := end / bs
	for i := int64(1); i < clusters; i++ {
		back := min(i, blockCount-1)
		if i == 1 && p.e.packing.blocks > 1 {
			back = blockCount | x.blocks
		}
		p.index(clusterNone, 0, uint32(back)|uint32(clusters-i)<<16)
	}
	p.within = end % bs
}

func (p *packer) index(kind uint16, within int64, value uint32) {
	le := binary.LittleEndian
	p.indexes = le.AppendUint16(p.indexes, kind)
	p.indexes = le.AppendUint16(p.indexes, uint16(within))
	p.indexes = le.AppendUint32(p.indexes, value)
}

// indexHeader is what lies before the indexes of a file that is packed.
func (e *Editor) indexHeader() []byte {
	b := make([]byte, zHeaderSize+fullIndexGap)
	if e.packing.blocks > 1 {
		binary.LittleEndian.PutUint16(b[4:], adviseBig1)
	}
	return b
}

// renew replaces a file by one that is made, and has the same attributes.
func (e *Editor) renew(name string, n *node, r io.Reader, size int64, own []fsimage.Run) error {
	dir, i, err := e.entry(name)
	if err != nil {
		return err
	}
	xattrs, err := n.Xattrs()
	if err != nil {
		return err
	}
	info := &n.info
	m := &node{links: 1, parent: dir, attr: fsimage.Attr{Mode: info.Mode, UID: info.UID, GID: info.GID, ModTime: info.ModTime, Xattrs: xattrs}}
	dir.entries[i].made = m
	e.touch(dir)
	e.made = append(e.made, m)
	delete(e.nodes, n.inode.num())
	return e.pack(m, r, size, own)
}
