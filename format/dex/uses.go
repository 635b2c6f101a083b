package dex

import (
	"errors"
	"iter"
	"strings"
)

// A How says in which way something is referred to.
type How string

// The ways.
const (
	HowSuper      How = "superclass"
	HowInterface  How = "interface"
	HowField      How = "field"      // type of a field that the class defines
	HowSignature  How = "signature"  // of a method that the class defines
	HowValue      How = "value"      // first value of a static field
	HowAnnotation How = "annotation" // on the class, or on the member
	HowCatch      How = "catch"
	HowCode       How = "code" // an instruction
)

// A Use is one place at which a program refers to something.
type Use struct {
	Ref         // what is referred to
	How  How    // in which way
	File int    // index in Program.Files
	In   Ref    // in which class, or in which method or field of it
	Op   string // of HowCode: the instruction, such as "invoke-virtual"
	At   int    // of HowCode: where in the method, in units of 16 bits
	Text string // of a string that UsesOf was asked for
}

// Uses walks over all places at which the app's own code and classes refer to
// a class for which match holds, or to a method or field of one. A reference to
// an array is one to what it holds, one to a method handle, a call site or a
// method type is one to all that they name.
//
// An error is of one class, which cannot be read to its end; the walk goes on
// behind it. Memory does not grow with the number of uses, and the time is
// bounded by the size of the files.
func (p *Program) Uses(match func(class string) bool) iter.Seq2[Use, error] {
	return p.UsesOf(match, func(string) bool { return false })
}

// UsesOf is [Program.Uses] that also yields the places at which code and
// annotations hold a string for which text holds: uses with Text and without a
// Ref.
func (p *Program) UsesOf(match, text func(string) bool) iter.Seq2[Use, error] {
	return func(yield func(Use, error) bool) {
		for i, f := range p.Files {
			s := newScan(p, i, match, yield)
			for j := range f.Strings {
				if text(f.String(j)) {
					s.strings.set(j)
				}
			}
			for j := range f.Classes {
				if at, ok := p.own[f.Type(f.classDef(j).class)]; !ok || at != (place{i, j}) {
					continue
				}
				err := s.class(j)
				if errors.Is(err, errStop) || err != nil && !yield(Use{File: i, In: s.in}, err) {
					return
				}
				if s.work.left < 0 {
					break
				}
			}
		}
	}
}

// errStop ends a walk that the caller does not want to go on.
var errStop = errors.New("stop")

// workFactor is how often each byte of a file may be looked at.
const workFactor = 16

// scan is the walk over one file.
type scan struct {
	f                      *File
	file                   int
	types, fields, methods bitset // that match
	protos                 bitset // with a type that matches
	strings                bitset // that match
	yield                  func(Use, error) bool
	work                   *budget
	in                     Ref
	inMember               func() Ref // what a use is in
	stopped                bool
	err                    error // in what an instruction refers to
}

func newScan(p *Program, file int, match func(string) bool, yield func(Use, error) bool) *scan {
	f := p.Files[file]
	s := &scan{
		f: f, file: file, yield: yield, work: &budget{left: workFactor * len(f.b)},
		types: newBitset(f.Types), fields: newBitset(f.Fields), methods: newBitset(f.Methods), protos: newBitset(f.Protos),
		strings: newBitset(f.Strings),
	}
	for t := range f.Types {
		if name := element(f.Type(t)); name != "" && match(name) {
			s.types.set(t)
		}
	}
	for i := range f.Fields {
		if s.types.has(f.fieldClass(i)) {
			s.fields.set(i)
		}
	}
	for i := range f.Methods {
		if s.types.has(f.methodClass(i)) {
			s.methods.set(i)
		}
	}
	for i := range f.Protos {
		hit := s.types.has(f.returns(i))
		for _, t := range f.parameters(i) {
			hit = hit || s.types.has(int(t))
		}
		if hit {
			s.protos.set(i)
		}
	}
	return s
}

// class walks over one class.
func (s *scan) class(i int) error {
	f, d := s.f, s.f.classDef(i)
	s.in = Ref{Class: f.Type(d.class)}
	s.inMember = func() Ref { return s.in }
	if d.super >= 0 {
		s.use(HowSuper, refType, d.super)
	}
	list, err := f.typeList(d.interfaces, 1<<16-1)
	if err == nil {
		err = s.work.spend(d.interfaces, len(list))
	}
	if err != nil {
		return err
	}
	for _, t := range list {
		s.use(HowInterface, refType, int(t))
	}
	if err := s.attached(d); err != nil {
		return err
	}
	data, err := f.classData(d)
	if err != nil {
		return err
	}
	for _, m := range data.fields {
		s.inMember = func() Ref { return f.Field(m.index) }
		s.use(HowField, refType, int(f.u16(f.fields.at(m.index)+2)))
	}
	for _, m := range data.methods {
		s.inMember = func() Ref { return f.Method(m.index) }
		s.use(HowSignature, refProto, f.methodProto(m.index))
		if err := s.code(m.code); err != nil {
			return err
		}
	}
	if s.stopped {
		return errStop
	}
	return nil
}

// attached walks over a class's annotations and static values.
func (s *scan) attached(d classDef) error {
	f := s.f
	err := f.annotations(d.annotations, s.work, func(on annotated, kind byte, index int) {
		s.inMember = func() Ref {
			switch on.kind {
			case refField:
				return f.Field(on.index)
			case refMethod:
				return f.Method(on.index)
			}
			return s.in
		}
		s.use(HowAnnotation, kind, index)
	})
	if err != nil || d.values == 0 {
		return err
	}
	s.inMember = func() Ref { return s.in }
	v := values{f: f, c: cursor{b: f.b, off: d.values}, work: s.work, yield: func(kind byte, index int) { s.use(HowValue, kind, index) }}
	v.array(0)
	return v.c.err
}

// code walks over a method's code.
func (s *scan) code(off int) error {
	item, err := s.f.code(off)
	if err == nil {
		err = s.work.spend(off, len(item.units)+8*item.tries)
	}
	if err != nil {
		return err
	}
	err = s.f.instructions(item, func(in instruction) error {
		s.at(HowCode, in.kind, in.index, opNames[in.op], in.at)
		if in.kind == refPoly {
			s.at(HowCode, refProto, in.proto, opNames[in.op], in.at)
		}
		switch {
		case s.stopped:
			return errStop
		case s.err != nil:
			err := s.err
			s.err = nil
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.f.catches(item, func(typ int) { s.use(HowCatch, refType, typ) })
}

func (s *scan) use(how How, kind byte, index int) { s.at(how, kind, index, "", 0) }

// at yields what the index of that kind refers to, if it matches.
func (s *scan) at(how How, kind byte, index int, op string, at int) {
	f := s.f
	var refs []Ref
	switch {
	case s.stopped:
	case kind == refString && s.strings.has(index):
		s.stopped = !s.yield(Use{Text: f.String(index), How: how, File: s.file, In: s.inMember(), Op: op, At: at}, nil)
	case kind == refType && s.types.has(index):
		refs = []Ref{{Class: element(f.Type(index))}}
	case kind == refField && s.fields.has(index):
		refs = []Ref{f.Field(index)}
	case (kind == refMethod || kind == refPoly) && s.methods.has(index):
		refs = []Ref{f.Method(index)}
		refs[0].Class = element(refs[0].Class)
	case kind == refProto && s.protos.has(index):
		for _, t := range append(f.parameters(index), uint16(f.returns(index))) {
			if s.types.has(int(t)) {
				refs = append(refs, Ref{Class: element(f.Type(int(t)))})
			}
		}
	case kind == refHandle:
		s.handle(how, index, op, at)
	case kind == refCallSite:
		s.callSite(how, index, op, at)
	}
	for i, r := range refs {
		if i > 0 && r == refs[i-1] {
			continue
		}
		s.stopped = s.stopped || !s.yield(Use{Ref: r, How: how, File: s.file, In: s.inMember(), Op: op, At: at}, nil)
	}
}

// handle yields what a method_handle_item names.
func (s *scan) handle(how How, index int, op string, at int) {
	off := s.f.handles.at(index)
	kind := byte(refMethod)
	if s.f.u16(off) <= 3 { // getters and setters
		kind = refField
	}
	if i := int(s.f.u16(off + 4)); i < s.f.limit(kind) {
		s.at(how, kind, i, op, at)
	} else {
		s.err = bad(off+4, "method handle %d: member %d of %d", index, i, s.f.limit(kind))
	}
}

// callSite yields what a call site names.
func (s *scan) callSite(how How, index int, op string, at int) {
	v := values{f: s.f, c: cursor{b: s.f.b, off: int(s.f.u32(s.f.sites.at(index)))}, work: s.work}
	v.yield = func(kind byte, i int) { s.at(how, kind, i, op, at) }
	v.array(0)
	s.err = v.c.err
}

// Package returns the package of a class's descriptor as Java writes it:
// "java.lang" of "Ljava/lang/String;".
func Package(class string) string {
	name := JavaName(class)
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i]
	}
	return ""
}

// JavaName returns a class's descriptor as Java writes it: "java.lang.String"
// of "Ljava/lang/String;".
func JavaName(class string) string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(class, "L"), ";"), "/", ".")
}
