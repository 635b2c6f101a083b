package dex

import (
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"slices"
)

// Kinds of a map_item that are read beside those in the header.
const (
	mapHeader   = 0x0000
	mapCallSite = 0x0007
	mapHandle   = 0x0008
	mapList     = 0x1000
)

const maxParameters = 255

// SHA1Holds reports whether the header's SHA-1 is that of the file. Android
// does not look at it.
func (f *File) SHA1Holds() bool {
	from := f.Off + 0x20
	return sha1.Sum(f.b[from:f.Off+f.Size]) == f.SHA1 || f.Version >= 41 && sha1.Sum(f.b[from:]) == f.SHA1
}

// String returns the ith string in UTF-8. A UTF-16 surrogate without its
// partner is left as three bytes, which are not UTF-8.
func (f *File) String(i int) string {
	s, _, _ := f.stringData(i)
	return decodeMUTF8(s)
}

// Type returns the descriptor of the ith type, such as "Ljava/lang/String;",
// "[I" or "V".
func (f *File) Type(i int) string { return f.String(f.typeString(i)) }

func (f *File) typeString(i int) int { return int(f.u32(f.types.at(i))) }

// u16 and u32 read in a table that has been checked.
func (f *File) u16(off int) uint16 { return binary.LittleEndian.Uint16(f.b[off:]) }
func (f *File) u32(off int) uint32 { return binary.LittleEndian.Uint32(f.b[off:]) }

// A Ref names a class, or a method or field of one.
type Ref struct {
	Class string // descriptor, such as "Ljava/lang/String;"
	Name  string // of the method or field; "": the class itself
	Type  string // of a method "(II)V", of a field "I"
}

// IsMethod reports whether r names a method.
func (r Ref) IsMethod() bool { return r.Type != "" && r.Type[0] == '(' }

// String returns the reference as smali writes it:
// "Ljava/lang/String;->length()I", "Landroid/os/Build;->MODEL:Ljava/lang/String;".
func (r Ref) String() string {
	switch {
	case r.Name == "":
		return r.Class
	case r.IsMethod():
		return r.Class + "->" + r.Name + r.Type
	}
	return r.Class + "->" + r.Name + ":" + r.Type
}

// Compare orders references by class, name and type.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Class, o.Class), cmp.Compare(r.Name, o.Name), cmp.Compare(r.Type, o.Type))
}

// Proto returns the descriptor of the ith proto, such as "(ILjava/lang/String;)V".
func (f *File) Proto(i int) string {
	b := []byte{'('}
	for _, t := range f.parameters(i) {
		b = append(b, f.Type(int(t))...)
	}
	return string(append(append(b, ')'), f.Type(f.returns(i))...))
}

func (f *File) returns(i int) int { return int(f.u32(f.protos.at(i) + 4)) }

// parameters returns the types of the ith proto's parameters.
func (f *File) parameters(i int) []uint16 {
	list, _ := f.typeList(int(f.u32(f.protos.at(i)+8)), maxParameters)
	return list
}

// typeList reads a list of at most max types; offset 0 is the empty one.
func (f *File) typeList(off, max int) ([]uint16, error) {
	if off == 0 {
		return nil, nil
	}
	c := cursor{b: f.b, off: off}
	n := c.u32()
	switch {
	case c.err != nil:
		return nil, c.err
	case off%4 != 0:
		return nil, bad(off, "list of types: offset is no multiple of 4")
	case int64(n) > int64(max):
		return nil, bad(off, "list of %d types, at most %d", n, max)
	}
	b := c.bytes(int(n) * 2)
	if c.err != nil {
		return nil, c.err
	}
	list := make([]uint16, n)
	for i := range list {
		list[i] = binary.LittleEndian.Uint16(b[2*i:])
		if int(list[i]) >= f.Types {
			return nil, bad(off+4+2*i, "type %d of %d", list[i], f.Types)
		}
	}
	return list, nil
}

// Field returns the ith field that the file refers to.
func (f *File) Field(i int) Ref {
	at := f.fields.at(i)
	return Ref{f.Type(f.fieldClass(i)), f.String(int(f.u32(at + 4))), f.Type(int(f.u16(at + 2)))}
}

// Method returns the ith method that the file refers to.
func (f *File) Method(i int) Ref {
	at := f.methods.at(i)
	return Ref{f.Type(f.methodClass(i)), f.String(int(f.u32(at + 4))), f.Proto(int(f.u16(at + 2)))}
}

func (f *File) fieldClass(i int) int  { return int(f.u16(f.fields.at(i))) }
func (f *File) methodClass(i int) int { return int(f.u16(f.methods.at(i))) }
func (f *File) methodProto(i int) int { return int(f.u16(f.methods.at(i) + 2)) }

// readMap checks the map against the header, and finds the tables that are
// only there.
func (f *File) readMap() error {
	at := f.Off + 0x34
	off := int(f.u32(at))
	c := cursor{b: f.b, off: off}
	n := c.u32()
	if off == 0 || off%4 != 0 || c.err != nil || int64(n) > int64(len(f.b)-c.off)/12 {
		return bad(at, "map of %d items at %#x passes the end", n, off)
	}
	head := []table{{f.Off, 1, 0}, f.strings, f.types, f.protos, f.fields, f.methods, f.classes}
	seen, last := make(map[uint16]bool), -1
	for range n {
		at := c.off
		kind, _, size, off := c.u16(), c.u16(), int(c.u32()), int(c.u32())
		switch {
		case seen[kind]:
			return bad(at, "map: a second item of type %#x", kind)
		case off <= last || off >= len(f.b):
			return bad(at+8, "map: type %#x at %#x, after one at %#x", kind, off, last)
		case int(kind) < len(head) && (size != head[kind].n || off != head[kind].off):
			return bad(at, "map: type %#x: %d at %#x, but the header says %d at %#x", kind, size, off, head[kind].n, head[kind].off)
		case kind == mapCallSite || kind == mapHandle:
			if off%4 != 0 || size > 1<<16 || size > (len(f.b)-off)/8 && kind == mapHandle || size > (len(f.b)-off)/4 {
				return bad(at, "map: type %#x: %d at %#x pass the end", kind, size, off)
			}
			if kind == mapHandle {
				f.handles = table{off, size, 8}
			} else {
				f.sites = table{off, size, 4}
			}
		}
		seen[kind], last = true, off
	}
	for kind, t := range head {
		if t.n > 0 && !seen[uint16(kind)] {
			return bad(off, "map: no item of type %#x", kind)
		}
	}
	if !seen[mapList] {
		return bad(off, "map: no item for the map itself")
	}
	return nil
}

func (f *File) checkTypes() error {
	last := -1
	f.kind = make([]byte, f.Types)
	for i := range f.Types {
		at := f.types.at(i)
		s := int(f.u32(at))
		switch {
		case s >= f.Strings:
			return bad(at, "type %d: string %d of %d", i, s, f.Strings)
		case s <= last:
			return bad(at, "type %d is not in order", i)
		case !validDescriptor(f.String(s)):
			return bad(at, "type %d: %q is no type", i, f.String(s))
		}
		last = s
		data, _, _ := f.stringData(s)
		f.kind[i] = data[0]
	}
	return nil
}

func (f *File) checkProtos() error {
	lastReturn, last := -1, []uint16(nil)
	for i := range f.Protos {
		at := f.protos.at(i)
		shorty, ret := int(f.u32(at)), int(f.u32(at+4))
		switch {
		case shorty >= f.Strings:
			return bad(at, "proto %d: string %d of %d", i, shorty, f.Strings)
		case ret >= f.Types:
			return bad(at+4, "proto %d: type %d of %d", i, ret, f.Types)
		}
		list, err := f.typeList(int(f.u32(at+8)), maxParameters)
		if err != nil {
			return err
		}
		if ret < lastReturn || ret == lastReturn && slices.Compare(list, last) <= 0 {
			return bad(at, "proto %d is not in order", i)
		}
		lastReturn, last = ret, list
		if !f.shortyHolds(f.String(shorty), ret, list) {
			return bad(at, "proto %d: short form %q of %s", i, f.String(shorty), f.Proto(i))
		}
	}
	return nil
}

// shortyHolds compares a proto with its short form, in which all classes and
// arrays are L.
func (f *File) shortyHolds(shorty string, ret int, list []uint16) bool {
	if len(shorty) != 1+len(list) {
		return false
	}
	for i := range shorty {
		t := ret
		if i > 0 {
			t = int(list[i-1])
		}
		c := f.kind[t]
		if c == '[' {
			c = 'L'
		}
		if c != shorty[i] || i > 0 && c == 'V' {
			return false
		}
	}
	return true
}

func (f *File) checkFields() error {
	return f.checkMembers(f.fields, "field", f.Types)
}

func (f *File) checkMethods() error {
	return f.checkMembers(f.methods, "method", f.Protos)
}

// checkMembers checks field_ids or method_ids, whose records are alike: the
// class, the type or proto, of which there are n, and the name; sorted by class,
// name, type.
func (f *File) checkMembers(t table, what string, n int) error {
	valid := make([]bool, f.Strings) // names that were looked at
	last := [3]int{-1}
	for i := range t.n {
		at := t.at(i)
		c, typ, name := int(f.u16(at)), int(f.u16(at+2)), int(f.u32(at+4))
		switch {
		case c >= f.Types:
			return bad(at, "%s %d: type %d of %d", what, i, c, f.Types)
		case typ >= n:
			return bad(at+2, "%s %d: type or proto %d of %d", what, i, typ, n)
		case name >= f.Strings:
			return bad(at+4, "%s %d: string %d of %d", what, i, name, f.Strings)
		case slices.Compare(last[:], []int{c, name, typ}) >= 0:
			return bad(at, "%s %d is not in order", what, i)
		case f.kind[c] != 'L' && (f.kind[c] != '[' || what != "method"):
			return bad(at, "%s %d: of class %q", what, i, f.Type(c))
		case !valid[name] && !validMember(f.String(name)):
			return bad(at+4, "%s %d: name %q", what, i, f.String(name))
		}
		valid[name] = true
		last = [3]int{c, name, typ}
	}
	return nil
}
