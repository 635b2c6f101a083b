package apk

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

// The layout of what follows a chunk's header, little-endian
// (androidfw/ResourceTypes.h), and limits.
const (
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
