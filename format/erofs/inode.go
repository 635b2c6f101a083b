package erofs

import (
	"encoding/binary"
	"io"
	"io/fs"
	"sync"
	"time"

	"mios/format/fsimage"
	"mios/internal/readat"
)

// How an inode's data is laid out.
const (
	layoutPlain             = 0
	layoutCompressed        = 1 // with full indexes
	layoutInline            = 2
	layoutCompressedCompact = 3
	layoutChunks            = 4
)

const (
	compactSize  = 32
	extendedSize = 64
	noBlock      = -1
)

// source gives package fsimage what it asks for.
type source struct{ f *FS }

func (s source) Root() uint64                          { return s.f.root }
func (s source) Node(num uint64) (fsimage.Node, error) { return s.f.inode(num) }

// An inode is a file of the image.
type inode struct {
	f         *FS
	info      fsimage.Info
	meta      io.ReaderAt // what the inode lies in: the image, or the metabox
	off       int64       // in meta
	end       int64       // of the inode and its attributes, in meta
	xattrs    int64       // where they begin, in meta
	layout    int
	startsAt  int64 // first block, or noBlock
	chunks    uint16
	dotInside bool // a folder names itself

	lazy func() (*zmap, error) // of compressed files
}

var _ fsimage.Node = (*inode)(nil)

// Info implements [fsimage.Node].
func (n *inode) Info() *fsimage.Info { return &n.info }

// bad says what is wrong at a place of the metadata.
func (n *inode) bad(off int64, format string, args ...any) error {
	if n.num()&metaboxBit != 0 {
		return bad(noBlock, "metabox, offset %#x: "+format, append([]any{off}, args...)...)
	}
	return bad(off, format, args...)
}

func (n *inode) num() uint64 { return n.info.Num }

// read reads metadata of the inode.
func (n *inode) read(p []byte, off int64, what string) error {
	if err := readat.Full(n.meta, p, off); err != nil {
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			return n.bad(off, "inode %d: %s: cut off", n.num(), what)
		}
		return err
	}
	return nil
}

// inode reads an inode.
func (f *FS) inode(num uint64) (*inode, error) {
	n := &inode{f: f, meta: f.cache, off: int64(num&^metaboxBit)*compactSize + f.metaStart}
	n.info.Num, n.info.Off = num, n.off
	if num&metaboxBit != 0 {
		meta, err := f.metaboxOnce()
		if err != nil {
			return nil, err
		}
		n.meta, n.off, n.info.Off = meta, n.off-f.metaStart, fsimage.Hole
	}
	if num&^metaboxBit > 1<<48 {
		return nil, bad(superOffset, "inode %d: its place is beyond the image", num)
	}
	var b [extendedSize]byte
	if err := n.read(b[:compactSize], n.off, "inode"); err != nil {
		return nil, err
	}
	format := binary.LittleEndian.Uint16(b[:])
	if format&^0x1f != 0 {
		return nil, n.bad(n.off, "inode %d: format %#x is newer than this program", num, format)
	}
	if n.layout = int(format >> 1 & 7); n.layout > layoutChunks {
		return nil, n.bad(n.off, "inode %d: data layout %d is newer than this program", num, n.layout)
	}
	n.xattrs = n.off + compactSize
	if format&1 != 0 {
		n.xattrs = n.off + extendedSize
		if err := n.read(b[compactSize:], n.off+compactSize, "inode"); err != nil {
			return nil, err
		}
	}
	n.end = n.xattrs
	if count := int64(binary.LittleEndian.Uint16(b[2:])); count > 0 {
		n.end += xattrHeader + (count-1)*4
	}
	n.lazy = sync.OnceValues(n.newZmap)
	return n, n.parse(b[:], format)
}

// parse fills an inode from its bytes.
func (n *inode) parse(b []byte, format uint16) error {
	le := binary.LittleEndian
	f, info := n.f, &n.info
	union, high := le.Uint32(b[16:]), int64(0)
	if format&1 != 0 {
		info.Size = int64(le.Uint64(b[8:]))
		info.UID, info.GID = le.Uint32(b[24:]), le.Uint32(b[28:])
		info.ModTime = time.Unix(int64(le.Uint64(b[32:])), int64(le.Uint32(b[40:])))
		info.Links = le.Uint32(b[44:])
		high = int64(le.Uint16(b[6:]))
	} else {
		info.Size = int64(le.Uint32(b[8:]))
		info.UID, info.GID = uint32(le.Uint16(b[24:])), uint32(le.Uint16(b[26:]))
		info.ModTime = time.Unix(f.Epoch+int64(le.Uint32(b[12:])), int64(f.Nanosecond))
		info.Links = uint32(le.Uint16(b[6:]))
	}
	if info.Size < 0 {
		return n.bad(n.off+8, "inode %d: a size of %d bytes", n.num(), uint64(info.Size))
	}
	mode, ok := fsimage.UnixMode(le.Uint16(b[4:]))
	if !ok {
		return n.bad(n.off+4, "inode %d: mode %#o is of no type", n.num(), le.Uint16(b[4:]))
	}
	info.Mode = mode
	mask := int64(1)<<48 - 1
	if format&1 == 0 {
		mask = 1<<32 - 1
		if format&0x10 != 0 && !mode.IsDir() {
			info.Links, high, mask = 1, int64(le.Uint16(b[6:])), 1<<48-1
		}
	}
	n.dotInside = format&0x10 == 0
	switch {
	case mode&fs.ModeDevice != 0:
		info.Major, info.Minor = union>>8&0xfff, union&0xff|union>>12&0xfff00
	case !mode.IsRegular() && !mode.IsDir() && mode&fs.ModeSymlink == 0:
	case n.layout == layoutChunks:
		if n.chunks = uint16(union); n.chunks&^0x7f != 0 {
			return n.bad(n.off+16, "inode %d: chunk format %#x is newer than this program", n.num(), n.chunks)
		}
	default:
		n.startsAt = int64(union) | high<<32
		if f.Incompat&incompat48Bit == 0 {
			n.startsAt, mask = int64(union), 1<<32-1
		}
		if n.layout == layoutPlain && n.startsAt&mask == mask {
			n.startsAt = noBlock
		}
	}
	return nil
}

// readMetabox returns what inodes with the top bit of their number lie in.
func (f *FS) readMetabox() (io.ReaderAt, error) {
	if f.metabox == 0 {
		return nil, bad(superOffset+80, "an inode lies in the metabox, and there is none")
	}
	n, err := f.inode(f.metabox)
	if err != nil {
		return nil, err
	}
	return fsimage.NewCache(f.Data(n), n.info.Size), nil
}

// readPacked returns the file that holds the ends of others.
func (f *FS) readPacked() (*inode, error) {
	if f.Superblock.packed == 0 {
		return nil, bad(superOffset+96, "a file's end lies in the packed inode, and there is none")
	}
	return f.inode(f.Superblock.packed)
}
