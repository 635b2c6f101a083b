package dex

import "slices"

// AccessFlags are the flags of a class, method or field.
type AccessFlags uint32

// The flags, of which each has a meaning for some of classes, methods and
// fields only.
const (
	AccPublic       AccessFlags = 0x1
	AccPrivate      AccessFlags = 0x2
	AccProtected    AccessFlags = 0x4
	AccStatic       AccessFlags = 0x8
	AccFinal        AccessFlags = 0x10
	AccSynchronized AccessFlags = 0x20
	AccVolatile     AccessFlags = 0x40 // of a method: bridge
	AccTransient    AccessFlags = 0x80 // of a method: varargs
	AccNative       AccessFlags = 0x100
	AccInterface    AccessFlags = 0x200
	AccAbstract     AccessFlags = 0x400
	AccStrict       AccessFlags = 0x800
	AccSynthetic    AccessFlags = 0x1000
	AccAnnotation   AccessFlags = 0x2000
	AccEnum         AccessFlags = 0x4000
	AccConstructor  AccessFlags = 0x10000
	AccDeclaredSync AccessFlags = 0x20000
)

// A Class is a class that the file defines.
type Class struct {
	Name       string // descriptor
	Access     AccessFlags
	Super      string   // descriptor; "" only of java.lang.Object
	Interfaces []string // descriptors
	SourceFile string   // "" if the file does not say
	Fields     []Field  // static ones first
	Methods    []Method // direct ones (static, private, constructors) first
}

// A Field is a field that a class defines.
type Field struct {
	Ref
	Access AccessFlags
}

// A Method is a method that a class defines.
type Method struct {
	Ref
	Access    AccessFlags
	CodeUnits int // length of its instructions in units of 16 bits; 0: it has none
}

// classDef is a record of class_defs, checked.
type classDef struct {
	class, super            int // types; super -1: none
	access                  AccessFlags
	interfaces, annotations int // offsets, 0: none
	source                  int // string, -1: none
	data, values            int // offsets, 0: none
}

func (f *File) classDef(i int) classDef {
	c := cursor{b: f.b, off: f.classes.at(i)}
	d := classDef{class: int(c.u32()), access: AccessFlags(c.u32())}
	d.super, d.interfaces = optional(c.u32()), int(c.u32())
	d.source, d.annotations = optional(c.u32()), int(c.u32())
	d.data, d.values = int(c.u32()), int(c.u32())
	return d
}

// optional returns an index that may be missing, as -1.
func optional(i uint32) int {
	if i == noIndex {
		return -1
	}
	return int(i)
}

// checkClasses checks class_defs: each class once, and (from version 037 on)
// after what it derives from.
func (f *File) checkClasses() error {
	f.defined = make(map[uint16]int, f.Classes)
	for i := range f.Classes {
		at, d := f.classes.at(i), f.classDef(i)
		switch {
		case d.class >= f.Types || d.super >= f.Types:
			return bad(at, "class %d: type %d of %d", i, max(d.class, d.super), f.Types)
		case f.kind[d.class] != 'L':
			return bad(at, "class %d is %s, which is no class", i, f.Type(d.class))
		case d.super == d.class || d.super >= 0 && f.kind[d.super] != 'L':
			return bad(at+8, "class %d, %s, derives from %s", i, f.Type(d.class), f.Type(d.super))
		case d.source >= f.Strings:
			return bad(at+16, "class %d: string %d of %d", i, d.source, f.Strings)
		}
		if j, twice := f.defined[uint16(d.class)]; twice {
			return bad(at, "class %d is %s, as is class %d", i, f.Type(d.class), j)
		}
		f.defined[uint16(d.class)] = i
	}
	if f.Version < 37 {
		return nil
	}
	for i := range f.Classes {
		d := f.classDef(i)
		if d.super < 0 {
			continue
		}
		if j, ok := f.defined[uint16(d.super)]; ok && j >= i {
			return bad(f.classes.at(i)+8, "class %d, %s, comes before %s, from which it derives", i, f.Type(d.class), f.Type(d.super))
		}
	}
	return nil
}

// ClassName returns the descriptor and the flags of the ith class that the file
// defines.
func (f *File) ClassName(i int) (string, AccessFlags) {
	d := f.classDef(i)
	return f.Type(d.class), d.access
}

// Class reads the ith class that the file defines.
func (f *File) Class(i int) (*Class, error) {
	d := f.classDef(i)
	c := &Class{Name: f.Type(d.class), Access: d.access}
	if d.super >= 0 {
		c.Super = f.Type(d.super)
	}
	if d.source >= 0 {
		c.SourceFile = f.String(d.source)
	}
	list, err := f.typeList(d.interfaces, 1<<16-1)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		c.Interfaces = append(c.Interfaces, f.Type(int(t)))
	}
	data, err := f.classData(d)
	if err != nil {
		return nil, err
	}
	for _, m := range data.fields {
		c.Fields = append(c.Fields, Field{f.Field(m.index), m.access})
	}
	for _, m := range data.methods {
		code, err := f.code(m.code)
		if err != nil {
			return nil, err
		}
		c.Methods = append(c.Methods, Method{f.Method(m.index), m.access, len(code.units) / 2})
	}
	return c, nil
}

// member is a field or method of class_data.
type member struct {
	index  int // of field_ids or method_ids
	access AccessFlags
	code   int // offset of a method's code, 0: none
}

type classData struct{ fields, methods []member }

// classData reads what the class defines.
func (f *File) classData(d classDef) (*classData, error) {
	data := new(classData)
	if d.data == 0 {
		return data, nil
	}
	c := cursor{b: f.b, off: d.data}
	var n [4]int // static fields, instance fields, direct methods, virtual methods
	for i := range n {
		n[i] = int(c.uleb())
	}
	if c.err != nil {
		return nil, c.err
	}
	for i, count := range n {
		to, ids, what := &data.fields, f.fields, "field"
		if i >= 2 {
			to, ids, what = &data.methods, f.methods, "method"
		}
		if count > ids.n {
			return nil, bad(d.data, "%s defines %d %ss of %d", f.Type(d.class), count, what, ids.n)
		}
		index := 0
		for j := range count {
			at := c.off
			diff := c.index(ids.n, what)
			m := member{index: index + diff, access: AccessFlags(c.uleb())}
			if i >= 2 {
				m.code = int(c.uleb())
			}
			switch {
			case c.err != nil:
				return nil, c.err
			case m.index >= ids.n:
				return nil, bad(at, "%s %d of %d", what, m.index, ids.n)
			case j > 0 && diff == 0:
				return nil, bad(at, "%s defines %s %d twice", f.Type(d.class), what, m.index)
			case int(f.u16(ids.at(m.index))) != d.class:
				return nil, bad(at, "%s defines %s %d, which is of %s", f.Type(d.class), what, m.index, f.Type(int(f.u16(ids.at(m.index)))))
			}
			index = m.index
			*to = append(*to, m)
		}
	}
	return data, f.checkTwice(d, data)
}

// checkTwice refuses a field that is static and not, and a method that is
// direct and virtual.
func (f *File) checkTwice(d classDef, data *classData) error {
	for _, list := range [][]member{data.fields, data.methods} {
		index := make([]int, len(list))
		for i, m := range list {
			index[i] = m.index
		}
		slices.Sort(index)
		for i := 1; i < len(index); i++ {
			if index[i] == index[i-1] {
				return bad(d.data, "%s defines member %d twice", f.Type(d.class), index[i])
			}
		}
	}
	return nil
}
