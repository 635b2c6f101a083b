// Package fdt reads, changes and writes flattened device trees, version 17 of
// the Devicetree Specification's chapter 5.
//
// A blob has many encodings (gaps, the order and sharing of names): [Tree.Bytes]
// writes one of them, and Parse of that gives the same tree.
package fdt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

const (
	magic      = 0xd00dfeed
	version    = 17
	compatible = 16
	headerSize = 40

	tokBegin = 1
	tokEnd   = 2
	tokProp  = 3
	tokNop   = 4
	tokStop  = 9

	maxSize  = 16 << 20
	maxDepth = 64
)

// A Tree is a device tree.
type Tree struct {
	BootCPU  uint32
	Reserved []Reservation
	Root     *Node
}

// A Reservation is a range of physical memory that is not to be used.
type Reservation struct{ Address, Size uint64 }

// A Node is a device, or a bus with devices.
type Node struct {
	Name     string // with its unit address; the root's is empty
	Props    []Prop
	Children []*Node
}

// A Prop is a property of a node.
type Prop struct {
	Name  string
	Value []byte
}

// A FormatError says where a blob breaks the format, and how.
type FormatError struct {
	Off int64 // in bytes from the blob's start
	Msg string
}

func (e *FormatError) Error() string { return fmt.Sprintf("fdt: offset %#x: %s", e.Off, e.Msg) }

func bad(off int, format string, args ...any) error {
	return &FormatError{int64(off), fmt.Sprintf(format, args...)}
}

// Parse reads a blob. The values of the tree's properties share b's memory.
// Errors are [*FormatError].
func Parse(b []byte) (*Tree, error) {
	be := binary.BigEndian
	if len(b) < headerSize || be.Uint32(b) != magic {
		return nil, bad(0, "no device tree in %d bytes", len(b))
	}
	total := be.Uint32(b[4:])
	if uint64(total) > uint64(len(b)) || total < headerSize || total > maxSize {
		return nil, bad(4, "total size %d in %d bytes", total, len(b))
	}
	b = b[:total]
	if v, c := be.Uint32(b[20:]), be.Uint32(b[24:]); v < version || c > version {
		return nil, bad(20, "version %d, compatible with %d; want 17", v, c)
	}
	t := &Tree{BootCPU: be.Uint32(b[28:])}
	if err := t.parseReserved(b, be.Uint32(b[16:])); err != nil {
		return nil, err
	}
	structs, err := block(b, 8, 36, "structure")
	if err != nil {
		return nil, err
	}
	names, err := block(b, 12, 32, "strings")
	if err != nil {
		return nil, err
	}
	p := &parser{b: structs, names: names, base: int(be.Uint32(b[8:]))}
	if t.Root, err = p.root(); err != nil {
		return nil, err
	}
	return t, nil
}

func block(b []byte, offField, sizeField int, what string) ([]byte, error) {
	off, size := binary.BigEndian.Uint32(b[offField:]), binary.BigEndian.Uint32(b[sizeField:])
	if off < headerSize || uint64(off)+uint64(size) > uint64(len(b)) {
		return nil, bad(offField, "%s block of %d bytes at %#x passes the end", what, size, off)
	}
	return b[off : off+size], nil
}

func (t *Tree) parseReserved(b []byte, off uint32) error {
	if off < headerSize || off%8 != 0 {
		return bad(16, "memory reservations at %#x", off)
	}
	for o := uint64(off); ; o += 16 {
		if o+16 > uint64(len(b)) {
			return bad(int(off), "memory reservations have no end")
		}
		r := Reservation{binary.BigEndian.Uint64(b[o:]), binary.BigEndian.Uint64(b[o+8:])}
		if r == (Reservation{}) {
			return nil
		}
		t.Reserved = append(t.Reserved, r)
	}
}

type parser struct {
	b, names []byte
	off      int
	base     int // offset of b in the blob, for errors
}

func (p *parser) fail(format string, args ...any) error { return bad(p.base+p.off, format, args...) }

func (p *parser) word() (uint32, error) {
	if len(p.b)-p.off < 4 {
		return 0, p.fail("structure block ends early")
	}
	v := binary.BigEndian.Uint32(p.b[p.off:])
	p.off += 4
	return v, nil
}

// token returns the next token that says something.
func (p *parser) token() (uint32, error) {
	for {
		if v, err := p.word(); err != nil || v != tokNop {
			return v, err
		}
	}
}

func (p *parser) root() (*Node, error) {
	if v, err := p.token(); err != nil || v != tokBegin {
		return nil, errors.Join(p.fail("want a root node"), err)
	}
	n, err := p.node(0)
	if err != nil {
		return nil, err
	}
	if n.Name != "" {
		return nil, p.fail("the root node has the name %q", n.Name)
	}
	if v, err := p.token(); err != nil || v != tokStop {
		return nil, p.fail("no end after the root node")
	}
	return n, nil
}

// node reads what follows a begin token.
func (p *parser) node(depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, p.fail("nodes nest deeper than %d", maxDepth)
	}
	name, err := cstring(p.b[p.off:])
	if err != nil {
		return nil, p.fail("node name: %v", err)
	}
	p.off = min(len(p.b), int(align4(p.off+len(name)+1)))
	n := &Node{Name: name}
	for {
		v, err := p.token()
		if err != nil {
			return nil, err
		}
		switch v {
		case tokProp:
			prop, err := p.prop()
			if err != nil {
				return nil, err
			}
			n.Props = append(n.Props, prop)
		case tokBegin:
			c, err := p.node(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Children = append(n.Children, c)
		case tokEnd:
			return n, nil
		default:
			p.off -= 4
			return nil, p.fail("token %#x", v)
		}
	}
}

func (p *parser) prop() (Prop, error) {
	size, err := p.word()
	if err != nil {
		return Prop{}, err
	}
	nameOff, err := p.word()
	if err != nil {
		return Prop{}, err
	}
	if uint64(size) > uint64(len(p.b)-p.off) || uint64(nameOff) >= uint64(len(p.names)) {
		return Prop{}, p.fail("property of %d bytes with its name at %#x passes the end", size, nameOff)
	}
	name, err := cstring(p.names[nameOff:])
	if err != nil || name == "" {
		return Prop{}, p.fail("property name at %#x is empty or has no end", nameOff)
	}
	v := p.b[p.off : p.off+int(size) : p.off+int(size)]
	p.off = min(len(p.b), align4(p.off+int(size)))
	return Prop{name, v}, nil
}

func cstring(b []byte) (string, error) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", errors.New("has no end")
	}
	return string(b[:i]), nil
}

func align4(n int) int { return (n + 3) &^ 3 }

// Node returns the node at a path such as "/chosen", which it adds where the
// tree has none. Names must match whole, unit address included.
func (t *Tree) Node(path string) *Node {
	n := t.Root
next:
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		for _, c := range n.Children {
			if c.Name == name {
				n = c
				continue next
			}
		}
		c := &Node{Name: name}
		n.Children = append(n.Children, c)
		n = c
	}
	return n
}

// Prop returns the value of a property, and whether the node has it.
func (n *Node) Prop(name string) ([]byte, bool) {
	for _, p := range n.Props {
		if p.Name == name {
			return p.Value, true
		}
	}
	return nil, false
}

// Set sets a property, adding it where the node has none of the name.
func (n *Node) Set(name string, value []byte) {
	for i := range n.Props {
		if n.Props[i].Name == name {
			n.Props[i].Value = value
			return
		}
	}
	n.Props = append(n.Props, Prop{name, value})
}

// SetString sets a property to a string with the NUL that ends it.
func (n *Node) SetString(name, value string) { n.Set(name, append([]byte(value), 0)) }

// SetUint64 sets a property to two cells.
func (n *Node) SetUint64(name string, v uint64) {
	n.Set(name, binary.BigEndian.AppendUint64(nil, v))
}

// Bytes encodes the tree: header, reservations, structure, strings. It fails
// on names with a NUL and on a tree past 16 MiB.
func (t *Tree) Bytes() ([]byte, error) {
	e := &encoder{index: make(map[string]uint32)}
	if err := e.node(t.Root); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	e.structs = be.AppendUint32(e.structs, tokStop)
	var rsv []byte
	for _, r := range append(t.Reserved[:len(t.Reserved):len(t.Reserved)], Reservation{}) {
		rsv = be.AppendUint64(be.AppendUint64(rsv, r.Address), r.Size)
	}
	structOff := headerSize + len(rsv)
	namesOff := structOff + len(e.structs)
	total := namesOff + len(e.names)
	if total > maxSize {
		return nil, fmt.Errorf("fdt: tree of %d bytes, want at most %d", total, maxSize)
	}
	var out []byte
	for _, v := range []int{magic, total, structOff, namesOff, headerSize, version, compatible, int(t.BootCPU), len(e.names), len(e.structs)} {
		out = be.AppendUint32(out, uint32(v))
	}
	return bytes.Join([][]byte{out, rsv, e.structs, e.names}, nil), nil
}

type encoder struct {
	structs, names []byte
	index          map[string]uint32
}

func (e *encoder) node(n *Node) error {
	if strings.IndexByte(n.Name, 0) >= 0 {
		return fmt.Errorf("fdt: node name %q has a NUL", n.Name)
	}
	be := binary.BigEndian
	e.structs = be.AppendUint32(e.structs, tokBegin)
	e.structs = append(append(e.structs, n.Name...), 0)
	e.pad()
	for _, p := range n.Props {
		if p.Name == "" || strings.IndexByte(p.Name, 0) >= 0 {
			return fmt.Errorf("fdt: node %q: property name %q", n.Name, p.Name)
		}
		off, ok := e.index[p.Name]
		if !ok {
			off = uint32(len(e.names))
			e.index[p.Name] = off
			e.names = append(append(e.names, p.Name...), 0)
		}
		for _, v := range []uint32{tokProp, uint32(len(p.Value)), off} {
			e.structs = be.AppendUint32(e.structs, v)
		}
		e.structs = append(e.structs, p.Value...)
		e.pad()
	}
	for _, c := range n.Children {
		if err := e.node(c); err != nil {
			return err
		}
	}
	e.structs = be.AppendUint32(e.structs, tokEnd)
	return nil
}

func (e *encoder) pad() {
	for len(e.structs)%4 != 0 {
		e.structs = append(e.structs, 0)
	}
}
