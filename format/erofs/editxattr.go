package erofs

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"

	"mios/format/fsimage"
)

// A sharedKey is an attribute: its name, a zero byte, its value.
type sharedKey string

func keyOf(x fsimage.Xattr) sharedKey { return sharedKey(x.Name + "\x00" + string(x.Value)) }

// Of the attributes that an image shares, so many are remembered, if they are
// not longer than that: labels and capabilities are short.
const (
	maxShared     = 1 << 14
	maxSharedSize = 1 << 10
)

// noteShared notes which shared attributes an inode has.
func (e *Editor) noteShared(n *inode) error {
	if n.end == n.xattrs {
		return nil
	}
	list, err := n.Xattrs()
	if err != nil {
		return err
	}
	b := make([]byte, n.end-n.xattrs)
	if err := n.read(b, n.xattrs, "attributes"); err != nil {
		return err
	}
	for i := range int(b[4]) { // they come first
		if x := list[i]; len(x.Value) <= maxSharedSize && len(e.shared) < maxShared {
			if _, ok := e.shared[keyOf(x)]; !ok {
				e.shared[keyOf(x)] = binary.LittleEndian.Uint32(b[xattrHeader+4*i:])
			}
		}
	}
	return nil
}

// encodeXattrs returns attributes as they lie behind an inode.
func (e *Editor) encodeXattrs(list []fsimage.Xattr) ([]byte, error) {
	if len(list) == 0 {
		return nil, nil
	}
	le := binary.LittleEndian
	head, own := make([]byte, xattrHeader), []byte(nil)
	seen := map[string]bool{}
	for _, x := range list {
		if seen[x.Name] {
			return nil, fmt.Errorf("two attributes %s: %w", x.Name, fs.ErrInvalid)
		}
		seen[x.Name] = true
		if id, ok := e.shared[keyOf(x)]; ok && head[4] < 255 {
			head = le.AppendUint32(head, id)
			head[4]++
			continue
		}
		index, rest := splitName(x.Name)
		if index == 0 || len(rest) > 255 || len(x.Value) > 1<<16-1 {
			return nil, fmt.Errorf("attribute %q with %d bytes, which EROFS has no room for: %w", x.Name, len(x.Value), fs.ErrInvalid)
		}
		own = append(own, byte(len(rest)), index)
		own = le.AppendUint16(own, uint16(len(x.Value)))
		own = append(append(own, rest...), x.Value...)
		own = append(own, make([]byte, -len(own)&3)...)
	}
	out := append(head, own...)
	if len(out)-xattrHeader > 4*(1<<16-2) {
		return nil, fmt.Errorf("%d bytes of attributes, more than an inode has room for: %w", len(out), fs.ErrInvalid)
	}
	return out, nil
}

// splitName returns the number of a name's prefix, and the rest. 0 is none.
func splitName(name string) (index byte, rest string) {
	for i, prefix := range xattrPrefixes {
		if prefix == "" {
			continue
		}
		rest, ok := strings.CutPrefix(name, prefix)
		if ok && (rest == "") != strings.HasSuffix(prefix, ".") {
			return byte(i), rest
		}
	}
	return 0, ""
}
