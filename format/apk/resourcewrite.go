package apk

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf16"

	"mios"
)

// A NewResource is a resource that [AppendResources] writes, for all
// configurations.
type NewResource struct {
	Type  string  // string, array, integer, bool …; all of one name in R
	Name  string  // "config_ntpServers"
	Value Value   // unless it is an array
	Items []Value // of an array: Type is "array"
}

// StringValue returns the value of a string.
func StringValue(s string) Value { return Value{Type: TypeString, Str: s} }

const (
	arrayType    = "array"
	firstItem    = 0x02000000 // the name of an array's first item (ResTable_map, Res_MAKEARRAY)
	fullPackage  = packageHeader + 4
	anyConfig    = 64
	fullType     = typeHeader + anyConfig
	mapSize      = 4 + valueSize
	maxNewTypes  = 255
	maxNewOfType = 1 << 16
)

// AppendResources appends a resource table, resources.arsc, of an app's own
// package (0x7f): what small packages without a res folder need, such as
// overlays. Types and resources get their numbers in the order of the list.
func AppendResources(b []byte, pkg string, list []NewResource) ([]byte, error) {
	w := &tableWriter{values: newPoolWriter(), keys: newPoolWriter()}
	name := utf16.Encode([]rune(pkg))
	if len(name) == 0 || len(name) >= packageNameLen {
		return nil, fmt.Errorf("resources: package name %q: want 1 to %d characters: %w", pkg, packageNameLen-1, mios.ErrInvalid)
	}
	for _, r := range list {
		if err := w.add(r); err != nil {
			return nil, err
		}
	}
	body := w.body(name) // which collects the strings
	values := encodeStringPool(w.values.list)
	b = appendChunk(b, chunkTable, tableHeader, tableHeader+len(values)+len(body))
	b = binary.LittleEndian.AppendUint32(b, 1) // package
	b = append(b, values...)
	return append(b, body...), nil
}

// A tableWriter collects resources by type.
type tableWriter struct {
	values, keys *poolWriter
	types        []string
	entries      map[string][]NewResource
}

func (w *tableWriter) add(r NewResource) error {
	if r.Type == "" || r.Name == "" || (r.Type == arrayType) != (r.Items != nil) {
		return fmt.Errorf("resource %s/%s: want a type, a name, and a value or the items of an array: %w", r.Type, r.Name, mios.ErrInvalid)
	}
	of := w.entries[r.Type]
	switch {
	case slices.ContainsFunc(of, func(o NewResource) bool { return o.Name == r.Name }):
		return fmt.Errorf("resource %s/%s: %w: it is there twice", r.Type, r.Name, mios.ErrConflict)
	case len(of) == maxNewOfType || of == nil && len(w.types) == maxNewTypes || len(r.Items) > maxNewOfType:
		return fmt.Errorf("resource %s/%s: %w: too many", r.Type, r.Name, mios.ErrInvalid)
	}
	if of == nil {
		w.types = append(w.types, r.Type)
	}
	if w.entries == nil {
		w.entries = map[string][]NewResource{}
	}
	w.entries[r.Type] = append(of, r)
	return nil
}

// body returns the chunk of the package.
func (w *tableWriter) body(name []uint16) []byte {
	le := binary.LittleEndian
	var types []byte
	for i, t := range w.types {
		types = w.kind(types, byte(i+1), w.entries[t])
	}
	typeNames, keys := encodeStringPool(w.types), encodeStringPool(w.keys.list)
	size := fullPackage + len(typeNames) + len(keys) + len(types)
	b := appendChunk(nil, chunkPackage, fullPackage, size)
	b = le.AppendUint32(b, appPackage)
	for i := range packageNameLen {
		unit := uint16(0)
		if i < len(name) {
			unit = name[i]
		}
		b = le.AppendUint16(b, unit)
	}
	b = le.AppendUint32(b, fullPackage) // names of types
	b = le.AppendUint32(b, 0)           // last public type
	b = le.AppendUint32(b, uint32(fullPackage+len(typeNames)))
	b = le.AppendUint32(b, 0) // last public key
	b = le.AppendUint32(b, 0) // first type's number
	b = append(b, typeNames...)
	b = append(b, keys...)
	return append(b, types...)
}

// kind appends the two chunks of a type: its specification, and its entries.
func (w *tableWriter) kind(b []byte, id byte, list []NewResource) []byte {
	le := binary.LittleEndian
	b = appendChunk(b, chunkTypeSpec, specHeader, specHeader+4*len(list))
	b = append(b, id, 0, 1, 0) // number, nothing, types that follow
	b = le.AppendUint32(b, uint32(len(list)))
	b = append(b, make([]byte, 4*len(list))...) // they differ by nothing
	var offsets, entries []byte
	for _, r := range list {
		offsets = le.AppendUint32(offsets, uint32(len(entries)))
		entries = w.entry(entries, r)
	}
	start := fullType + len(offsets)
	b = appendChunk(b, chunkType, fullType, start+len(entries))
	b = append(b, id, 0, 0, 0)
	b = le.AppendUint32(b, uint32(len(list)))
	b = le.AppendUint32(b, uint32(start))
	b = le.AppendUint32(b, anyConfig)
	b = append(b, make([]byte, anyConfig-4)...) // any configuration
	return append(append(b, offsets...), entries...)
}

func (w *tableWriter) entry(b []byte, r NewResource) []byte {
	le := binary.LittleEndian
	key := w.keys.index(r.Name)
	if r.Items == nil {
		b = le.AppendUint16(b, entrySize)
		b = le.AppendUint16(b, 0)
		b = le.AppendUint32(b, key)
		return w.value(b, r.Value)
	}
	b = le.AppendUint16(b, mapEntrySize)
	b = le.AppendUint16(b, entryComplex)
	b = le.AppendUint32(b, key)
	b = le.AppendUint32(b, 0) // no parent
	b = le.AppendUint32(b, uint32(len(r.Items)))
	for i, v := range r.Items {
		b = le.AppendUint32(b, uint32(firstItem+i))
		b = w.value(b, v)
	}
	return b
}

func (w *tableWriter) value(b []byte, v Value) []byte {
	data := v.Data
	if v.Type == TypeString {
		data = w.values.index(v.Str)
	}
	b = append(b, valueSize, 0, 0, byte(v.Type))
	return binary.LittleEndian.AppendUint32(b, data)
}

// A poolWriter numbers strings.
type poolWriter struct {
	list  []string
	known map[string]uint32
}

func newPoolWriter() *poolWriter { return &poolWriter{known: map[string]uint32{}} }

func (p *poolWriter) index(s string) uint32 {
	i, ok := p.known[s]
	if !ok {
		i = uint32(len(p.list))
		p.known[s] = i
		p.list = append(p.list, s)
	}
	return i
}
