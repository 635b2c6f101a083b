package erofs

import (
	"encoding/binary"
	"io"

	"mios/format/fsimage"
	"mios/internal/readat"
)

const (
	xattrHeader = 12 // before the numbers of shared attributes
	xattrEntry  = 4
	longPrefix  = 0x80
)

// xattrPrefixes are what the numbers in entries mean.
var xattrPrefixes = [...]string{
	1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 5: "lustre.", 6: "security.",
}

// readPrefixes reads the longer prefixes that the image defines.
func (f *FS) readPrefixes() error {
	if f.Incompat&incompatXattrPrefix == 0 {
		return nil
	}
	var b [superSize]byte
	if err := readat.Full(f.cache, b[:], superOffset); err != nil {
		return err
	}
	count, at := int(b[91]), int64(binary.LittleEndian.Uint32(b[92:]))*4
	var from io.ReaderAt = f.cache
	if f.Compat&compatPlainPrefixes == 0 && count > 0 {
		switch {
		case f.metabox != 0:
			data, err := f.metaboxOnce()
			if err != nil {
				return err
			}
			from = data
		case f.packed != 0:
			n, err := f.packedOnce()
			if err != nil {
				return err
			}
			from = f.Data(n)
		}
	}
	for range count {
		p, next, err := readSized(from, at)
		if err != nil {
			return err
		}
		if len(p) > 256 || int(p[0]) >= len(xattrPrefixes) || xattrPrefixes[p[0]] == "" {
			return bad(superOffset+92, "prefix %d of attributes' names: %d bytes on base %d", len(f.prefixes), len(p), p[0])
		}
		f.prefixes = append(f.prefixes, xattrPrefixes[p[0]]+string(p[1:]))
		at = next
	}
	return nil
}

// Xattrs implements [fsimage.Node].
func (n *inode) Xattrs() ([]fsimage.Xattr, error) {
	size := n.end - n.xattrs
	if size == 0 {
		return nil, nil
	}
	b := make([]byte, size)
	if err := n.read(b, n.xattrs, "attributes"); err != nil {
		return nil, err
	}
	shared := int(b[4])
	at := xattrHeader + 4*shared
	if int64(at) > size {
		return nil, n.bad(n.xattrs+4, "inode %d: %d shared attributes in %d bytes", n.num(), shared, size)
	}
	var out []fsimage.Xattr
	for i := range shared {
		id := int64(binary.LittleEndian.Uint32(b[xattrHeader+4*i:]))
		x, err := n.shared(n.f.xattrStart + 4*id)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	for at < len(b) {
		if len(b)-at < xattrEntry {
			return nil, n.bad(n.xattrs+int64(at), "inode %d: attribute is cut off", n.num())
		}
		nameLen, valueLen := int(b[at]), int(binary.LittleEndian.Uint16(b[at+2:]))
		if nameLen == 0 && valueLen == 0 && b[at+1] == 0 { // nothing more
			break
		}
		end := at + xattrEntry + nameLen + valueLen
		if end > len(b) {
			return nil, n.bad(n.xattrs+int64(at), "inode %d: attribute of %d bytes, %d left", n.num(), end-at, len(b)-at)
		}
		x, err := n.xattr(b[at:end], n.xattrs+int64(at))
		if err != nil {
			return nil, err
		}
		out = append(out, x)
		at = (end + 3) &^ 3
	}
	return out, n.unique(out)
}

// unique refuses two attributes of one name.
func (n *inode) unique(list []fsimage.Xattr) error {
	seen := make(map[string]bool, len(list))
	for _, x := range list {
		if seen[x.Name] {
			return n.bad(n.xattrs, "inode %d: two attributes are named %q", n.num(), x.Name)
		}
		seen[x.Name] = true
	}
	return nil
}

// shared reads an attribute that several inodes have.
func (n *inode) shared(at int64) (fsimage.Xattr, error) {
	var h [xattrEntry]byte
	var from io.ReaderAt = n.f.cache
	if n.f.metabox != 0 && n.f.Compat&compatSharedInMetabox != 0 {
		data, err := n.f.metaboxOnce()
		if err != nil {
			return fsimage.Xattr{}, err
		}
		from = data
	}
	if err := readat.Full(from, h[:], at); err != nil {
		return fsimage.Xattr{}, bad(at, "inode %d: shared attribute: %v", n.num(), err)
	}
	b := make([]byte, xattrEntry+int(h[0])+int(binary.LittleEndian.Uint16(h[2:])))
	if err := readat.Full(from, b, at); err != nil {
		return fsimage.Xattr{}, bad(at, "inode %d: shared attribute of %d bytes: %v", n.num(), len(b), err)
	}
	return n.xattr(b, at)
}

// xattr makes an attribute of its entry.
func (n *inode) xattr(b []byte, at int64) (fsimage.Xattr, error) {
	nameLen, index := int(b[0]), int(b[1])
	prefix := ""
	switch {
	case index&longPrefix != 0 && index&^longPrefix < len(n.f.prefixes):
		prefix = n.f.prefixes[index&^longPrefix]
	case index < len(xattrPrefixes):
		prefix = xattrPrefixes[index]
	}
	if prefix == "" {
		return fsimage.Xattr{}, n.bad(at+1, "inode %d: attribute's name has prefix %d, which is not there", n.num(), index)
	}
	b = b[xattrEntry:]
	return fsimage.Xattr{Name: prefix + string(b[:nameLen]), Value: b[nameLen:]}, nil
}
