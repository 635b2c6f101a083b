package dex

import (
	"fmt"
	"strings"
)

// sample is an app of two classes, a stub that a compiler has put in, and what
// they refer to.
func sample() []srcClass {
	const (
		main  = "Lorg/example/Main;"
		other = "Lorg/example/Other;"
		gms   = "Lcom/google/android/gms/common/GoogleApiAvailability;"
		exc   = "Landroid/app/NewException;"
	)
	return []srcClass{
		{name: exc, super: "Ljava/lang/Exception;", access: AccPublic | AccSynthetic, methods: []srcMethod{
			{name: "<clinit>", typ: "()V", access: AccStatic | AccConstructor | AccSynthetic, code: []srcOp{{raw: []uint16{0x000e}}}},
		}},
		{name: other, super: "Landroid/app/Activity;", access: AccPublic | AccAbstract, interfaces: []string{"Ljava/lang/Runnable;"},
			source: "Other.java", annotations: []string{"Lkotlin/Metadata;"},
			fields: []Field{
				{Ref{Name: "api", Type: gms}, AccPrivate},
				{Ref{Name: "COUNT", Type: "I"}, AccStatic | AccFinal},
				{Ref{Name: "naïve_𝒳", Type: "[[J"}, 0},
			},
			methods: []srcMethod{{name: "work", typ: "(I[" + gms + "J)V", access: AccPublic | AccAbstract}}},
		{name: main, super: other, access: AccPublic | AccFinal, source: "Main.java", methods: []srcMethod{
			{name: "<init>", typ: "()V", access: AccPublic | AccConstructor, code: []srcOp{
				{0x70, Ref{other, "<init>", "()V"}, nil}, {raw: []uint16{0x000e}},
			}},
			{name: "run", typ: "()V", access: AccPublic, catches: []string{exc, "Ljava/io/IOException;"}, code: []srcOp{
				{0x1a, srcString("a \x00 NUL, ünd 𝒳"), nil},
				{0x6e, Ref{main, "finish", "()V"}, nil}, // inherited from Activity
				{0x71, Ref{gms, "getInstance", "()" + gms}, nil},
				{0x62, Ref{"Landroid/os/Build;", "MODEL", "Ljava/lang/String;"}, nil},
				{0x22, srcType("Ljava/lang/StringBuilder;"), nil},
				{0x1c, srcType("[" + gms), nil},
				{0x52, Ref{main, "COUNT", "I"}, nil}, // of Other
				{raw: []uint16{0x0300, 1, 3, 0, 0x6e6e, 0x6e}},
				{raw: []uint16{0x000e}},
			}},
			{name: "work", typ: "(I[" + gms + "J)V", access: AccPublic, code: []srcOp{{raw: []uint16{0x000e}}}},
		}},
	}
}

// dump is all that the package says of files, for people.
func dump(files []*File) string {
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "version %03d at %#x: %d strings, %d types, %d protos, %d fields, %d methods, %d classes; SHA-1 %v\n",
			f.Version, f.Off, f.Strings, f.Types, f.Protos, f.Fields, f.Methods, f.Classes, f.SHA1Holds())
		for i := range f.Strings {
			fmt.Fprintf(&b, "string %d %q\n", i, f.String(i))
		}
		for i := range f.Classes {
			c, err := f.Class(i)
			if err != nil {
				fmt.Fprintf(&b, "class %d: %v\n", i, err)
				continue
			}
			fmt.Fprintf(&b, "class %s %#x: %s %q %q\n", c.Name, uint32(c.Access), c.Super, c.Interfaces, c.SourceFile)
			for _, m := range c.Fields {
				fmt.Fprintf(&b, "\t%s %#x\n", m.Ref, uint32(m.Access))
			}
			for _, m := range c.Methods {
				fmt.Fprintf(&b, "\t%s %#x, %d units\n", m.Ref, uint32(m.Access), m.CodeUnits)
			}
		}
	}
	p, err := NewProgram(files)
	if err != nil {
		fmt.Fprintf(&b, "program: %v\n", err)
		return b.String()
	}
	for _, o := range p.Outside() {
		fmt.Fprintf(&b, "outside %s\n", o.Class)
		for _, m := range o.Members {
			fmt.Fprintf(&b, "\t%s\n", m)
		}
	}
	for u, err := range p.Uses(func(string) bool { return true }) {
		if err != nil {
			fmt.Fprintf(&b, "use in %s: %v\n", u.In, err)
			continue
		}
		fmt.Fprintf(&b, "use %s as %s in %s of file %d", u.Ref, u.How, u.In, u.File)
		if u.How == HowCode {
			fmt.Fprintf(&b, ", %s at %#x", u.Op, u.At)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
