package apk

// SetInt gives the element an attribute of Android's with a whole number, in
// the place of one that it has. The name must be one that [ParseText] knows.
func (e *Element) SetInt(name string, n uint32) { e.set(name, Value{Type: TypeIntDec, Data: n}) }

// SetString is [Element.SetInt] for a text.
func (e *Element) SetString(name, s string) { e.set(name, Value{Type: TypeString, Str: s}) }

// SetBool is [Element.SetInt] for true and false.
func (e *Element) SetBool(name string, b bool) {
	v := Value{Type: TypeBoolean}
	if b {
		v.Data = 0xffffffff
	}
	e.set(name, v)
}

// Get returns the attribute of Android's with that name as text, "" without
// one. The name must be one that [ParseText] knows.
func (e *Element) Get(name string) string {
	if a := e.Res(mustKnow(name)); a != nil {
		return a.Value.String()
	}
	return ""
}

func (e *Element) set(name string, v Value) {
	id := mustKnow(name)
	if a := e.Res(id); a != nil {
		a.Value = v
		return
	}
	e.Attrs = append(e.Attrs, Attr{Name: name, Namespace: AndroidNS, ResID: id, Value: v})
}

func mustKnow(name string) uint32 {
	def, ok := androidAttrs()[name]
	if !ok {
		panic("apk: no attribute android:" + name)
	}
	return def.id
}
