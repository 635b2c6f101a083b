package apk

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// AppendXML appends the binary form of the document whose root is e. The
// attributes of each element are put into the order that Android searches them
// in: by resource id, then those without one.
func AppendXML(b []byte, e *Element) []byte {
	w := &xmlWriter{index: make(map[string]uint32)}
	w.collectIDs(e)
	slices.SortFunc(w.attrs, func(a, b *Attr) int {
		return cmp.Or(cmp.Compare(a.ResID, b.ResID), cmp.Compare(a.Name, b.Name))
	})
	var ids []byte
	w.byID = make(map[attrName]uint32)
	for _, a := range w.attrs {
		w.byID[attrName{a.ResID, a.Name}] = uint32(len(w.strings))
		w.strings = append(w.strings, a.Name)
		ids = binary.LittleEndian.AppendUint32(ids, a.ResID)
	}
	body := w.element(nil, e)
	pool := encodeStringPool(w.strings)
	size := 2*chunkHeader + len(pool) + len(ids) + len(body)
	b = appendChunk(b, chunkXML, chunkHeader, size)
	b = append(b, pool...)
	b = appendChunk(b, chunkResourceMap, chunkHeader, chunkHeader+len(ids))
	b = append(b, ids...)
	return append(b, body...)
}

// attrName is an attribute's name with its id: the same name without an id is
// another string in the pool.
type attrName struct {
	id   uint32
	name string
}

type xmlWriter struct {
	strings []string
	index   map[string]uint32 // of strings that no resource id belongs to
	attrs   []*Attr           // one for each name with an id
	byID    map[attrName]uint32
}

func (w *xmlWriter) collectIDs(e *Element) {
	for i := range e.Attrs {
		a := &e.Attrs[i]
		known := func(b *Attr) bool { return b.ResID == a.ResID && b.Name == a.Name }
		if a.ResID != 0 && !slices.ContainsFunc(w.attrs, known) {
			w.attrs = append(w.attrs, a)
		}
	}
	for _, c := range e.Children {
		w.collectIDs(c)
	}
}

// str returns the index of s in the pool.
func (w *xmlWriter) str(s string) uint32 {
	i, ok := w.index[s]
	if !ok {
		i = uint32(len(w.strings))
		w.index[s] = i
		w.strings = append(w.strings, s)
	}
	return i
}

// opt is str, but no string at all for "".
func (w *xmlWriter) opt(s string) uint32 {
	if s == "" {
		return noString
	}
	return w.str(s)
}

func (w *xmlWriter) element(b []byte, e *Element) []byte {
	for _, ns := range e.Namespaces {
		b = w.node(b, chunkStartNS, e.Line, w.opt(ns.Prefix), w.str(ns.URI))
	}
	attrs := slices.Clone(e.Attrs)
	slices.SortStableFunc(attrs, func(a, b Attr) int { // ids first; 0 wraps to the end
		return cmp.Or(cmp.Compare(a.ResID-1, b.ResID-1), cmp.Compare(a.Name, b.Name))
	})
	le := binary.LittleEndian
	b = appendChunk(b, chunkStartElem, nodeHeader, nodeHeader+elemHeader+attrSize*len(attrs))
	b = le.AppendUint32(b, uint32(e.Line))
	b = le.AppendUint32(b, noString) // comment
	b = le.AppendUint32(b, w.opt(e.Namespace))
	b = le.AppendUint32(b, w.str(e.Name))
	b = le.AppendUint16(b, elemHeader)
	b = le.AppendUint16(b, attrSize)
	b = le.AppendUint16(b, uint16(len(attrs)))
	b = append(b, make([]byte, 6)...) // index of the id, class and style attributes: none
	for i := range attrs {
		b = w.attr(b, &attrs[i])
	}
	for _, c := range e.Children {
		b = w.element(b, c)
	}
	b = w.node(b, chunkEndElem, e.Line, w.opt(e.Namespace), w.str(e.Name))
	for _, ns := range slices.Backward(e.Namespaces) {
		b = w.node(b, chunkEndNS, e.Line, w.opt(ns.Prefix), w.str(ns.URI))
	}
	return b
}

func (w *xmlWriter) node(b []byte, kind, line int, first, second uint32) []byte {
	le := binary.LittleEndian
	b = appendChunk(b, kind, nodeHeader, nodeHeader+8)
	b = le.AppendUint32(b, uint32(line))
	b = le.AppendUint32(b, noString) // comment
	b = le.AppendUint32(b, first)
	return le.AppendUint32(b, second)
}

func (w *xmlWriter) attr(b []byte, a *Attr) []byte {
	le := binary.LittleEndian
	name, ok := w.byID[attrName{a.ResID, a.Name}]
	if !ok {
		name = w.str(a.Name)
	}
	raw, data := uint32(noString), a.Value.Data
	if a.Value.Type == TypeString {
		raw = w.str(a.Value.Str)
		data = raw
	}
	b = le.AppendUint32(b, w.opt(a.Namespace))
	b = le.AppendUint32(b, name)
	b = le.AppendUint32(b, raw)
	b = le.AppendUint16(b, 8) // size of the value
	b = append(b, 0, byte(a.Value.Type))
	return le.AppendUint32(b, data)
}
