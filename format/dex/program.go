package dex

import (
	"maps"
	"slices"
	"strings"
)

// A Program is all DEX files of an app taken together, as its class loader sees
// them.
type Program struct {
	Files []*File

	own     map[string]place       // classes of the app
	stubs   map[string]bool        // see NewProgram
	defines []bitset               // methods and fields defined, per file: methods first
	members map[place]map[Ref]bool // of classes that were asked for; Ref without its class
}

// place is where a class is defined.
type place struct{ file, class int }

// NewProgram takes the files, in the order in which a class loader looks into
// them: the first definition of a class counts. The error is that of a class
// that cannot be read. A Program is not safe for concurrent use.
//
// A class that a compiler has put in for platforms that lack it (in a package
// of the platform's, and synthetic: D8 does that) is not the app's own.
func NewProgram(files []*File) (*Program, error) {
	p := &Program{Files: files, own: make(map[string]place), stubs: make(map[string]bool), members: make(map[place]map[Ref]bool)}
	for i, f := range files {
		defines := newBitset(f.Methods + f.Fields)
		for j := range f.Classes {
			name, access := f.ClassName(j)
			if isStub(name, access) {
				p.stubs[name] = true
			} else if _, twice := p.own[name]; !twice {
				p.own[name] = place{i, j}
			}
			data, err := f.classData(f.classDef(j))
			if err != nil {
				return nil, err
			}
			for _, m := range data.methods {
				defines.set(m.index)
			}
			for _, m := range data.fields {
				defines.set(f.Methods + m.index)
			}
		}
		p.defines = append(p.defines, defines)
	}
	return p, nil
}

// platformPackages are those that only the platform may define classes in.
var platformPackages = []string{"Landroid/", "Ljava/", "Ldalvik/", "Llibcore/"}

func isStub(name string, access AccessFlags) bool {
	return access&AccSynthetic != 0 &&
		slices.ContainsFunc(platformPackages, func(pkg string) bool { return strings.HasPrefix(name, pkg) })
}

// Owns reports whether the app itself defines the class with that descriptor.
func (p *Program) Owns(class string) bool {
	_, ok := p.own[class]
	return ok
}

// Classes returns the descriptors of the classes that the app defines, sorted.
func (p *Program) Classes() []string { return slices.Sorted(maps.Keys(p.own)) }

// An Outside is a class that the app refers to and does not define, and what of
// it the app refers to.
type Outside struct {
	Class   string // descriptor
	Members []Ref  // methods and fields, sorted
}

// Outside returns the classes that the app refers to and does not define,
// sorted; arrays count as what they hold. Methods and fields that the app's own
// classes inherit stand with the class outside that they come from: the first
// one among the superclasses or, if that is java.lang.Object, the first
// interface.
func (p *Program) Outside() []Outside {
	members := make(map[string]map[Ref]bool)
	for i, f := range p.Files {
		for t := range f.Types {
			if name := element(f.Type(t)); name != "" && !p.Owns(name) && !p.stubs[name] && members[name] == nil {
				members[name] = make(map[Ref]bool)
			}
		}
		p.outsideMembers(i, members)
	}
	p.usedStubs(members)
	out := make([]Outside, 0, len(members))
	for name, refs := range members {
		out = append(out, Outside{name, slices.SortedFunc(maps.Keys(refs), Ref.Compare)})
	}
	slices.SortFunc(out, func(a, b Outside) int { return strings.Compare(a.Class, b.Class) })
	return out
}

// usedStubs adds the stubs that the app refers to, and not only defines.
func (p *Program) usedStubs(members map[string]map[Ref]bool) {
	if len(p.stubs) == 0 {
		return
	}
	for use, err := range p.Uses(func(class string) bool { return p.stubs[class] }) {
		if err == nil && members[use.Class] == nil {
			members[use.Class] = make(map[Ref]bool)
		}
	}
}

// outsideMembers adds the methods and fields outside that the ith file refers to.
func (p *Program) outsideMembers(i int, members map[string]map[Ref]bool) {
	f, defines := p.Files[i], p.defines[i]
	for j := range f.Methods + f.Fields {
		if defines.has(j) {
			continue
		}
		r := f.reference(j)
		switch {
		case r.Class[0] == '[': // clone() of an array
			continue
		case p.Owns(r.Class):
			if r.Class = p.inheritedFrom(r); r.Class == "" {
				continue
			}
		}
		if members[r.Class] == nil {
			members[r.Class] = make(map[Ref]bool)
		}
		members[r.Class][r] = true
	}
}

// reference is the ith of the methods and fields, methods first.
func (f *File) reference(i int) Ref {
	if i < f.Methods {
		return f.Method(i)
	}
	return f.Field(i - f.Methods)
}

// element returns the class that a type is of or an array of, or "".
func element(typ string) string {
	if typ = strings.TrimLeft(typ, "["); typ[0] == 'L' {
		return typ
	}
	return ""
}

const objectClass = "Ljava/lang/Object;"

// How far a class's ancestors are looked at.
const (
	maxDepth      = 128
	maxInterfaces = 256
)

// inheritedFrom returns the class outside that r, of a class of the app, comes
// from; "" if a class of the app defines it.
func (p *Program) inheritedFrom(r Ref) string {
	var outside string // superclass
	var faces []string // interfaces to look at, outside or not
	name := r.Class
	for range maxDepth {
		at, ok := p.own[name]
		if !ok {
			outside = name
			break
		}
		if p.definesIn(at, r) {
			return ""
		}
		d := p.Files[at.file].classDef(at.class)
		faces = append(faces, p.interfaces(at)...)
		if d.super < 0 {
			break
		}
		name = p.Files[at.file].Type(d.super)
	}
	if outside != objectClass && outside != "" {
		return outside
	}
	for i := 0; i < len(faces) && i < maxInterfaces; i++ {
		at, ok := p.own[faces[i]]
		if !ok {
			return faces[i]
		}
		if p.definesIn(at, r) {
			return ""
		}
		faces = append(faces, p.interfaces(at)...)
	}
	return outside
}

// interfaces returns the first ones that the class there says it implements.
func (p *Program) interfaces(at place) []string {
	f := p.Files[at.file]
	list, _ := f.typeList(f.classDef(at.class).interfaces, maxInterfaces)
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = f.Type(int(t))
	}
	return names
}

// definesIn reports whether the class there defines the name and type of r.
func (p *Program) definesIn(at place, r Ref) bool {
	set, ok := p.members[at]
	if !ok {
		set = make(map[Ref]bool)
		f := p.Files[at.file]
		data, _ := f.classData(f.classDef(at.class)) // NewProgram has read it
		for _, m := range data.methods {
			set[Ref{Name: f.Method(m.index).Name, Type: f.Method(m.index).Type}] = true
		}
		for _, m := range data.fields {
			set[Ref{Name: f.Field(m.index).Name, Type: f.Field(m.index).Type}] = true
		}
		p.members[at] = set
	}
	return set[Ref{Name: r.Name, Type: r.Type}]
}

type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
