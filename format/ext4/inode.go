package ext4

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"time"

	"mios/format/fsimage"
	"mios/internal/readat"
)

// Flags of an inode.
const (
	flagEncrypt = 0x800
	flagIndex   = 0x1000
	flagHuge    = 0x40000
	flagExtents = 0x80000
	flagVerity  = 0x100000
	flagEAInode = 0x200000
	flagInline  = 0x10000000
)

const (
	rootInode = 2
	baseSize  = 128 // of an inode in revision 0
	mapOff    = 40  // in an inode: the block map, the head of extents, or data
	mapSize   = 60
)

// source gives package fsimage what it asks for.
type source struct{ f *FS }

func (s source) Root() uint64                          { return rootInode }
func (s source) Node(num uint64) (fsimage.Node, error) { return s.f.inode(num) }

// Decode implements [fsimage.Source]: nothing is compressed.
func (s source) Decode(e fsimage.Extent, _, _ []byte) error {
	return bad(e.At, "compressed data in ext4")
}

// An inode is a file of the image.
type inode struct {
	f     *FS
	info  fsimage.Info
	raw   []byte
	flags uint32
	extra int64  // bytes that are used behind the first 128
	seed  uint32 // of checksums of what belongs to it
	acl   int64  // block of attributes; 0: none
}

var _ fsimage.Node = (*inode)(nil)

// Info implements [fsimage.Node].
func (n *inode) Info() *fsimage.Info { return &n.info }

// Flags are those of chattr and of the kernel, such as 0x80000: in extents.
func (n *inode) Flags() uint32 { return n.flags }

func (n *inode) bad(at int64, format string, args ...any) error {
	return bad(n.info.Off+at, "inode %d: "+format, append([]any{n.info.Num}, args...)...)
}

// inode reads an inode.
func (f *FS) inode(num uint64) (*inode, error) {
	if num == 0 || num > uint64(f.Inodes) {
		return nil, bad(superOffset, "inode %d of %d", num, f.Inodes)
	}
	group, index := int64(num-1)/int64(f.InodesInGroup), int64(num-1)%int64(f.InodesInGroup)
	table, err := f.inodeTable(group)
	if err != nil {
		return nil, err
	}
	n := &inode{f: f, raw: make([]byte, f.InodeSize)}
	n.info.Num, n.info.Off = num, table*f.BlockSize+index*f.InodeSize
	if err := f.read(n.raw, n.info.Off, "inode"); err != nil {
		return nil, err
	}
	if err := n.checksum(); err != nil {
		return nil, err
	}
	return n, n.parse()
}

func (n *inode) checksum() error {
	le := binary.LittleEndian
	if n.f.InodeSize > baseSize {
		n.extra = int64(le.Uint16(n.raw[128:]))
		if n.extra%4 != 0 || n.extra > n.f.InodeSize-baseSize {
			return n.bad(128, "%d bytes behind the first %d, of %d", n.extra, baseSize, n.f.InodeSize)
		}
	}
	if !n.f.hasSums() {
		return nil
	}
	n.seed = crcOf(n.f.seed, uint32(n.info.Num), le.Uint32(n.raw[100:]))
	b := bytes.Clone(n.raw)
	want := uint32(le.Uint16(b[124:]))
	clear(b[124:126])
	mask := uint32(1<<16 - 1)
	if n.extra >= 4 {
		want |= uint32(le.Uint16(b[130:])) << 16
		clear(b[130:132])
		mask = 1<<32 - 1
	}
	if sum := crc(n.seed, b) & mask; sum != want {
		return n.bad(124, "its CRC-32C is %#x, want %#x", sum, want)
	}
	return nil
}

func (n *inode) parse() error {
	le, b, info := binary.LittleEndian, n.raw, &n.info
	mode, ok := fsimage.UnixMode(le.Uint16(b))
	if !ok {
		return n.bad(0, "mode %#o is of no type", le.Uint16(b))
	}
	info.Mode = mode
	info.UID = uint32(le.Uint16(b[2:])) | uint32(le.Uint16(b[120:]))<<16
	info.GID = uint32(le.Uint16(b[24:])) | uint32(le.Uint16(b[122:]))<<16
	info.Links = uint32(le.Uint16(b[26:]))
	n.flags = le.Uint32(b[32:])
	info.Encrypted, info.Verity = n.flags&flagEncrypt != 0, n.flags&flagVerity != 0
	info.Size = int64(le.Uint32(b[4:]))
	if mode.IsRegular() || mode.IsDir() && n.f.Incompat&incompatLargeDir != 0 {
		info.Size |= int64(le.Uint32(b[108:])) << 32
	}
	if info.Size < 0 {
		return n.bad(4, "a size of %d bytes", uint64(info.Size))
	}
	n.acl = int64(le.Uint32(b[104:])) | int64(le.Uint16(b[118:]))<<32
	seconds, nanos := int64(int32(le.Uint32(b[16:]))), int64(0)
	if n.extra >= 12 {
		more := le.Uint32(b[136:])
		seconds, nanos = seconds+int64(more&3)<<32, int64(more>>2)
	}
	info.ModTime = time.Unix(seconds, nanos)
	if mode&fs.ModeDevice != 0 {
		old, device := le.Uint32(b[mapOff:]), le.Uint32(b[mapOff+4:])
		info.Major, info.Minor = device>>8&0xfff, device&0xff|device>>12&0xfff00
		if old != 0 {
			info.Major, info.Minor = old>>8&0xff, old&0xff
		}
	}
	return nil
}

// fast reports whether a symbolic link's target is in the inode.
func (n *inode) fast() bool {
	le := binary.LittleEndian
	sectors := int64(le.Uint32(n.raw[28:])) | int64(le.Uint16(n.raw[116:]))<<32
	if n.acl != 0 {
		sectors -= n.f.BlockSize / 512
	}
	if n.flags&flagHuge != 0 {
		return false
	}
	return n.flags&(flagExtents|flagInline) == 0 && sectors <= 0 && n.info.Size < mapSize
}

// maxTarget is PATH_MAX.
const maxTarget = 4096

// Target implements [fsimage.Node].
func (n *inode) Target() (string, error) {
	switch {
	case n.info.Mode&fs.ModeSymlink == 0:
		return "", n.bad(0, "not a symbolic link")
	case n.info.Size == 0 || n.info.Size > maxTarget:
		return "", n.bad(4, "a symbolic link of %d bytes, want 1 to %d", n.info.Size, maxTarget)
	case n.info.Encrypted:
		return "", n.bad(32, "the symbolic link is encrypted")
	}
	p := make([]byte, n.info.Size)
	if err := readat.Full(n.f.Data(n), p, 0); err != nil {
		return "", err
	}
	if bytes.IndexByte(p, 0) >= 0 {
		return "", n.bad(mapOff, "the target of the symbolic link has a zero byte")
	}
	return string(p), nil
}
