package ext4

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"mios/format/fsimage"
)

// writable are the kinds of attributes that are written: those whose values are
// in the image as Linux shows them.
var writable = map[string]byte{"user.": 1, "trusted.": 4, "security.": 6}

// encoded are attributes for the inode, and for a block of their own.
type encoded struct{ inside, block []entry }

// encodeXattrs sorts attributes as the kernel wants them in blocks, and says
// where each goes.
func (e *Editor) encodeXattrs(list []fsimage.Xattr) (encoded, error) {
	var x encoded
	seen := map[string]bool{}
	var all []entry
	for _, a := range list {
		prefix, name, _ := strings.Cut(a.Name, ".")
		index := writable[prefix+"."]
		switch {
		case seen[a.Name]:
			return x, fmt.Errorf("two attributes %s: %w", a.Name, fs.ErrInvalid)
		case index == 0 || name == "" || len(name) > 255:
			return x, fmt.Errorf("attribute %q is none of user, trusted and security: %w", a.Name, fs.ErrInvalid)
		}
		seen[a.Name] = true
		all = append(all, entry{index: index, name: name, value: a.Value, size: len(a.Value)})
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	room, blockRoom := 0, int(e.f.BlockSize)-blockHeader-4
	if e.f.InodeSize > baseSize {
		room = int(e.f.InodeSize-baseSize-e.wantExtra()) - 4 - 4
	}
	label := func(x entry) bool { return x.index == 6 && x.name == "selinux" }
	if i := slices.IndexFunc(all, label); i >= 0 && all[i].space() <= room { // it is asked for most
		room -= all[i].space()
		x.inside, all = append(x.inside, all[i]), slices.Delete(all, i, i+1)
	}
	for _, a := range all {
		switch size := a.space(); {
		case size <= room:
			room -= size
			x.inside = append(x.inside, a)
		case size <= blockRoom:
			blockRoom -= size
			x.block = append(x.block, a)
		default:
			return x, fmt.Errorf("attribute %s with %d bytes, which has no room in an inode or a block: %w", a.name, len(a.value), fs.ErrInvalid)
		}
	}
	return x, nil
}

// space is what an attribute takes.
func (x entry) space() int { return entrySize + (len(x.name)+3)&^3 + (len(x.value)+3)&^3 }

// hash is what an entry must say of its name and value.
func (x entry) hash() uint32 {
	var h uint32
	for i := range len(x.name) {
		h = h<<5 ^ h>>27 ^ uint32(x.name[i])
	}
	value := append(bytes.Clone(x.value), make([]byte, -len(x.value)&3)...)
	for ; len(value) > 0; value = value[4:] {
		h = h<<16 ^ h>>16 ^ binary.LittleEndian.Uint32(value)
	}
	return h
}

// putEntries puts entries at list, and values at the end of values, of which list is a part.
func putEntries(list, values []byte, entries []entry) {
	le, end := binary.LittleEndian, len(values)
	for _, x := range entries {
		list[0], list[1] = byte(len(x.name)), x.index
		if len(x.value) > 0 {
			end -= (len(x.value) + 3) &^ 3
			copy(values[end:], x.value)
			le.PutUint16(list[2:], uint16(end))
		}
		le.PutUint32(list[8:], uint32(len(x.value)))
		le.PutUint32(list[12:], x.hash())
		copy(list[entrySize:], x.name)
		list = list[(entrySize+len(x.name)+3)&^3:]
	}
}

// setXattrs gives attributes to an inode that has none. It does not write the
// inode.
func (e *Editor) setXattrs(n *inode, x encoded) error {
	le := binary.LittleEndian
	if len(x.inside) > 0 {
		b := n.raw[baseSize+n.extra:]
		le.PutUint32(b, xattrMagic)
		putEntries(b[4:], b[4:], x.inside)
	}
	if len(x.block) == 0 {
		return nil
	}
	runs, err := e.take(1, nil)
	if err != nil {
		return err
	}
	b := make([]byte, e.f.BlockSize)
	le.PutUint32(b, xattrMagic)
	le.PutUint32(b[4:], 1)
	le.PutUint32(b[8:], 1)
	putEntries(b[blockHeader:], b, x.block)
	var sum uint32
	for _, a := range x.block {
		sum = sum<<16 ^ sum>>16 ^ a.hash()
	}
	le.PutUint32(b[12:], sum)
	n.acl = runs[0].Start
	le.PutUint32(n.raw[104:], uint32(n.acl))
	le.PutUint16(n.raw[118:], uint16(n.acl>>32))
	le.PutUint32(e.super[92:], le.Uint32(e.super[92:])|compatXattr)
	e.addSectors(n, 1)
	e.refs[n.acl] = 1
	return e.writeXattrBlock(n.acl, b)
}

func (e *Editor) writeXattrBlock(block int64, b []byte) error {
	if e.f.hasSums() {
		clear(b[16:20])
		binary.LittleEndian.PutUint32(b[16:], crc(crcOf(e.f.seed, uint32(block), uint32(block>>32)), b))
	}
	return e.write(b, block*e.f.BlockSize)
}

// dropXattrs takes its attributes from an inode that is removed.
func (e *Editor) dropXattrs(n *inode) error {
	entries, err := n.inside()
	if err != nil {
		return err
	}
	more, err := n.block()
	if err != nil {
		return err
	}
	for _, x := range append(entries, more...) {
		if x.inode != 0 {
			return fmt.Errorf("attribute %s has an inode of its own: %w", x.name, ErrUnsupported)
		}
	}
	if n.acl == 0 {
		return nil
	}
	if e.refs[n.acl]--; e.refs[n.acl] <= 0 {
		delete(e.refs, n.acl)
		e.free(fsimage.Run{Start: n.acl, Count: 1})
		return nil
	}
	b := make([]byte, e.f.BlockSize)
	if err := e.f.read(b, n.acl*e.f.BlockSize, "attributes"); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(e.refs[n.acl]))
	return e.writeXattrBlock(n.acl, b)
}
