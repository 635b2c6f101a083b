package apk

import "fmt"

// AndroidNS is the namespace of the attributes that Android defines.
const AndroidNS = "http://schemas.android.com/apk/res/android"

// An Element is one element of an XML document, as the binary form keeps it.
type Element struct {
	Name       string
	Namespace  string // URI
	Attrs      []Attr
	Children   []*Element
	Namespaces []Namespace // declared on this element
	Line       int         // in the text that it was made of
}

// A Namespace is the declaration of a prefix.
type Namespace struct{ Prefix, URI string }

// An Attr is one attribute.
type Attr struct {
	Name      string
	Namespace string // URI
	ResID     uint32 // of the attribute, by which Android knows it; 0: none
	Value     Value
}

// A ValueType says how an attribute's value is to be read: AOSP's
// Res_value::dataType (androidfw/ResourceTypes.h).
type ValueType uint8

// The types of values.
const (
	TypeNull             ValueType = 0x00 // Data 1: @empty
	TypeReference        ValueType = 0x01
	TypeAttribute        ValueType = 0x02
	TypeString           ValueType = 0x03
	TypeFloat            ValueType = 0x04
	TypeDimension        ValueType = 0x05
	TypeFraction         ValueType = 0x06
	TypeDynamicReference ValueType = 0x07
	TypeDynamicAttribute ValueType = 0x08
	TypeIntDec           ValueType = 0x10
	TypeIntHex           ValueType = 0x11
	TypeBoolean          ValueType = 0x12
	TypeColorARGB8       ValueType = 0x1c // all colors' Data is 0xAARRGGBB
	TypeColorRGB8        ValueType = 0x1d
	TypeColorARGB4       ValueType = 0x1e
	TypeColorRGB4        ValueType = 0x1f
)

// A Value is an attribute's value.
type Value struct {
	Type ValueType
	Data uint32 // unless it is a string
	Str  string // if it is one
}

// String returns the value as a person writes it; references as "@0x7f010001".
func (v Value) String() string {
	switch v.Type {
	case TypeNull:
		return ""
	case TypeReference:
		return fmt.Sprintf("@0x%08x", v.Data)
	case TypeAttribute:
		return fmt.Sprintf("?0x%08x", v.Data)
	case TypeString:
		return v.Str
	case TypeIntDec:
		return fmt.Sprint(int32(v.Data))
	case TypeBoolean:
		return fmt.Sprint(v.Data != 0)
	}
	return fmt.Sprintf("0x%x", v.Data)
}

// Attr returns the attribute without a namespace of that name, or nil.
func (e *Element) Attr(name string) *Attr {
	for i := range e.Attrs {
		if a := &e.Attrs[i]; a.Namespace == "" && a.ResID == 0 && a.Name == name {
			return a
		}
	}
	return nil
}

// Res returns the attribute with that resource id, or nil. Android looks at the
// id alone, whatever the name says.
func (e *Element) Res(id uint32) *Attr {
	for i := range e.Attrs {
		if e.Attrs[i].ResID == id {
			return &e.Attrs[i]
		}
	}
	return nil
}

// The layout of AOSP's ResChunk_header and what follows it, little-endian
// (androidfw/ResourceTypes.h).
const (
	chunkStringPool  = 0x0001
	chunkXML         = 0x0003
	chunkStartNS     = 0x0100
	chunkEndNS       = 0x0101
	chunkStartElem   = 0x0102
	chunkEndElem     = 0x0103
	chunkText        = 0x0104
	chunkResourceMap = 0x0180

	chunkHeader = 8  // type, header's size, size
	nodeHeader  = 16 // chunk header, line, comment
	poolHeader  = 28
	elemHeader  = 20 // behind the node header
	attrSize    = 20
	noString    = 0xffffffff
	poolUTF8    = 1 << 8
	maxDepth    = 128
	maxAttrs    = 1 << 12
	maxElements = 1 << 16
)
