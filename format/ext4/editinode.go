package ext4

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"time"

	"mios/format/fsimage"
)

const flagCasefold = 0x40000000

// writeInode writes an inode with its checksum.
func (e *Editor) writeInode(n *inode) error {
	le := binary.LittleEndian
	if e.f.hasSums() {
		clear(n.raw[124:126])
		if n.extra >= 4 {
			clear(n.raw[130:132])
		}
		sum := crc(n.seed, n.raw)
		le.PutUint16(n.raw[124:], uint16(sum))
		if n.extra >= 4 {
			le.PutUint16(n.raw[130:], uint16(sum>>16))
		}
	}
	return e.write(n.raw, n.info.Off)
}

// newInode takes an inode, and fills it but for data and attributes. It is not
// written yet.
func (e *Editor) newInode(dir *inode, a fsimage.Attr) (*inode, error) {
	num, err := e.takeInode(dir.info.Num, a.Mode.IsDir())
	if err != nil {
		return nil, err
	}
	f, le := e.f, binary.LittleEndian
	group, index := int64(num-1)/int64(f.InodesInGroup), int64(num-1)%int64(f.InodesInGroup)
	b := make([]byte, f.InodeSize)
	n := &inode{f: f, raw: b}
	n.info.Num, n.info.Off = num, e.groups[group].word(descInodeTable)*f.BlockSize+index*f.InodeSize
	le.PutUint16(b, fsimage.RawMode(a.Mode))
	le.PutUint16(b[2:], uint16(a.UID))
	le.PutUint16(b[24:], uint16(a.GID))
	le.PutUint16(b[120:], uint16(a.UID>>16))
	le.PutUint16(b[122:], uint16(a.GID>>16))
	le.PutUint16(b[26:], 1)
	if f.InodeSize > baseSize {
		n.extra = e.wantExtra()
		le.PutUint16(b[128:], uint16(n.extra))
	}
	for _, at := range [...]struct{ time, more int }{{8, 140}, {12, 132}, {16, 136}, {0, 144}} {
		e.putTime(n, a.ModTime, at.time, at.more)
	}
	n.info.Mode = a.Mode
	n.seed = crcOf(f.seed, uint32(num), 0)
	return n, nil
}

// wantExtra is how much of a new inode behind the first 128 bytes is of fields.
func (e *Editor) wantExtra() int64 {
	want, room := int64(binary.LittleEndian.Uint16(e.super[0x15e:])), e.f.InodeSize-baseSize
	if want < 4 || want%4 != 0 || want > room {
		want = min(32, room)
	}
	return want
}

// putTime puts a time into an inode: seconds, and what is behind the first 128
// bytes. The time of making, at 144, is only there.
func (e *Editor) putTime(n *inode, t time.Time, at, more int) {
	le, seconds := binary.LittleEndian, t.Unix()
	field := uint32((seconds-int64(int32(seconds)))>>32&3) | uint32(t.Nanosecond())<<2
	if at == 0 {
		if n.extra+baseSize >= int64(more)+8 {
			le.PutUint32(n.raw[more:], uint32(seconds))
			le.PutUint32(n.raw[more+4:], field)
		}
		return
	}
	le.PutUint32(n.raw[at:], uint32(seconds))
	if n.extra+baseSize >= int64(more)+4 {
		le.PutUint32(n.raw[more:], field)
	}
}

// takeInode takes the first free inode from the group of another on.
func (e *Editor) takeInode(near uint64, folder bool) (uint64, error) {
	f := e.f
	per := int64(f.InodesInGroup)
	first := int64(binary.LittleEndian.Uint32(e.super[84:])) // those before are reserved
	if num, ok := e.searchInode(int64(near-1)/per, first, folder); ok {
		return num, nil
	}
	missing := int64(0)
	if free := e.space.FreeBlocks(); f.blocksIn(f.groupCount()-1) < f.BlocksInGroup {
		missing = free + f.BlocksInGroup - f.blocksIn(f.groupCount()-1) // the last group is made full first
	}
	if err := e.room(missing); err != nil {
		return 0, fmt.Errorf("all of %d inodes are used, and a group with more begins where a full one ends: %w", f.Inodes, err)
	}
	if _, err := e.addGroup(1); err != nil {
		return 0, fmt.Errorf("ext4: all of %d inodes are used: %w", f.Inodes, err)
	}
	num, ok := e.searchInode(f.groupCount()-1, first, folder)
	if !ok {
		return 0, fmt.Errorf("ext4: all of %d inodes are used: %w", f.Inodes, fsimage.ErrNoSpace)
	}
	return num, nil
}

func (e *Editor) searchInode(from, first int64, folder bool) (uint64, bool) {
	per, count := int64(e.f.InodesInGroup), int64(len(e.groups))
	for k := range count {
		i := (from + k) % count
		g := e.groups[i]
		for b := range per {
			if i*per+b+1 < first || bit(g.inodes, b) {
				continue
			}
			if g.closed {
				break
			}
			setBit(g.inodes, b)
			g.setHalf(descFreeInodes, g.half(descFreeInodes)-1)
			if folder {
				g.setHalf(descFolders, g.half(descFolders)+1)
			}
			if unused := per - b - 1; e.f.ROCompat&(roMetadataSum|roGroupSum) != 0 && g.half(descUnused) > unused {
				g.setHalf(descUnused, unused)
			}
			e.clearFlag(g, inodeUninit)
			e.clearFlag(g, blockUninit)
			return uint64(i*per + b + 1), true
		}
	}
	return 0, false
}

// addLink changes how many names a file has. A folder with too many for the field
// has 1, with dir_nlink.
func (e *Editor) addLink(n *inode, more int) error {
	links := int(n.info.Links)
	switch {
	case n.info.Mode.IsDir() && links == 1:
		return nil
	case n.info.Mode.IsDir() && links+more > 64999:
		links = 1
	default:
		links = max(links+more, 0)
	}
	n.info.Links = uint32(links)
	binary.LittleEndian.PutUint16(n.raw[26:], uint16(links))
	return e.writeInode(n)
}

// remove takes a name out of a folder; that of a folder with all that is in it.
func (e *Editor) remove(dir *inode, name string, n *inode) error {
	if err := e.erase(dir, name); err != nil {
		return err
	}
	if n.info.Mode.IsDir() {
		if err := e.addLink(dir, -1); err != nil {
			return err
		}
	}
	return e.drop(n)
}

func (e *Editor) drop(n *inode) error {
	if n.info.Mode.IsDir() {
		var list []fsimage.Entry
		for d, err := range n.Entries() {
			if err != nil {
				return err
			}
			list = append(list, d)
		}
		for _, d := range list {
			child, err := e.f.inode(d.Num)
			if err == nil {
				err = e.drop(child)
			}
			if err != nil {
				return err
			}
		}
	} else if n.info.Links > 1 {
		return e.addLink(n, -1)
	}
	if n.flags&flagEAInode != 0 {
		return fmt.Errorf("inode %d holds an attribute: %w", n.info.Num, ErrUnsupported)
	}
	if err := e.dropXattrs(n); err != nil {
		return err
	}
	if _, _, err := e.release(n); err != nil {
		return err
	}
	return e.freeInode(n)
}

func (e *Editor) freeInode(n *inode) error {
	per := int64(e.f.InodesInGroup)
	i, b := int64(n.info.Num-1)/per, int64(n.info.Num-1)%per
	g := e.groups[i]
	if !bit(g.inodes, b) || g.closed || int64(n.info.Num) < int64(binary.LittleEndian.Uint32(e.super[84:])) {
		return bad(n.info.Off, "inode %d: it is in use, and the bitmap says it is not, or it is reserved", n.info.Num)
	}
	clearBit(g.inodes, b)
	g.setHalf(descFreeInodes, g.half(descFreeInodes)+1)
	if n.info.Mode.Type() == fs.ModeDir {
		g.setHalf(descFolders, g.half(descFolders)-1)
	}
	return e.write(make([]byte, len(n.raw)), n.info.Off)
}
