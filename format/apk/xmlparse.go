package apk

import "encoding/binary"

// ParseXML reads a binary XML document and returns its root element. Text
// between elements, comments and unknown chunks are passed over, as Android
// does. Errors are [*FormatError] with offsets from the start of b.
func ParseXML(b []byte) (*Element, error) {
	p := &xmlParser{b: b}
	c, err := readChunk(b, 0, len(b))
	if err != nil {
		return nil, err
	}
	if c.kind != chunkXML || c.header != chunkHeader {
		return nil, bad(0, "no binary XML (chunk of type %#x)", c.kind)
	}
	for off := c.header; off < c.end; {
		sub, err := readChunk(b, off, c.end)
		if err != nil {
			return nil, err
		}
		if err := p.node(sub); err != nil {
			return nil, err
		}
		off = sub.end
	}
	size := c.end
	switch {
	case p.root == nil:
		return nil, bad(int64(size), "no element")
	case len(p.open) > 0:
		return nil, bad(int64(size), "element %s does not end", p.open[len(p.open)-1].Name)
	}
	return p.root, nil
}

type xmlParser struct {
	b        []byte
	pool     *stringPool
	ids      []byte // resource ids of the first strings
	root     *Element
	open     []*Element
	declared []Namespace // for the next element
	elements int
}

// node reads one chunk of the document.
func (p *xmlParser) node(c chunk) (err error) {
	kind, off, header, b := c.kind, c.off, c.header, p.b[c.off:c.end]
	switch kind {
	case chunkStringPool:
		if p.pool != nil {
			return bad(int64(off), "a second string pool")
		}
		if p.pool, err = parseStringPool(b, int64(off)); err == nil {
			p.pool.keep()
		}
		return err
	case chunkResourceMap:
		p.ids = b[header:]
		return nil
	case chunkStartNS, chunkEndNS, chunkStartElem, chunkEndElem, chunkText:
	default:
		return nil
	}
	if p.pool == nil {
		return bad(int64(off), "chunk %#x before the string pool", kind)
	}
	if header < nodeHeader {
		return bad(int64(off), "chunk %#x: header of %d bytes", kind, header)
	}
	body := b[header:]
	switch kind {
	case chunkStartNS:
		return p.startNS(body, off+header)
	case chunkStartElem:
		return p.startElem(body, off+header, int(binary.LittleEndian.Uint32(b[8:])))
	case chunkEndElem:
		return p.endElem(body, off+header)
	}
	return nil
}

func (p *xmlParser) startNS(b []byte, off int) error {
	if len(b) < 8 {
		return bad(int64(off), "namespace of %d bytes", len(b))
	}
	prefix, err := p.str(binary.LittleEndian.Uint32(b))
	if err != nil {
		return err
	}
	uri, err := p.str(binary.LittleEndian.Uint32(b[4:]))
	if err != nil {
		return err
	}
	if len(p.declared) >= maxAttrs {
		return bad(int64(off), "more than %d namespaces", maxAttrs)
	}
	p.declared = append(p.declared, Namespace{prefix, uri})
	return nil
}

func (p *xmlParser) startElem(b []byte, off, line int) error {
	if len(b) < elemHeader {
		return bad(int64(off), "element of %d bytes", len(b))
	}
	le := binary.LittleEndian
	ns, err := p.str(le.Uint32(b))
	if err != nil {
		return err
	}
	name, err := p.str(le.Uint32(b[4:]))
	if err != nil {
		return err
	}
	e := &Element{Name: name, Namespace: ns, Line: line, Namespaces: p.declared}
	p.declared = nil
	start, size, count := int(le.Uint16(b[8:])), int(le.Uint16(b[10:])), int(le.Uint16(b[12:]))
	if p.elements++; p.elements > maxElements || count > maxAttrs || len(p.open) >= maxDepth {
		return bad(int64(off), "element %s: too many elements, levels or attributes", name)
	}
	if count > 0 && (size < attrSize || start < elemHeader || start+size*count > len(b)) {
		return bad(int64(off+8), "element %s: %d attributes of %d bytes at %d, but %d bytes left", name, count, size, start, len(b))
	}
	if count > 0 {
		e.Attrs = make([]Attr, count)
	}
	for i := range e.Attrs {
		if e.Attrs[i], err = p.attr(b[start+i*size:]); err != nil {
			return err
		}
	}
	switch {
	case len(p.open) > 0:
		parent := p.open[len(p.open)-1]
		parent.Children = append(parent.Children, e)
	case p.root != nil:
		return bad(int64(off), "a second root element %s", name)
	default:
		p.root = e
	}
	p.open = append(p.open, e)
	return nil
}

func (p *xmlParser) attr(b []byte) (a Attr, err error) {
	le := binary.LittleEndian
	if a.Namespace, err = p.str(le.Uint32(b)); err != nil {
		return a, err
	}
	name := le.Uint32(b[4:])
	if a.Name, err = p.str(name); err != nil {
		return a, err
	}
	if int64(name) < int64(len(p.ids)/4) {
		a.ResID = le.Uint32(p.ids[4*name:])
	}
	a.Value = Value{Type: ValueType(b[15]), Data: le.Uint32(b[16:])}
	if a.Value.Type == TypeString {
		a.Value.Str, err = p.pool.get(a.Value.Data)
		a.Value.Data = 0
	}
	return a, err
}

func (p *xmlParser) endElem(b []byte, off int) error {
	if len(b) < 8 {
		return bad(int64(off), "end of an element of %d bytes", len(b))
	}
	name, err := p.str(binary.LittleEndian.Uint32(b[4:]))
	if err != nil {
		return err
	}
	if len(p.open) == 0 || p.open[len(p.open)-1].Name != name {
		return bad(int64(off), "element %s ends, but is not open", name)
	}
	p.open = p.open[:len(p.open)-1]
	return nil
}

// str returns the string with that index, "" for none.
func (p *xmlParser) str(i uint32) (string, error) {
	if i == noString {
		return "", nil
	}
	return p.pool.get(i)
}
