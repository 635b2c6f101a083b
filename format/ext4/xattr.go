package ext4

import (
	"bytes"
	"encoding/binary"

	"mios/format/fsimage"
	"mios/internal/readat"
)

const (
	xattrMagic  = 0xea020000
	entrySize   = 16
	maxXattr    = 1 << 16 // XATTR_SIZE_MAX
	blockHeader = 32
	indexSystem = 7
	inlineName  = "data"
	aclAccess   = 2
	aclDefault  = 3
)

// xattrPrefixes are what the numbers in entries mean.
var xattrPrefixes = map[byte]string{
	1: "user.", aclAccess: "system.posix_acl_access", aclDefault: "system.posix_acl_default", 4: "trusted.", 6: "security.",
	indexSystem: "system.", 8: "system.richacl", 9: "encryption.", 10: "hurd.",
}

// An entry is an attribute as it lies in the image.
type entry struct {
	index byte
	name  string
	inode uint32 // that holds the value; 0: it is at at
	at    int64  // in the image
	size  int
	value []byte
}

// Xattrs implements [fsimage.Node]. Access control lists are as Linux shows them.
func (n *inode) Xattrs() ([]fsimage.Xattr, error) {
	entries, err := n.inside()
	if err != nil {
		return nil, err
	}
	more, err := n.block()
	if err != nil {
		return nil, err
	}
	var out []fsimage.Xattr
	seen := map[string]bool{}
	for _, e := range append(entries, more...) {
		if e.index == indexSystem && e.name == inlineName {
			continue
		}
		x := fsimage.Xattr{Name: xattrPrefixes[e.index] + e.name, Value: e.value}
		if seen[x.Name] {
			return nil, n.bad(104, "two attributes are named %q", x.Name)
		}
		seen[x.Name] = true
		if e.inode != 0 {
			if x.Value, err = n.far(e); err != nil {
				return nil, err
			}
		}
		if e.index == aclAccess || e.index == aclDefault {
			if x.Value, err = acl(x.Value, e.at); err != nil {
				return nil, err
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// inside returns the attributes in the inode.
func (n *inode) inside() ([]entry, error) {
	from := baseSize + n.extra
	if n.extra == 0 || from+8 > n.f.InodeSize || binary.LittleEndian.Uint32(n.raw[from:]) != xattrMagic {
		return nil, nil
	}
	b := n.raw[from+4:]
	return n.entries(b, b, n.info.Off+from+4)
}

// block returns the attributes in a block of their own.
func (n *inode) block() ([]entry, error) {
	if n.acl == 0 {
		return nil, nil
	}
	bs := n.f.BlockSize
	if err := n.blocks(n.info.Off+104, n.acl, 1); err != nil {
		return nil, err
	}
	b, at := make([]byte, bs), n.acl*bs
	if err := n.f.read(b, at, "attributes"); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint32(b) != xattrMagic || le.Uint32(b[8:]) != 1 {
		return nil, bad(at, "inode %d: magic of attributes is %#x in %d blocks, want %#x in 1", n.info.Num, le.Uint32(b), le.Uint32(b[8:]), uint32(xattrMagic))
	}
	if n.f.hasSums() {
		want := le.Uint32(b[16:])
		clear(b[16:20])
		if sum := crc(crcOf(n.f.seed, uint32(n.acl), uint32(n.acl>>32)), b); sum != want {
			return nil, bad(at+16, "inode %d: CRC-32C of its attributes is %#x, want %#x", n.info.Num, sum, want)
		}
	}
	return n.entries(b[blockHeader:], b, at)
}

// entries reads those of list. Values are in values, which begins at byte base
// of the image.
func (n *inode) entries(list, values []byte, base int64) ([]entry, error) {
	le := binary.LittleEndian
	var out []entry
	room := len(list)
	fail := func(format string, args ...any) ([]entry, error) {
		return nil, bad(base+int64(len(values)-room), "inode %d: "+format, append([]any{n.info.Num}, args...)...)
	}
	for len(list) >= 4 && le.Uint32(list) != 0 {
		room = len(list)
		if len(list) < entrySize || len(list) < entrySize+int(list[0]) {
			return fail("an attribute is cut off")
		}
		e := entry{index: list[1], name: string(list[entrySize : entrySize+int(list[0])]), inode: le.Uint32(list[4:])}
		if size := le.Uint32(list[8:]); size <= maxXattr {
			e.size = int(size)
		} else {
			return fail("attribute %q has %d bytes, want at most %d", e.name, size, maxXattr)
		}
		if xattrPrefixes[e.index] == "" {
			return fail("attribute %q is of kind %d, which is not there", e.name, e.index)
		}
		if off := int(le.Uint16(list[2:])); e.inode == 0 && e.size > 0 {
			if off > len(values) || e.size > len(values)-off {
				return fail("the value of attribute %q has %d bytes at %d of %d", e.name, e.size, off, len(values))
			}
			e.at, e.value = base+int64(off), bytes.Clone(values[off:off+e.size])
		}
		out = append(out, e)
		list = list[min(len(list), (entrySize+int(list[0])+3)&^3):]
	}
	return out, nil
}

// far reads a value that has an inode of its own.
func (n *inode) far(e entry) ([]byte, error) {
	if n.f.Incompat&incompatEAInode == 0 {
		return nil, n.bad(104, "attribute %q has an inode, in an image without ea_inode", e.name)
	}
	other, err := n.f.inode(uint64(e.inode))
	switch {
	case err != nil:
		return nil, err
	case other.flags&flagEAInode == 0 || !other.info.Mode.IsRegular() || other.info.Size != int64(e.size):
		return nil, n.bad(104, "attribute %q of %d bytes is inode %d, which is not one", e.name, e.size, e.inode)
	}
	p := make([]byte, e.size)
	return p, readat.Full(n.f.Data(other), p, 0)
}

// inlineRest is where data that does not fit into the inode's map goes on, if
// it does.
func (n *inode) inlineRest() (e entry, ok bool, err error) {
	list, err := n.inside()
	for _, e := range list {
		if e.index == indexSystem && e.name == inlineName && e.inode == 0 {
			return e, true, nil
		}
	}
	return entry{}, false, err
}

// acl returns an access control list, which is at byte at of the image, as
// Linux shows it: version 2, in which each entry has an identity.
func acl(b []byte, at int64) ([]byte, error) {
	le := binary.LittleEndian
	if len(b) < 4 || le.Uint32(b) != 1 {
		return nil, bad(at, "an access control list of %d bytes that is not of version 1", len(b))
	}
	out := le.AppendUint32(nil, 2)
	for b = b[4:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, bad(at, "an access control list is cut off")
		}
		tag, id, size := le.Uint16(b), uint32(1<<32-1), 4
		if tag == 0x02 || tag == 0x08 { // a user, a group
			if len(b) < 8 {
				return nil, bad(at, "an access control list is cut off")
			}
			id, size = le.Uint32(b[4:]), 8
		}
		out = le.AppendUint32(append(out, b[:4]...), id)
		b = b[size:]
	}
	return out, nil
}
