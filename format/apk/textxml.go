package apk

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// toolsNS is the namespace of hints to build tools, which packages leave out.
const toolsNS = "http://schemas.android.com/tools"

// A TextError says where a text manifest is wrong.
type TextError struct {
	Line, Col int // from 1
	Msg       string
}

func (e *TextError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Msg) }

// ParseText reads a text XML document, such as AndroidManifest.xml, and gives
// each attribute of Android's the resource id and type that its binary form
// needs. Attributes that this package does not know, references to resources
// and text between elements are errors, which are [*TextError].
func ParseText(text []byte) (*Element, error) {
	p := &textParser{d: xml.NewDecoder(bytes.NewReader(text))}
	for {
		p.line, p.col = p.d.InputPos()
		tok, err := p.d.Token()
		if err == io.EOF {
			break
		}
		if se, ok := err.(*xml.SyntaxError); ok {
			return nil, &TextError{se.Line, 1, se.Msg}
		}
		if err != nil {
			return nil, err
		}
		if err := p.token(tok); err != nil {
			return nil, err
		}
	}
	if p.root == nil {
		return nil, p.bad("no element")
	}
	return p.root, nil
}

type textParser struct {
	d         *xml.Decoder
	line, col int // where the token begins
	root      *Element
	open      []*Element
	elements  int
}

func (p *textParser) bad(format string, args ...any) error {
	return &TextError{p.line, p.col, fmt.Sprintf(format, args...)}
}

func (p *textParser) token(tok xml.Token) error {
	switch t := tok.(type) {
	case xml.StartElement:
		return p.start(t)
	case xml.EndElement:
		p.open = p.open[:len(p.open)-1]
	case xml.CharData:
		if s := strings.TrimSpace(string(t)); s != "" {
			return p.bad("text %.20q between elements", s)
		}
	case xml.Directive:
		return p.bad("a document type, which manifests do not have")
	}
	return nil
}

func (p *textParser) start(t xml.StartElement) error {
	e := &Element{Name: t.Name.Local, Namespace: t.Name.Space, Line: p.line}
	if e.Namespace != "" {
		return p.bad("element %s in a namespace", e.Name)
	}
	if p.elements++; p.elements > maxElements || len(t.Attr) > maxAttrs || len(p.open) >= maxDepth {
		return p.bad("element %s: too many elements, levels or attributes", e.Name)
	}
	for _, a := range t.Attr {
		switch {
		case a.Name.Space == "xmlns" && a.Value == toolsNS, a.Name.Space == toolsNS:
		case a.Name.Space == "xmlns":
			e.Namespaces = append(e.Namespaces, Namespace{a.Name.Local, a.Value})
		default:
			attr, err := p.attr(a)
			if err != nil {
				return err
			}
			e.Attrs = append(e.Attrs, attr)
		}
	}
	for i, a := range e.Attrs {
		for _, b := range e.Attrs[:i] {
			if a.Name == b.Name && a.Namespace == b.Namespace {
				return p.bad("element %s: attribute %s twice", e.Name, a.Name)
			}
		}
	}
	if len(p.open) > 0 {
		parent := p.open[len(p.open)-1]
		parent.Children = append(parent.Children, e)
	} else if p.root == nil {
		p.root = e
	} else {
		return p.bad("a second root element %s", e.Name)
	}
	p.open = append(p.open, e)
	return nil
}

func (p *textParser) attr(a xml.Attr) (Attr, error) {
	out := Attr{Name: a.Name.Local, Namespace: a.Name.Space, Value: Value{Type: TypeString, Str: a.Value}}
	switch out.Namespace {
	case "":
		return out, nil
	case AndroidNS:
	default:
		return out, p.bad("attribute %s: unknown namespace or undeclared prefix %q", out.Name, out.Namespace)
	}
	def, ok := androidAttrs()[out.Name]
	if !ok {
		return out, p.bad("attribute android:%s is not known here; leave it out", out.Name)
	}
	out.ResID = def.id
	v, ok := def.value(a.Value)
	switch {
	case !ok && (strings.HasPrefix(a.Value, "@") || strings.HasPrefix(a.Value, "?")):
		return out, p.bad("android:%s=%q refers to a resource by name, and there are none; write the value itself", out.Name, a.Value)
	case !ok:
		return out, p.bad("android:%s=%q: want %s", out.Name, a.Value, def.want())
	}
	out.Value = v
	return out, nil
}
