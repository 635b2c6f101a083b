package apk

import (
	"encoding/binary"
	"fmt"
	"iter"
	"sort"

	"mios"
)

// A Resource is what a resource is in one configuration: a value, or a bag of
// them.
type Resource struct {
	ID     ResID
	Config Config
	Public bool
	Weak   bool
	Bag    bool      // a style, an array, a plural or an attribute
	Value  Value     // unless it is a bag
	Parent ResID     // of a style
	Items  []BagItem // of a bag, in the order of the table
}

// A BagItem is one value of a bag.
type BagItem struct {
	Name  ResID // of the attribute; of an array, attribute or plural a number from 0x01000000 on, that is no resource
	Value Value
}

// Flags and sizes of entries: AOSP's ResTable_entry.
const (
	entryComplex  = 1 << 0
	entryPublic   = 1 << 1
	entryWeak     = 1 << 2
	entryCompact  = 1 << 3
	entrySize     = 8
	mapEntrySize  = 16
	valueSize     = 8
	noEntry       = 0xffffffff
	noEntry16     = 0xffff
	offset16Scale = 4
)

// nth returns the number of the nth entry of the index, and where it lies in the
// file, unless there is none.
func (r *Resources) nth(t *resConfig, n int) (entry uint16, at int, ok bool, err error) {
	le, index := binary.LittleEndian, r.b[t.off+t.header:t.end]
	entry = uint16(n)
	var off int64
	switch {
	case t.flags&typeSparse != 0:
		entry, off = le.Uint16(index[4*n:]), int64(le.Uint16(index[4*n+2:]))*offset16Scale
	case t.flags&typeOffset16 != 0:
		o := le.Uint16(index[2*n:])
		if o == noEntry16 {
			return entry, 0, false, nil
		}
		off = int64(o) * offset16Scale
	default:
		o := le.Uint32(index[4*n:])
		if o == noEntry {
			return entry, 0, false, nil
		}
		off = int64(o)
	}
	if off%4 != 0 || off > int64(t.end-t.entries)-entrySize {
		return entry, 0, false, bad(int64(t.off), "type: entry %d at %#x of %#x", entry, off, t.end-t.entries)
	}
	return entry, t.entries + int(off), true, nil
}

// find returns where the entry of that number lies in the file, unless the
// configuration does not have it.
func (r *Resources) find(t *resConfig, entry int) (at int, ok bool, err error) {
	if t.flags&typeSparse != 0 { // sorted by number
		index := r.b[t.off+t.header:]
		n := sort.Search(t.count, func(n int) bool { return int(binary.LittleEndian.Uint16(index[4*n:])) >= entry })
		if n == t.count || int(binary.LittleEndian.Uint16(index[4*n:])) != entry {
			return 0, false, nil
		}
		entry = n
	}
	if entry >= t.count {
		return 0, false, nil
	}
	_, at, ok, err = r.nth(t, entry)
	return at, ok, err
}

// key returns the index of the name of the entry at that place.
func (r *Resources) key(at int) uint32 {
	le := binary.LittleEndian
	if le.Uint16(r.b[at+2:])&entryCompact != 0 {
		return uint32(le.Uint16(r.b[at:]))
	}
	return le.Uint32(r.b[at+4:])
}

// read decodes the entry at that place, which lies in t.
func (r *Resources) read(id ResID, t *resConfig, at int) (Resource, error) {
	le, b := binary.LittleEndian, r.b[at:t.end]
	flags := le.Uint16(b[2:])
	res := Resource{ID: id, Config: t.config, Public: flags&entryPublic != 0, Weak: flags&entryWeak != 0}
	var err error
	if flags&entryCompact != 0 {
		res.Value, err = r.value(ValueType(flags>>8), le.Uint32(b[4:]))
		return res, err
	}
	size := int(le.Uint16(b))
	if flags&entryComplex == 0 {
		if size < entrySize || len(b)-size < valueSize {
			return res, bad(int64(at), "resource %v: an entry of %d bytes, %d left", id, size, len(b))
		}
		res.Value, err = r.value(ValueType(b[size+3]), le.Uint32(b[size+4:]))
		return res, err
	}
	if size < mapEntrySize || size > len(b) {
		return res, bad(int64(at), "resource %v: a bag's entry of %d bytes, %d left", id, size, len(b))
	}
	res.Bag, res.Parent = true, ResID(le.Uint32(b[8:]))
	count := le.Uint32(b[12:])
	b = b[size:]
	if int64(count)*(4+valueSize) > int64(len(b)) {
		return res, bad(int64(at+12), "resource %v: %d values in %d bytes", id, count, len(b))
	}
	res.Items = make([]BagItem, count)
	for i := range res.Items {
		if len(b) < 4+valueSize {
			return res, bad(int64(at), "resource %v: value %d passes the end", id, i)
		}
		step := 4 + max(valueSize, int(le.Uint16(b[4:])))
		v, err := r.value(ValueType(b[7]), le.Uint32(b[8:]))
		if err != nil {
			return res, err
		}
		res.Items[i] = BagItem{ResID(le.Uint32(b)), v}
		b = b[min(step, len(b)):]
	}
	return res, nil
}

func (r *Resources) value(kind ValueType, data uint32) (Value, error) {
	v := Value{Type: kind, Data: data}
	if kind == TypeString {
		var err error
		v.Str, err = r.strings.get(data)
		v.Data = 0
		return v, err
	}
	return v, nil
}

// All returns what the resource is in each configuration, in the table's order.
func (r *Resources) All(id ResID) iter.Seq2[Resource, error] {
	return func(yield func(Resource, error) bool) {
		id := r.unalias(id)
		_, k := r.split(id)
		if k == nil {
			return
		}
		for i := range k.configs {
			t := &k.configs[i]
			at, ok, err := r.find(t, int(uint16(id)))
			var res Resource
			if ok {
				res, err = r.read(id, t, at)
			}
			if (ok || err != nil) && !yield(res, err) {
				return
			}
		}
	}
}

// Get returns what the resource is on a device of the configuration want: of
// what matches, the best by AOSP's rules. Without any the error wraps
// [mios.ErrNotFound].
func (r *Resources) Get(id ResID, want *Config) (Resource, error) {
	id = r.unalias(id)
	_, k := r.split(id)
	if k == nil {
		return Resource{}, noResource(id)
	}
	var best *resConfig
	bestAt := 0
	for i := range k.configs {
		t := &k.configs[i]
		if !t.config.Match(want) || best != nil && !t.config.BetterThan(&best.config, want) {
			continue
		}
		at, ok, err := r.find(t, int(uint16(id)))
		if err != nil {
			return Resource{}, err
		}
		if ok {
			best, bestAt = t, at
		}
	}
	if best == nil {
		return Resource{}, noResource(id)
	}
	return r.read(id, best, bestAt)
}

// Resolve follows v, if it is a reference, to a value that is none, on a device
// of the configuration want, and returns the resource in which it is found, or
// the zero one if v is no reference. A reference to a package that the table
// does not have is returned as it is. One to a bag, to nothing or around in a
// circle is returned with an error that wraps [mios.ErrNotFound].
func (r *Resources) Resolve(v Value, want *Config) (Value, Resource, error) {
	var res Resource
	for range maxRefs {
		id, ok := v.Reference()
		if !ok {
			return v, res, nil
		}
		if id = r.dynamic(id, v.Type); !r.has(id) {
			return v, res, nil
		}
		next, err := r.Get(id, want)
		if err != nil {
			return v, res, err
		}
		if next.Bag {
			return v, next, fmt.Errorf("apk: resource %v is a bag, not a value: %w", id, mios.ErrNotFound)
		}
		v, res = next.Value, next
	}
	return v, res, fmt.Errorf("apk: %v: more than %d references: %w", v, maxRefs, mios.ErrNotFound)
}

// dynamic maps the package of a dynamic reference: 0 is the table's own, another
// one the package of the library that the table gives that number.
func (r *Resources) dynamic(id ResID, kind ValueType) ResID {
	if kind != TypeDynamicReference && id>>24 != 0 || len(r.packages) == 0 {
		return id
	}
	own := r.packages[0].id
	if id>>24 == 0 {
		return id | ResID(own<<24)
	}
	libs, err := r.Libraries()
	if err != nil {
		return id
	}
	for _, lib := range libs {
		for _, p := range r.packages {
			if lib.ID == uint8(id>>24) && lib.Name == p.name {
				return id&0x00ffffff | ResID(p.id<<24)
			}
		}
	}
	return id
}
