package apk_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"mios"
	"mios/format/apk"
)

// A table is a resource table that tests make.
type table struct {
	strings []string
	pkg     uint32
	name    string
	types   []string
	keys    []string
	chunks  []byte // of the package, behind the pools
	utf8    bool
}

var le = binary.LittleEndian

// chunkOf makes a chunk: its type, what stands in its header behind the first
// eight bytes, and what follows.
func chunkOf(kind uint16, header, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := le.AppendUint16(nil, kind)
	b = le.AppendUint16(b, uint16(8+len(header)))
	b = le.AppendUint32(b, uint32(8+len(header)+len(body)))
	return slices.Concat(b, header, body)
}

func u32(ns ...uint32) (b []byte) {
	for _, n := range ns {
		b = le.AppendUint32(b, n)
	}
	return b
}

// fixed is a name in a field of n UTF-16 units.
func fixed(name string, n int) []byte {
	b := make([]byte, 2*n)
	for i, u := range utf16.Encode([]rune(name)) {
		le.PutUint16(b[2*i:], u)
	}
	return b
}

func pool(list []string, utf8 bool) []byte {
	var offsets, data []byte
	flags := uint32(0)
	for _, s := range list {
		offsets = le.AppendUint32(offsets, uint32(len(data)))
		if utf8 {
			flags = 1 << 8
			data = append(data, byte(len(utf16.Encode([]rune(s)))), byte(len(s)))
			data = append(append(data, s...), 0)
			continue
		}
		units := utf16.Encode([]rune(s))
		data = le.AppendUint16(data, uint16(len(units)))
		for _, u := range append(units, 0) {
			data = le.AppendUint16(data, u)
		}
	}
	return chunkOf(1, u32(uint32(len(list)), 0, flags, uint32(28+len(offsets)), 0), append(offsets, data...))
}

func (t *table) bytes() []byte {
	types, keys := pool(t.types, t.utf8), pool(t.keys, t.utf8)
	header := slices.Concat(u32(t.pkg), fixed(t.name, 128), u32(288, uint32(len(t.types)), uint32(288+len(types)), uint32(len(t.keys)), 0))
	pkg := chunkOf(0x200, header, slices.Concat(types, keys, t.chunks))
	return chunkOf(2, u32(1), append(pool(t.strings, t.utf8), pkg...))
}

// config is a ResTable_config of 64 bytes for a language and a density.
func config(language string, density uint16) []byte {
	b := make([]byte, 64)
	b[0] = 64
	copy(b[8:], language)
	le.PutUint16(b[14:], density)
	return b
}

// add adds a type: its number, flags, configuration, the index and the entries.
func (t *table) add(id, flags byte, count int, config, index, entries []byte) {
	for len(index)%4 != 0 {
		index = append(index, 0xff)
	}
	header := slices.Concat([]byte{id, flags, 0, 0}, u32(uint32(count), uint32(20+len(config)+len(index))), config)
	t.chunks = append(t.chunks, chunkOf(0x201, header, append(index, entries...))...)
}

// entry is a simple entry, with the name of that number.
func entry(key uint32, kind byte, data uint32) []byte {
	return slices.Concat([]byte{8, 0, 2, 0}, u32(key), []byte{8, 0, 0, kind}, u32(data))
}

// compact is the same in eight bytes.
func compact(key uint16, kind byte, data uint32) []byte {
	b := le.AppendUint16(nil, key)
	return append(append(b, 8|2, kind), u32(data)...)
}

const (
	typeRef    = 1
	typeString = 3
	typeInt    = 0x10
)

// manyKinds is a table with every kind of chunk and entry.
func manyKinds(utf8 bool) *table {
	t := &table{strings: []string{"null", "deutsch", "gültig"}, pkg: 0x7f, name: "org.example", types: []string{"string", "sparse", "small", "bag"}, keys: []string{"a", "b", "c", "loop", "end"}, utf8: utf8}
	t.chunks = append(t.chunks, chunkOf(0x202, slices.Concat([]byte{1, 0, 0, 0}, u32(5)), u32(0, 4, 0, 0, 0x40000000))...)
	t.add(1, 0, 5, config("", 0), u32(0, 16, 0xffffffff, 32, 48), slices.Concat( // string/a b - loop end
		entry(0, typeString, 0), entry(1, typeRef, 0x7f010000), entry(3, typeRef, 0x7f010003), entry(4, typeRef, 0x7f020309)))
	t.add(1, 0, 1, config("de", 0), u32(0), entry(0, typeString, 1))
	t.add(2, 1, 2, config("", 0), u32(7|0<<16, 0x309|4<<16), slices.Concat(entry(2, typeInt, 7), entry(1, typeInt, 777))) // 7 and 0x309
	t.add(3, 2, 3, config("", 0), []byte{0, 0, 0xff, 0xff, 2, 0}, slices.Concat(compact(0, typeInt, 5), compact(1, typeString, 2)))
	bag := slices.Concat([]byte{16, 0, 1, 0}, u32(2, 0x7f040001, 2), u32(0x01010001), []byte{8, 0, 0, typeInt}, u32(1), u32(0x01010002), []byte{8, 0, 0, typeString}, u32(1))
	t.add(4, 0, 1, config("", 0), u32(0), bag)
	t.chunks = append(t.chunks, chunkOf(0x203, u32(1), slices.Concat(u32(2), fixed("org.lib", 128)))...)
	policy := chunkOf(0x205, u32(1|8, 2), u32(0x7f010000, 0x7f010001))
	t.chunks = append(t.chunks, chunkOf(0x204, slices.Concat(fixed("Theme", 256), fixed("overlay://a", 256)), policy)...)
	t.chunks = append(t.chunks, chunkOf(0x206, u32(1), u32(0x7fff0001, 0x7f010000))...)
	return t
}

func TestResources(t *testing.T) {
	for _, utf8 := range []bool{false, true} {
		r, err := apk.ParseResources(manyKinds(utf8).bytes())
		if err != nil {
			t.Fatal(err)
		}
		english, german := apk.Device{}.Config(), apk.Device{Locales: []string{"de-AT"}}.Config()
		for _, tt := range []struct {
			id   apk.ResID
			want *apk.Config
			text string
		}{
			{0x7f010000, &english, "null"},
			{0x7f010000, &german, "deutsch"},
			{0x7f010001, &german, "deutsch"}, // by reference
			{0x7f010004, &english, "777"},    // by reference to a sparse type
			{0x7f020007, &english, "7"},
			{0x7f030000, &english, "5"}, // compact
			{0x7f030002, &english, "gültig"},
			{0x7fff0001, &german, "deutsch"}, // staged alias
			{0x01040000, &english, "@0x01040000"},
		} {
			v, _, err := r.Resolve(apk.Value{Type: apk.TypeReference, Data: uint32(tt.id)}, tt.want)
			if v.String() != tt.text || err != nil {
				t.Errorf("Resolve(%v) = %v, %v, want %s", tt.id, v, err, tt.text)
			}
		}
		for _, id := range []apk.ResID{0x7f010002, 0x7f010003, 0x7f020008, 0x7f030001, 0x7f040000, 0x7f050000} { // none, a loop, none, none, a bag, no type
			if v, _, err := r.Resolve(apk.Value{Type: apk.TypeReference, Data: uint32(id)}, &english); !errors.Is(err, mios.ErrNotFound) {
				t.Errorf("Resolve(%v) = %v, %v, want not found", id, v, err)
			}
		}
		for name, id := range map[string]apk.ResID{"org.example:string/b": 0x7f010001, "sparse/b": 0x7f020309, "small/b": 0x7f030002, "bag/c": 0x7f040000} {
			if got, err := r.Find(name); got != id || err != nil {
				t.Errorf("Find(%s) = %v, %v, want %v", name, got, err, id)
			}
			if got := r.Name(id); !strings.HasSuffix(got, name) {
				t.Errorf("Name(%v) = %s, want %s", id, got, name)
			}
		}
		if _, err := r.Find("string/zzz"); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("Find(string/zzz) = %v", err)
		}
		bag, err := r.Get(0x7f040000, &english)
		if err != nil || !bag.Bag || bag.Parent != 0x7f040001 || fmt.Sprint(bag.Items) != "[{0x01010001 1} {0x01010002 deutsch}]" {
			t.Errorf("bag: %+v, %v", bag, err)
		}
		libs, err := r.Libraries()
		if err != nil || fmt.Sprint(libs) != "[{2 org.lib}]" {
			t.Errorf("Libraries = %v, %v", libs, err)
		}
		over, err := r.Overlayables()
		if err != nil || len(over) != 1 || over[0].Name != "Theme" || over[0].Actor != "overlay://a" || over[0].Policies[0].Names() != "public|product" || len(over[0].Policies[0].IDs) != 2 {
			t.Errorf("Overlayables = %+v, %v", over, err)
		}
	}
}

// TestResourcesRefuse breaks a table where it counts.
func TestResourcesRefuse(t *testing.T) {
	good := manyKinds(true).bytes()
	at := func(kind uint16, n int) int { // of the nth chunk of that type
		want := le.AppendUint16(nil, kind)
		off := 12
		for n > 0 {
			if string(good[off:off+2]) == string(want) {
				if n--; n == 0 {
					break
				}
			}
			if string(good[off:off+2]) == "\x00\x02" { // into the package
				off += 288
			} else {
				off += int(le.Uint32(good[off+4:]))
			}
		}
		return off
	}
	put := func(off int, n uint32) func([]byte) {
		return func(b []byte) { le.PutUint32(b[off:], n) }
	}
	for _, tt := range []struct {
		name string
		edit func([]byte)
		want string
	}{
		{"no table", put(0, 3|12<<16), "no resource table"},
		{"two packages", put(8, 2), "1 packages, the header says 2"},
		{"package id", put(at(0x200, 1)+8, 256), "package id 0x100"},
		{"chunk passes the end", put(at(0x200, 1)+4, 1<<30), "bytes left"},
		{"no names", put(at(0x200, 1)+268, 4), "no names of types"},
		{"type specification", put(at(0x202, 1)+12, 1<<30), "entries in"},
		{"too many entries", put(at(0x201, 1)+12, 1<<30), "entries in"},
		{"entries outside", put(at(0x201, 1)+16, 1<<30), "entries at"},
		{"configuration", put(at(0x201, 1)+20, 65), "a configuration of 65 bytes"},
		{"type 0", put(at(0x201, 1)+8, 0), "type 0"},
	} {
		b := slices.Clone(good)
		tt.edit(b)
		_, err := apk.ParseResources(b)
		if _, ok := errors.AsType[*apk.FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want a FormatError with %q", tt.name, err, tt.want)
		}
	}
	want := apk.Device{}.Config()
	for _, tt := range []struct {
		name string
		id   apk.ResID
		edit func([]byte)
		want string
	}{
		{"entry outside", 0x7f010000, put(at(0x201, 1)+84, 1<<20), "entry 0 at 0x100000"},
		{"no such string", 0x7f010000, put(at(0x201, 1)+84+20+12, 9), "no string 9"},
		{"bag of too many", 0x7f040000, put(at(0x201, 5)+88+12, 1<<30), "1073741824 values"},
	} {
		b := slices.Clone(good)
		tt.edit(b)
		r, err := apk.ParseResources(b)
		if err != nil {
			t.Fatal(tt.name, err)
		}
		_, err = r.Get(tt.id, &want)
		if _, ok := errors.AsType[*apk.FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want a FormatError with %q", tt.name, err, tt.want)
		}
	}
}

func FuzzParseResources(f *testing.F) {
	f.Add(manyKinds(false).bytes())
	f.Add(manyKinds(true).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := apk.ParseResources(b)
		if err != nil {
			return
		}
		want := apk.Device{Locales: []string{"de"}, Density: 320}.Config()
		for _, c := range r.Configs() {
			_, _, _, _ = c.String(), c.Locale(), c.Match(&want), c.BetterThan(&want, &want)
		}
		r.Libraries()
		r.Overlayables()
		r.Find("string/b")
		for _, id := range []apk.ResID{0x7f010000, 0x7f010003, 0x7f020309, 0x7f030002, 0x7f040000, 0x7fff0001} {
			if v, _, err := r.Resolve(apk.Value{Type: apk.TypeReference, Data: uint32(id)}, &want); err == nil {
				if next, ok := v.Reference(); ok && next>>24 == id>>24 {
					t.Errorf("Resolve(%v) = %v", id, v)
				}
			}
			r.Name(id)
			for range r.All(id) {
			}
		}
	})
}

// TestBoundedMemory holds that no parser allocates more than a bound that the
// size of its input gives, whatever that claims.
func TestBoundedMemory(t *testing.T) {
	for name, tt := range map[string]struct {
		seed  []byte
		parse func([]byte)
	}{
		"table": {manyKinds(true).bytes(), func(b []byte) {
			if r, err := apk.ParseResources(b); err == nil {
				want := apk.Device{}.Config()
				r.Get(0x7f010001, &want)
				r.Get(0x7f040000, &want)
				r.Overlayables()
			}
		}},
		"binary XML": {compile(t, manifestText), func(b []byte) { apk.ParseManifest(b) }},
		"text XML":   {[]byte(manifestText), func(b []byte) { apk.ParseText(b) }},
		"ZIP":        {small(t), func(b []byte) { open(b) }},
	} {
		const perByte, fixed = 64, 1 << 20
		limit := int64(len(tt.seed))*perByte + fixed
		step := max(1, len(tt.seed)/400)
		for off := 0; off+4 <= len(tt.seed); off += step {
			for _, claim := range []uint32{0xffffffff, 0x7fffffff, 0x00ffffff} {
				b := slices.Clone(tt.seed)
				le.PutUint32(b[off:], claim)
				if n := allocated(func() { tt.parse(b) }); n > limit {
					t.Errorf("%s of %d bytes: %d bytes allocated with %#x at %d", name, len(b), n, claim, off)
				}
			}
		}
	}
}
