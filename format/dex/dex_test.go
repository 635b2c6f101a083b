package dex

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what the tests compare with")

func mustParse(t testing.TB, b []byte) []*File {
	t.Helper()
	files, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestGolden(t *testing.T) {
	second := []srcClass{{name: "Lorg/example/Main;", super: "Ljava/lang/Object;"}, {name: "Lorg/example/More;", super: "Lorg/example/Main;"}}
	for name, b := range map[string][]byte{
		"035.golden":       writeDEX(35, sample()),
		"container.golden": writeDEX(41, sample(), second),
	} {
		got := dump(mustParse(t, b))
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from:\n%s", name, got)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, v := range []int{35, 37, 38, 39, 40, 41} {
		if got := mustParse(t, writeDEX(v, sample()))[0].Version; got != v {
			t.Errorf("version %d, want %d", got, v)
		}
	}
	for _, v := range []int{34, 36, 42} {
		if _, err := Parse(writeDEX(v, sample())); err == nil || !strings.Contains(err.Error(), "version") {
			t.Errorf("Parse(version %d) = %v, want that it is refused", v, err)
		}
	}
}

// TestRefuses breaks one thing at a time in files with a sound checksum.
func TestRefuses(t *testing.T) {
	put := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte {
			le.PutUint32(b[at:], v)
			seal(b)
			return b
		}
	}
	// table returns where the header's table at word says that it is, plus n.
	table := func(word, n int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { return put(int(le.Uint32(b[word:]))+n, v)(b) }
	}
	for _, tt := range []struct {
		name    string
		version int
		change  func([]byte) []byte
		want    string
	}{
		{"empty", 35, func([]byte) []byte { return nil }, "header: 0 bytes left, want 112"},
		{"magic", 35, func(b []byte) []byte { b[0] = 'x'; return b }, `offset 0x0: magic number "xex`},
		{"checksum", 35, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, "offset 0x8: checksum is"},
		{"cut", 35, func(b []byte) []byte { return b[:len(b)-4] }, "offset 0x20: size of"},
		{"more", 35, func(b []byte) []byte { return append(b, 0) }, "1 bytes after the end of the file"},
		{"header size", 35, put(0x24, 0x78), "offset 0x24: header of 0x78 bytes, want 0x70"},
		{"endian", 35, put(0x28, 0x78563412), "offset 0x28: endian tag 0x78563412"},
		{"link", 35, put(0x2c, 1<<31), "link section of 2147483648 bytes"},
		{"no map", 35, put(0x34, 0), "offset 0x34: map of"},
		{"map outside", 35, put(0x34, 1<<30), "offset 0x34: map of"},
		{"map count", 35, table(0x34, 0, 1<<20), "map of 1048576 items"},
		{"map kind twice", 35, table(0x34, 4+12, 0), "map: a second item of type 0x0"},
		{"map order", 35, table(0x34, 4+12+8, 0), "map: type 0x1 at 0x0, after one at 0x0"},
		{"map against header", 35, put(0x38, 3), "but the header says 3"},
		{"strings outside", 35, put(0x3c, 1<<30), "string_ids:"},
		{"too many types", 35, put(0x40, 1<<16), "type_ids: 65536, at most 65535"},
		{"types at 2", 35, put(0x44, 0x72), "type_ids: at 0x72, want a multiple of 4"},
		{"string data outside", 35, table(0x3c, 0, 1<<30), "pass the end of the file"},
		{"string order", 35, func(b []byte) []byte {
			ids := b[le.Uint32(b[0x3c:]):]
			one, two := le.Uint32(ids), le.Uint32(ids[4:])
			le.PutUint32(ids, two)
			le.PutUint32(ids[4:], one)
			seal(b)
			return b
		}, "string 1 is not in order"},
		{"type of no string", 35, table(0x44, 0, 1<<20), "type 0: string 1048576 of"},
		{"type order", 35, table(0x44, 4, 0), "type 1"},
		{"type is none", 35, table(0x44, 0, 0), `type 0: "" is no type`},
		{"proto of no type", 35, table(0x4c, 4, 1<<16), "proto 0: type 65536 of"},
		{"proto order", 35, table(0x4c, 12+4, 0), "proto 1 is not in order"},
		{"proto's short form", 35, table(0x4c, 0, 0), "proto 0: short form"},
		{"parameters outside", 35, table(0x4c, 12*2+8, 1<<30), "pass the end of the file"},
		{"field of no class", 35, table(0x54, 0, 0xffff), "field 0: type 65535 of"},
		{"field without a name", 35, table(0x54, 4, 0), `field 0: name ""`},
		{"method order", 35, table(0x5c, 8, 0), "method 1"},
		{"class of no type", 35, table(0x64, 0, 1<<16), "class 0: type 65536 of"},
		{"class twice", 35, func(b []byte) []byte {
			defs := b[le.Uint32(b[0x64:]):]
			return table(0x64, 32, le.Uint32(defs))(b)
		}, "as is class 0"},
		{"class before its superclass", 37, func(b []byte) []byte {
			defs := b[le.Uint32(b[0x64:]):]
			two, three := bytes.Clone(defs[32:64]), bytes.Clone(defs[64:96])
			copy(defs[32:], three)
			copy(defs[64:], two)
			seal(b)
			return b
		}, "comes before Lorg/example/Other;, from which it derives"},
		{"container's size", 41, put(0x70, 1<<20), "container of 1048576 bytes"},
		{"container's end", 41, func(b []byte) []byte { return append(b, 0) }, "1 bytes after the end of the container"},
		{"container's header", 41, put(0x74, 4), "header says that it is at 0x4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.change(writeDEX(tt.version, sample())))
			if _, ok := errors.AsType[*FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want a FormatError with %q", err, tt.want)
			}
		})
	}
}

// TestRefusesData breaks the data of classes, which is read later.
func TestRefusesData(t *testing.T) {
	class := func(b []byte, i int) []byte { return b[int(le.Uint32(b[0x64:]))+32*i:] }
	for _, tt := range []struct {
		name   string
		change func([]byte)
		want   string
	}{
		{"class data outside", func(b []byte) { le.PutUint32(class(b, 2)[24:], 1<<30) }, "pass the end of the file"},
		{"class data of another", func(b []byte) { le.PutUint32(class(b, 2)[24:], le.Uint32(class(b, 1)[24:])) }, "which is of Lorg/example/Other;"},
		{"too many members", func(b []byte) { b[le.Uint32(class(b, 2)[24:])] = 0x7f }, "defines 127 fields of"},
		{"interfaces outside", func(b []byte) { le.PutUint32(class(b, 1)[12:], 1<<30) }, "pass the end of the file"},
		{"annotations outside", func(b []byte) { le.PutUint32(class(b, 1)[20:], 1<<30) }, "pass the end of the file"},
		{"values outside", func(b []byte) { le.PutUint32(class(b, 1)[28:], 1<<30) }, "pass the end of the file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := writeDEX(35, sample())
			tt.change(b)
			seal(b)
			got := dump(mustParse(t, b))
			if !strings.Contains(got, tt.want) {
				t.Errorf("no error with %q in:\n%s", tt.want, got)
			}
		})
	}
}

// TestInstructions reads code that is wrong.
func TestInstructions(t *testing.T) {
	for _, tt := range []struct {
		units []uint16
		want  string
	}{
		{[]uint16{0x003e}, "unit 0x0: opcode 0x3e, which is none"},
		{[]uint16{0x0000, 0x006e, 0}, "unit 0x1: opcode 0x6e passes the end of the code"},
		{[]uint16{0x0022, 0xffff}, "unit 0x0: new-instance: 65535 of"},
		{[]uint16{0x001b, 0, 1}, "const-string/jumbo: 65536 of"},
		{[]uint16{0x00fc, 0, 0}, "invoke-custom: 0 of 0"},
		{[]uint16{0x00fa, 0, 0, 0xffff}, "invoke-polymorphic: proto 65535 of"},
		{[]uint16{0x0100, 9, 0, 0}, "table passes the end of the code"},
		{[]uint16{0x0300, 0xffff, 0xffff, 0xffff}, "table passes the end of the code"},
		{[]uint16{0x0300, 2}, "table passes the end of the code"},
	} {
		c := sample()
		c[2].methods[0].code = []srcOp{{raw: tt.units}}
		if got := dump(mustParse(t, writeDEX(39, c))); !strings.Contains(got, tt.want) {
			t.Errorf("code %#x: no error with %q in:\n%s", tt.units, tt.want, got)
		}
	}
}

func TestUsesOf(t *testing.T) {
	p, err := NewProgram(mustParse(t, writeDEX(39, sample())))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for u, err := range p.Uses(func(class string) bool { return strings.HasPrefix(class, "Lcom/google/") }) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(u.How, " ", JavaName(u.In.Class), ".", u.In.Name))
	}
	want := []string{
		"field org.example.Other.api", "signature org.example.Other.work", "code org.example.Main.run", "code org.example.Main.run",
		"signature org.example.Main.work",
	}
	if !slices.Equal(got, want) {
		t.Errorf("uses %q, want %q", got, want)
	}
	for range p.Uses(func(string) bool { return true }) {
		break // must end the walk
	}
	if !p.Owns("Lorg/example/Main;") || p.Owns("Landroid/app/NewException;") {
		t.Error("want Main to be the app's own, and NewException not")
	}
	if got := Package("Lorg/example/Main;"); got != "org.example" {
		t.Errorf("Package = %q", got)
	}
}

func TestUsesOfStrings(t *testing.T) {
	p, err := NewProgram(mustParse(t, writeDEX(39, sample())))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i := range p.Files[0].Strings {
		all = append(all, p.Files[0].String(i))
	}
	none := func(string) bool { return false }
	var got []string
	for u, err := range p.UsesOf(none, func(s string) bool { return slices.Contains(all, s) }) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Ref != (Ref{}) {
			t.Errorf("string %q comes with the reference %v", u.Text, u.Ref)
		}
		got = append(got, fmt.Sprint(u.How, " ", JavaName(u.In.Class), ".", u.In.Name, " ", u.Op, " ", u.Text))
	}
	if want := []string{"code org.example.Main.run const-string a \x00 NUL, ünd 𝒳"}; !slices.Equal(got, want) {
		t.Errorf("strings %q, want %q", got, want)
	}
}

// dynamic is an app whose references stand in values, annotations, method
// handles and call sites.
func dynamic() []srcClass {
	const gms = "Lcom/google/Dynamic;"
	call := Ref{gms, "call", "()V"}
	field := Ref{gms, "field", "I"}
	main := Ref{"Lorg/example/Dynamic;", "main", "()V"}
	static := Ref{main.Class, "LIST", "I"}
	return []srcClass{{
		name: main.Class, super: "Ljava/lang/Object;", access: AccPublic, annotations: []string{"Lcom/google/Note;"}, noted: []Ref{static, main},
		values: []srcValue{
			{0x04, 7}, // so that the first field, a number, has a number
		},
		fields: []Field{{Ref{Name: "LIST", Type: "I"}, AccStatic}},
		sites: [][]srcValue{
			{{valueMethodHandle, 0}, {valueString, srcString("site")}, {valueMethodType, 0}, {valueMethodHandle, 1}, {valueType, srcType(gms)},
				{valueField, field}, {valueMethod, call}, {valueNull, nil}, {valueArray, []srcValue{{valueEnum, field}}}, {valueAnnotation, srcType(gms)}},
		},
		handles: []srcHandle{{4, call}, {1, field}},
		methods: []srcMethod{{name: "main", typ: "()V", access: AccPublic | AccStatic, code: []srcOp{
			{raw: []uint16{0x00fc, 0, 0}}, {raw: []uint16{0x00fe, 1}}, {raw: []uint16{0x00ff, 0}}, {raw: []uint16{0x000e}},
		}}},
	}}
}

func TestDynamic(t *testing.T) {
	p, err := NewProgram(mustParse(t, writeDEX(39, dynamic())))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for u, err := range p.Uses(func(class string) bool { return strings.HasPrefix(class, "Lcom/google/") }) {
		if err != nil {
			t.Fatal(err)
		}
		got[fmt.Sprint(u.How, " ", u.Op, " ", u.Ref, " in ", u.In.Name)]++
	}
	want := map[string]int{
		"annotation  Lcom/google/Note; in ":                              1,
		"annotation  Lcom/google/Note; in LIST":                          1,
		"annotation  Lcom/google/Note; in main":                          2, // of the method, and of its parameters
		"code invoke-custom Lcom/google/Dynamic; in main":                2, // a type, and an annotation's
		"code invoke-custom Lcom/google/Dynamic;->call()V in main":       2, // by a handle, and itself
		"code invoke-custom Lcom/google/Dynamic;->field:I in main":       3,
		"code const-method-handle Lcom/google/Dynamic;->field:I in main": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("uses %v, want %v", got, want)
	}
	if got := p.Classes(); !slices.Equal(got, []string{"Lorg/example/Dynamic;"}) {
		t.Errorf("Classes = %q", got)
	}

	bad := dynamic()
	bad[0].sites[0] = []srcValue{{0x1f ^ 0x0d, nil}} // 0x12, no type of a value
	got = nil
	if text := dump(mustParse(t, writeDEX(39, bad))); !strings.Contains(text, "value of type 0x12, which is none") {
		t.Errorf("a call site that is wrong is not told:\n%s", text)
	}
	deep := []srcValue{{valueNull, nil}}
	for range maxValueDepth + 2 {
		deep = []srcValue{{valueArray, deep}}
	}
	bad[0].sites[0] = deep
	if text := dump(mustParse(t, writeDEX(39, bad))); !strings.Contains(text, "over 64 deep") {
		t.Errorf("deep values are not told:\n%s", text)
	}
}

// TestSharedParts reads a file in which all classes share one long list, and
// all methods one long code: the walk gives up, and does not take hours.
func TestSharedParts(t *testing.T) {
	c := sample()[2:]
	c[0].super, c[0].methods = "Ljava/lang/Object;", nil
	for i := range 3000 {
		m := srcMethod{name: fmt.Sprintf("m%d", i), typ: "()V", access: AccPublic}
		if i == 0 {
			m.code = []srcOp{{raw: make([]uint16, 30000)}}
		}
		c[0].methods = append(c[0].methods, m)
	}
	b := writeDEX(39, c)
	f := mustParse(t, b)[0]
	data, err := f.classData(f.classDef(0))
	if err != nil {
		t.Fatal(err)
	}
	s := newScan(&Program{Files: []*File{f}}, 0, func(string) bool { return true }, func(Use, error) bool { return true })
	s.inMember = func() Ref { return Ref{} }
	err, n := nil, 0
	for ; err == nil && n < 3000; n++ {
		err = s.code(data.methods[0].code)
	}
	if err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("after %d times the same code: %v, want that the walk gives up", n, err)
	}
}

func TestMUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                    "plain",
		"\xc0\x80x":                "\x00x",
		"\xc3\xa4":                 "ä",
		"\xed\xa0\xbd\xed\xb8\x80": "😀",
		"\xed\xa0\xbdx":            "\xed\xa0\xbdx",
	} {
		if n := utf16Len([]byte(in)); n < 0 {
			t.Errorf("%q is refused", in)
		}
		if got := decodeMUTF8([]byte(in)); got != want {
			t.Errorf("decodeMUTF8(%q) = %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"\x00", "\xc0", "\xc1\xbf", "\x80", "\xe0\x80\x80", "\xf0\x9f\x98\x80", "\xe2\x82"} {
		if utf16Len([]byte(in)) >= 0 {
			t.Errorf("%q is taken", in)
		}
	}
	order := []string{"", "\xc0\x80", "\xc0\x80a", "a", "a\xc0\x80", "aa", "\xc3\xa4", "\xed\xa0\xbd\xed\xb8\x80", "\xef\xbf\xbd"}
	for i, a := range order {
		for j, b := range order {
			if got := compareMUTF8([]byte(a), []byte(b)); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("compareMUTF8(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string]bool{
		"V": true, "I": true, "[I": true, "La;": true, "[[La/b$c;": true, "La-b/ö;": true, "L𝒳;": true,
		"": false, "[": false, "[V": false, "II": false, "L;": false, "La": false, "La//b;": false, "L/a;": false, "La.b;": false,
		"La;b;": false, "La\x01;": false, "Q": false, "L\u200b;": false, "L\xed\xa0\xbd;": false,
		strings.Repeat("[", 255) + "I": true, strings.Repeat("[", 256) + "I": false,
	} {
		if got := validDescriptor(s); got != want {
			t.Errorf("validDescriptor(%q) = %v", s, got)
		}
	}
	for s, want := range map[string]bool{"<init>": true, "access$000": true, "-$$Nest": true, "": false, "<>": false, "a.b": false, "a<b>": false} {
		if got := validMember(s); got != want {
			t.Errorf("validMember(%q) = %v", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range []int{35, 37, 38, 39, 40, 41} {
		f.Add(writeDEX(v, sample()))
	}
	f.Add(writeDEX(41, sample(), sample()[1:]))
	f.Add(writeDEX(39, dynamic()))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<16 {
			return
		}
		in = bytes.Clone(in)
		if len(in) >= headerSize { // or no change would get past the checksum
			if n := int(le.Uint32(in[0x20:])); n >= headerSize && n <= len(in) {
				seal(in[:n])
			}
		}
		files, err := Parse(in)
		if err != nil {
			if _, ok := errors.AsType[*FormatError](err); !ok {
				t.Fatalf("error %v, want a FormatError", err)
			}
			return
		}
		dump(files)
		if p, err := NewProgram(files); err == nil {
			all := func(string) bool { return true }
			for u := range p.UsesOf(all, all) {
				if u.Text != "" && u.Ref != (Ref{}) {
					t.Errorf("%+v is of a string and of a class", u)
				}
			}
		}
	})
}
