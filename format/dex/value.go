package dex

// Types of an encoded_value.
const (
	valueMethodType   = 0x15
	valueMethodHandle = 0x16
	valueString       = 0x17
	valueType         = 0x18
	valueField        = 0x19
	valueMethod       = 0x1a
	valueEnum         = 0x1b
	valueArray        = 0x1c
	valueAnnotation   = 0x1d
	valueNull         = 0x1e
	valueBoolean      = 0x1f
)

const maxValueDepth = 64

// values reads encoded values and calls yield with what they refer to.
type values struct {
	f     *File
	c     cursor
	work  *budget
	yield func(kind byte, index int)
}

// array reads an encoded_array.
func (v *values) array(depth int) {
	n := v.c.uleb()
	for ; n > 0 && v.c.err == nil; n-- {
		v.value(depth)
	}
}

// annotation reads an encoded_annotation.
func (v *values) annotation(depth int) {
	typ := v.c.index(v.f.Types, "type")
	n := v.c.uleb()
	if v.c.err == nil {
		v.yield(refType, typ)
	}
	for ; n > 0 && v.c.err == nil; n-- {
		v.c.index(v.f.Strings, "string")
		v.value(depth)
	}
}

func (v *values) value(depth int) {
	at := v.c.off
	if depth > maxValueDepth {
		v.c.err = bad(at, "values within values, over %d deep", maxValueDepth)
		return
	}
	if v.c.err = v.work.spend(at, 1); v.c.err != nil {
		return
	}
	b := v.c.u8()
	arg := int(b >> 5)
	switch kind := b & 0x1f; kind {
	case valueArray:
		v.array(depth + 1)
	case valueAnnotation:
		v.annotation(depth + 1)
	case valueNull, valueBoolean:
	case 0x00, 0x02, 0x03, 0x04, 0x06, 0x10, 0x11: // numbers
		v.c.bytes(arg + 1)
	case valueString, valueType, valueField, valueEnum, valueMethod, valueMethodType, valueMethodHandle:
		v.reference(at, valueRefs[kind], arg+1)
	default:
		if v.c.err == nil {
			v.c.err = bad(at, "value of type %#x, which is none", kind)
		}
	}
}

// valueRefs says what an encoded_value of each type refers to.
var valueRefs = [32]byte{
	valueString: refString, valueType: refType, valueField: refField, valueEnum: refField,
	valueMethod: refMethod, valueMethodType: refProto, valueMethodHandle: refHandle,
}

// reference reads an index of size bytes.
func (v *values) reference(at int, kind byte, size int) {
	index, limit := 0, v.f.limit(kind)
	for i, b := range v.c.bytes(min(size, 4)) {
		index |= int(b) << (8 * i)
	}
	switch {
	case v.c.err != nil:
	case size > 4 || index >= limit:
		v.c.err = bad(at, "value refers to %d of %d", index, limit)
	default:
		v.yield(kind, index)
	}
}

// annotations calls yield with what the annotations of a class and its members
// refer to, by their annotations_directory_item.
func (f *File) annotations(off int, work *budget, yield func(on annotated, kind byte, index int)) error {
	if off == 0 {
		return nil
	}
	c := cursor{b: f.b, off: off}
	class := int(c.u32())
	var n [3]uint32 // fields, methods, parameters
	for i := range n {
		n[i] = c.u32()
	}
	if c.err != nil {
		return c.err
	}
	if err := f.annotationSet(class, work, func(kind byte, index int) { yield(annotated{}, kind, index) }); err != nil {
		return err
	}
	for i, kindOf := range []byte{refField, refMethod, refMethod} {
		for ; n[i] > 0; n[i]-- {
			at := c.off
			on, set := annotated{kindOf, int(c.u32())}, int(c.u32())
			if c.err != nil {
				return c.err
			}
			if on.index >= f.limit(kindOf) {
				return bad(at, "annotation on member %d of %d", on.index, f.limit(kindOf))
			}
			read := f.annotationSet
			if i == 2 {
				read = f.annotationSets
			}
			if err := read(set, work, func(kind byte, index int) { yield(on, kind, index) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// annotated is what an annotation is on: kind 0 is the class.
type annotated struct {
	kind  byte
	index int
}

// annotationSets reads an annotation_set_ref_list.
func (f *File) annotationSets(off int, work *budget, yield func(kind byte, index int)) error {
	c := cursor{b: f.b, off: off}
	for n := c.u32(); n > 0 && c.err == nil; n-- {
		if err := work.spend(c.off, 1); err != nil {
			return err
		}
		if err := f.annotationSet(int(c.u32()), work, yield); err != nil {
			return err
		}
	}
	return c.err
}

// annotationSet reads an annotation_set_item; offset 0 is the empty one.
func (f *File) annotationSet(off int, work *budget, yield func(kind byte, index int)) error {
	if off == 0 {
		return nil
	}
	c := cursor{b: f.b, off: off}
	for n := c.u32(); n > 0 && c.err == nil; n-- {
		if err := work.spend(c.off, 1); err != nil {
			return err
		}
		v := values{f: f, c: cursor{b: f.b, off: int(c.u32())}, work: work, yield: yield}
		if c.err != nil {
			break
		}
		v.c.u8() // visibility
		v.annotation(0)
		if v.c.err != nil {
			return v.c.err
		}
	}
	return c.err
}

// A budget bounds the work that parts of a file cause which are referred to
// more than once.
type budget struct{ left int }

func (b *budget) spend(off, n int) error {
	if b.left -= n; b.left < 0 {
		return bad(off, "parts that are used so often that reading them does not end: given up")
	}
	return nil
}
