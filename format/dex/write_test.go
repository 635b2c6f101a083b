package dex

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"hash/adler32"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

// What the tests write into DEX files.
type (
	srcClass struct {
		name, super string // descriptors
		access      AccessFlags
		interfaces  []string
		source      string
		annotations []string // types of annotations on the class, without values
		noted       []Ref    // members that bear the same annotations
		values      []srcValue
		fields      []Field
		methods     []srcMethod
		handles     []srcHandle  // of the file
		sites       [][]srcValue // call sites of the file
	}
	srcValue struct {
		kind byte // of an encoded_value
		ref  any  // srcType, srcString, a Ref, []srcValue, or a number
	}
	srcHandle struct {
		kind uint16
		ref  Ref
	}
	srcMethod struct {
		name, typ string
		access    AccessFlags
		code      []srcOp
		catches   []string // types that a handler over the first unit catches
	}
	srcOp struct {
		op  byte
		ref any // srcType, srcString, or a Ref of a method or field; nil: units
		raw []uint16
	}
	srcType   string
	srcString string
)

func (m srcMethod) direct() bool {
	return m.access&(AccStatic|AccPrivate|AccConstructor) != 0
}

// writer writes one file, at base in its container.
type writer struct {
	version, base int
	strings       []string
	types         []string
	protos        []string
	fields        []Ref
	methods       []Ref

	data  []byte // data section
	begin int    // offset of data in the container
	items map[uint16][]int
}

// writeDEX returns a file, or for version 41 a container of one file a list of
// classes.
func writeDEX(version int, lists ...[]srcClass) []byte {
	var out []byte
	var at []int
	for _, classes := range lists {
		w := &writer{version: version, base: len(out), items: make(map[uint16][]int)}
		at = append(at, len(out))
		out = append(out, w.write(classes)...)
	}
	if version >= 41 {
		for i := len(at) - 1; i >= 0; i-- {
			binary.LittleEndian.PutUint32(out[at[i]+0x70:], uint32(len(out)))
			end := len(out)
			if i+1 < len(at) {
				end = at[i+1]
			}
			seal(out[at[i]:end])
		}
	}
	return out
}

// seal sets the SHA-1 and the checksum of a file.
func seal(b []byte) {
	sum := sha1.Sum(b[0x20:])
	copy(b[0x0c:], sum[:])
	binary.LittleEndian.PutUint32(b[8:], adler32.Checksum(b[12:]))
}

func split(proto string) (params []string, ret string) {
	list, ret, _ := strings.Cut(proto[1:], ")")
	for list != "" {
		n := len(list) - len(strings.TrimLeft(list, "["))
		if list[n] == 'L' {
			n = strings.IndexByte(list, ';')
		}
		params, list = append(params, list[:n+1]), list[n+1:]
	}
	return params, ret
}

func shorty(proto string) string {
	params, ret := split(proto)
	s := ""
	for _, t := range append([]string{ret}, params...) {
		s += strings.NewReplacer("[", "L").Replace(t[:1])
	}
	return s
}

// collect fills the sorted tables with all that the classes refer to.
func (w *writer) collect(classes []srcClass) {
	strs, types, protos, fields, methods := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[Ref]bool{}, map[Ref]bool{}
	ref := func(r Ref) {
		types[r.Class], strs[r.Name] = true, true
		if r.IsMethod() {
			methods[r], protos[r.Type] = true, true
		} else {
			fields[r], types[r.Type] = true, true
		}
	}
	for _, c := range classes {
		types[c.name] = true
		for _, t := range append(append([]string{c.super}, c.interfaces...), c.annotations...) {
			types[t] = t != ""
		}
		strs[c.source] = true
		for _, r := range c.noted {
			ref(r)
		}
		for _, h := range c.handles {
			ref(h.ref)
		}
		var value func(v srcValue)
		value = func(v srcValue) {
			switch r := v.ref.(type) {
			case Ref:
				ref(r)
			case srcType:
				types[string(r)] = true
			case srcString:
				strs[string(r)] = true
			case []srcValue:
				for _, v := range r {
					value(v)
				}
			}
		}
		value(srcValue{ref: c.values})
		for _, site := range c.sites {
			value(srcValue{ref: site})
		}
		for _, f := range c.fields {
			ref(Ref{c.name, f.Name, f.Type})
		}
		for _, m := range c.methods {
			ref(Ref{c.name, m.name, m.typ})
			for _, t := range m.catches {
				types[t] = true
			}
			for _, o := range m.code {
				switch r := o.ref.(type) {
				case Ref:
					ref(r)
				case srcType:
					types[string(r)] = true
				case srcString:
					strs[string(r)] = true
				}
			}
		}
	}
	for p := range protos {
		params, ret := split(p)
		strs[shorty(p)] = true
		for _, t := range append(params, ret) {
			types[t] = true
		}
	}
	delete(types, "")
	for t := range types {
		strs[t] = true
	}
	w.strings = slices.SortedFunc(maps.Keys(strs), func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	w.types = slices.SortedFunc(maps.Keys(types), func(a, b string) int { return cmp.Compare(w.str(a), w.str(b)) })
	w.protos = slices.SortedFunc(maps.Keys(protos), func(a, b string) int {
		pa, ra := split(a)
		pb, rb := split(b)
		return cmp.Or(cmp.Compare(w.typ(ra), w.typ(rb)), slices.CompareFunc(pa, pb, func(a, b string) int { return cmp.Compare(w.typ(a), w.typ(b)) }))
	})
	order := func(typ func(string) int) func(a, b Ref) int {
		return func(a, b Ref) int {
			return cmp.Or(cmp.Compare(w.typ(a.Class), w.typ(b.Class)), cmp.Compare(w.str(a.Name), w.str(b.Name)), cmp.Compare(typ(a.Type), typ(b.Type)))
		}
	}
	w.fields = slices.SortedFunc(maps.Keys(fields), order(w.typ))
	w.methods = slices.SortedFunc(maps.Keys(methods), order(w.proto))
}

func (w *writer) str(s string) int   { return slices.Index(w.strings, s) }
func (w *writer) typ(s string) int   { return slices.Index(w.types, s) }
func (w *writer) proto(s string) int { return slices.Index(w.protos, s) }

var le = binary.LittleEndian

// item begins an item of that kind in the data section, and returns its offset.
func (w *writer) item(kind uint16, align int) int {
	for (w.begin+len(w.data))%align != 0 {
		w.data = append(w.data, 0)
	}
	off := w.begin + len(w.data)
	w.items[kind] = append(w.items[kind], off)
	return off
}

func (w *writer) u32(v ...int) {
	for _, v := range v {
		w.data = le.AppendUint32(w.data, uint32(v))
	}
}

func (w *writer) uleb(v ...int) {
	for _, v := range v {
		w.data = binary.AppendUvarint(w.data, uint64(v))
	}
}

func (w *writer) typeList(types []string) int {
	if len(types) == 0 {
		return 0
	}
	off := w.item(0x1001, 4)
	w.u32(len(types))
	for _, t := range types {
		w.data = le.AppendUint16(w.data, uint16(w.typ(t)))
	}
	return off
}

func (w *writer) code(m srcMethod) int {
	if m.code == nil {
		return 0
	}
	var units []uint16
	for _, o := range m.code {
		if o.ref == nil {
			units = append(units, o.raw...)
			continue
		}
		in := make([]uint16, widths[o.op]-'0')
		in[0] = uint16(o.op)
		switch r := o.ref.(type) {
		case srcType:
			in[1] = uint16(w.typ(string(r)))
		case srcString:
			in[1] = uint16(w.str(string(r)))
		case Ref:
			if in[1] = uint16(slices.Index(w.fields, r)); r.IsMethod() {
				in[1] = uint16(slices.Index(w.methods, r))
			}
		}
		units = append(units, in...)
	}
	off := w.item(0x2001, 4)
	params, _ := split(m.typ)
	ins := len(params)
	if m.access&AccStatic == 0 {
		ins++
	}
	tries := min(len(m.catches), 1)
	for _, v := range []int{max(ins, 4), ins, 4, tries} {
		w.data = le.AppendUint16(w.data, uint16(v))
	}
	w.u32(0, len(units))
	for _, u := range units {
		w.data = le.AppendUint16(w.data, u)
	}
	if tries > 0 {
		if len(units)%2 == 1 {
			w.data = append(w.data, 0, 0)
		}
		w.u32(0)
		w.data = append(w.data, 1, 0, 1, 0) // one unit, handlers at 1
		w.uleb(1, len(m.catches))           // of one list; positive: no catch-all
		for _, t := range m.catches {
			w.uleb(w.typ(t), 0)
		}
	}
	return off
}

func (w *writer) classData(c srcClass, codes map[string]int) int {
	if len(c.fields)+len(c.methods) == 0 {
		return 0
	}
	var groups [4][]member
	for _, f := range c.fields {
		i := 1
		if f.Access&AccStatic != 0 {
			i = 0
		}
		groups[i] = append(groups[i], member{slices.Index(w.fields, Ref{c.name, f.Name, f.Type}), f.Access, 0})
	}
	for _, m := range c.methods {
		i := 3
		if m.direct() {
			i = 2
		}
		groups[i] = append(groups[i], member{slices.Index(w.methods, Ref{c.name, m.name, m.typ}), m.access, codes[m.name+m.typ]})
	}
	off := w.item(0x2000, 1)
	for _, g := range groups {
		w.uleb(len(g))
	}
	for i, g := range groups {
		slices.SortFunc(g, func(a, b member) int { return a.index - b.index })
		last := 0
		for _, m := range g {
			w.uleb(m.index-last, int(m.access))
			if i >= 2 {
				w.uleb(m.code)
			}
			last = m.index
		}
	}
	return off
}

func mutf8(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		switch {
		case u != 0 && u < 0x80:
			out = append(out, byte(u))
		case u < 0x800:
			out = append(out, 0xc0|byte(u>>6), 0x80|byte(u&0x3f))
		default:
			out = append(out, 0xe0|byte(u>>12), 0x80|byte(u>>6&0x3f), 0x80|byte(u&0x3f))
		}
	}
	return out
}

func (w *writer) write(classes []srcClass) []byte {
	w.collect(classes)
	hdr := headerSize
	if w.version >= 41 {
		hdr = headerSize41
	}
	counts := []int{len(w.strings), len(w.types), len(w.protos), len(w.fields), len(w.methods), len(classes)}
	sizes := []int{4, 4, 12, 8, 8, 32}
	offs, at := make([]int, 6), w.base+hdr
	for i, n := range counts {
		if n > 0 {
			offs[i] = at
		}
		at += n * sizes[i]
	}
	w.begin = at
	ids := w.writeData(classes)
	mapOff := w.item(mapList, 4)
	w.writeMap(offs, counts, mapOff)
	for (w.begin+len(w.data))%4 != 0 {
		w.data = append(w.data, 0)
	}
	var h []byte
	h = append(h, "dex\n0"+string(rune('0'+w.version/10))+string(rune('0'+w.version%10))+"\x00"...)
	h = append(h, make([]byte, 24)...)
	total := w.begin + len(w.data) - w.base
	words := []int{total, hdr, endianTag, 0, 0, mapOff}
	for i := range counts {
		words = append(words, counts[i], offs[i])
	}
	if w.version < 41 {
		words = append(words, len(w.data), w.begin)
	} else {
		words = append(words, 0, 0, 0, w.base)
	}
	for _, v := range words {
		h = le.AppendUint32(h, uint32(v))
	}
	out := bytes.Join([][]byte{h, ids, w.data}, nil)
	seal(out)
	return out
}

// writeData fills the data section and returns the tables.
func (w *writer) writeData(classes []srcClass) []byte {
	var ids []byte
	word := func(v ...int) {
		for _, v := range v {
			ids = le.AppendUint32(ids, uint32(v))
		}
	}
	codes := make([]map[string]int, len(classes))
	for i, c := range classes {
		codes[i] = make(map[string]int)
		for _, m := range c.methods {
			codes[i][m.name+m.typ] = w.code(m)
		}
	}
	var params, faces, data, notes, values []int
	for _, p := range w.protos {
		list, _ := split(p)
		params = append(params, w.typeList(list))
	}
	for _, c := range classes {
		faces = append(faces, w.typeList(c.interfaces))
	}
	for _, s := range w.strings {
		word(w.item(0x2002, 1))
		w.uleb(len(utf16.Encode([]rune(s))))
		w.data = append(append(w.data, mutf8(s)...), 0)
	}
	for _, c := range classes {
		notes = append(notes, w.annotate(c))
	}
	for i, c := range classes {
		data = append(data, w.classData(c, codes[i]))
	}
	for _, c := range classes {
		off := 0
		if len(c.values) > 0 {
			off = w.item(0x2005, 1)
			w.array(c.values)
		}
		values = append(values, off)
	}
	for _, c := range classes {
		w.tables(c)
	}
	for _, t := range w.types {
		word(w.str(t))
	}
	for i, p := range w.protos {
		_, ret := split(p)
		word(w.str(shorty(p)), w.typ(ret), params[i])
	}
	for _, f := range w.fields {
		word(w.typ(f.Class)|w.typ(f.Type)<<16, w.str(f.Name))
	}
	for _, m := range w.methods {
		word(w.typ(m.Class)|w.proto(m.Type)<<16, w.str(m.Name))
	}
	for i, c := range classes {
		super := w.typ(c.super)
		if c.super == "" {
			super = noIndex
		}
		word(w.typ(c.name), int(c.access), super, faces[i], w.str(c.source), notes[i], data[i], values[i])
	}
	return ids
}

func (w *writer) writeMap(offs, counts []int, mapOff int) {
	type entry struct{ kind, n, off int }
	list := []entry{{0, 1, w.base}}
	for i, n := range counts {
		if n > 0 {
			list = append(list, entry{i + 1, n, offs[i]})
		}
	}
	for kind, at := range w.items {
		if kind != mapList {
			list = append(list, entry{int(kind), len(at), at[0]})
		}
	}
	list = append(list, entry{mapList, 1, mapOff})
	slices.SortFunc(list, func(a, b entry) int { return a.off - b.off })
	w.u32(len(list))
	for _, e := range list {
		w.u32(e.kind, e.n, e.off)
	}
}
