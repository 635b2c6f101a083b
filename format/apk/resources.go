package apk

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"mios"
)

// ResourcesName is the entry that holds a package's resource table.
const ResourcesName = "resources.arsc"

// MaxResources is the largest resource table that is read, in bytes.
const MaxResources = 128 << 20

// A ResID names a resource: 0xPPTTEEEE of package, type and entry.
type ResID uint32

// String returns the id as "0x7f010001".
func (id ResID) String() string { return fmt.Sprintf("0x%08x", uint32(id)) }

// Resources is a resource table, resources.arsc: AOSP's ResTable_header and what
// follows it (androidfw/ResourceTypes.h). It keeps the bytes, knows where the
// types lie, and decodes what is asked for. It may be used by several goroutines.
type Resources struct {
	b        []byte
	strings  *stringPool
	packages []*resPackage
}

// resPackage is one package of a table.
type resPackage struct {
	id          uint32
	name        string
	typeOffset  uint32 // of a feature's types
	types, keys *stringPool
	kinds       [256]*resKind // by type id
	libraries   []chunk
	overlays    []chunk
	aliases     []chunk
}

// resKind is one type of resources, such as drawable, in all configurations.
type resKind struct {
	flags   []byte // of the entries, four bytes each: which qualifiers they differ by
	configs []resConfig
}

// resConfig is the entries of one type in one configuration: a ResTable_type.
type resConfig struct {
	chunk
	count   int
	flags   uint8
	entries int // in the file: where they begin
	config  Config
}

// Flags of a resConfig.
const (
	typeSparse   = 1 << 0
	typeOffset16 = 1 << 1
)

// Limits and sizes.
const (
	maxPackages    = 255
	maxConfigs     = 1 << 14 // of a type; Android's own have up to 2208
	maxAliases     = 1 << 16
	tableHeader    = 12
	packageHeader  = 284 // without the offset of types, which newer ones have
	specHeader     = 16
	typeHeader     = 20 // without the configuration
	specPublic     = 0x40000000
	maxRefs        = 20 // that are followed, as AOSP does
	appPackage     = 0x7f
	packageNameLen = 128
)

// ParseResources reads the table in b, which it keeps and does not change.
// Errors are [*FormatError] with offsets from the start of b.
func ParseResources(b []byte) (*Resources, error) {
	c, err := readChunk(b, 0, len(b))
	if err != nil {
		return nil, err
	}
	if c.kind != chunkTable || c.header < tableHeader {
		return nil, bad(0, "no resource table (chunk of type %#x)", c.kind)
	}
	r := &Resources{b: b}
	for off := c.header; off < c.end; {
		sub, err := readChunk(b, off, c.end)
		if err != nil {
			return nil, err
		}
		if err := r.chunk(sub); err != nil {
			return nil, err
		}
		off = sub.end
	}
	if want := binary.LittleEndian.Uint32(b[8:]); int64(want) != int64(len(r.packages)) {
		return nil, bad(8, "%d packages, the header says %d", len(r.packages), want)
	}
	return r, nil
}

func (r *Resources) chunk(c chunk) (err error) {
	switch c.kind {
	case chunkStringPool:
		if r.strings != nil {
			return bad(int64(c.off), "a second string pool")
		}
		r.strings, err = parseStringPool(r.b[c.off:c.end], int64(c.off))
	case chunkPackage:
		if r.strings == nil {
			return bad(int64(c.off), "a package before the string pool")
		}
		if len(r.packages) == maxPackages {
			return bad(int64(c.off), "more than %d packages", maxPackages)
		}
		var p *resPackage
		if p, err = r.parsePackage(c); err == nil {
			r.packages = append(r.packages, p)
		}
	}
	return err
}

func (r *Resources) parsePackage(c chunk) (*resPackage, error) {
	if c.header < packageHeader {
		return nil, bad(int64(c.off+2), "package: header of %d bytes, want %d", c.header, packageHeader)
	}
	le, b := binary.LittleEndian, r.b[c.off:c.end]
	p := &resPackage{id: le.Uint32(b[8:]), name: fixedUTF16(b[12:][:2*packageNameLen])}
	if p.id > 255 {
		return nil, bad(int64(c.off+8), "package id %#x", p.id)
	}
	if c.header >= packageHeader+4 {
		p.typeOffset = le.Uint32(b[packageHeader:])
	}
	typeStrings, keyStrings := le.Uint32(b[268:]), le.Uint32(b[276:])
	for off := c.off + c.header; off < c.end; {
		sub, err := readChunk(r.b, off, c.end)
		if err != nil {
			return nil, err
		}
		switch {
		case sub.kind == chunkStringPool && uint32(off-c.off) == typeStrings && p.types == nil:
			p.types, err = parseStringPool(r.b[off:sub.end], int64(off))
		case sub.kind == chunkStringPool && uint32(off-c.off) == keyStrings && p.keys == nil:
			p.keys, err = parseStringPool(r.b[off:sub.end], int64(off))
		default:
			err = r.packageChunk(p, sub)
		}
		if err != nil {
			return nil, err
		}
		off = sub.end
	}
	if p.types == nil || p.keys == nil {
		return nil, bad(int64(c.off), "package %s: no names of types or of entries", p.name)
	}
	return p, nil
}

func (r *Resources) packageChunk(p *resPackage, c chunk) error {
	le, b := binary.LittleEndian, r.b[c.off:c.end]
	switch c.kind {
	case chunkTypeSpec:
		if c.header < specHeader {
			return bad(int64(c.off+2), "type specification: header of %d bytes", c.header)
		}
		n := le.Uint32(b[12:])
		if b[8] == 0 || int64(n)*4 > int64(len(b)-c.header) {
			return bad(int64(c.off+8), "type specification %d: %d entries in %d bytes", b[8], n, len(b))
		}
		if k := p.kind(b[8]); k.flags == nil {
			k.flags = b[c.header:][:4*n]
		}
	case chunkType:
		return r.parseType(p, c)
	case chunkLibrary:
		p.libraries = append(p.libraries, c)
	case chunkOverlayable:
		p.overlays = append(p.overlays, c)
	case chunkStagedAlias:
		if p.aliases = append(p.aliases, c); len(b)*len(p.aliases) > maxAliases*8 {
			return bad(int64(c.off+4), "staged aliases: %d chunks of %d bytes, at most %d are read", len(p.aliases), len(b), maxAliases*8)
		}
	}
	return nil
}

// kind returns the type with that id, which it makes if there is none.
func (p *resPackage) kind(id uint8) *resKind {
	if p.kinds[id] == nil {
		p.kinds[id] = new(resKind)
	}
	return p.kinds[id]
}

func (r *Resources) parseType(p *resPackage, c chunk) error {
	le, b := binary.LittleEndian, r.b[c.off:c.end]
	if c.header < typeHeader+4 {
		return bad(int64(c.off+2), "type: header of %d bytes", c.header)
	}
	t := resConfig{chunk: c, flags: b[9]}
	count, start := le.Uint32(b[12:]), le.Uint32(b[16:])
	index := int64(count) * 4
	if t.flags&(typeSparse|typeOffset16) == typeOffset16 {
		index = (int64(count)*2 + 3) &^ 3
	}
	switch {
	case b[8] == 0:
		return bad(int64(c.off+8), "type 0")
	case index > int64(len(b)-c.header):
		return bad(int64(c.off+12), "type %d: %d entries in %d bytes", b[8], count, len(b))
	case int64(start) > int64(len(b)) || count > 0 && int64(start) < int64(c.header)+index:
		return bad(int64(c.off+16), "type %d: entries at %#x of %#x", b[8], start, len(b))
	}
	var ok bool
	if t.config, ok = parseConfig(b[typeHeader:c.header]); !ok {
		return bad(int64(c.off+typeHeader), "type %d: a configuration of %d bytes in a header of %d", b[8], le.Uint32(b[typeHeader:]), c.header)
	}
	t.count, t.entries = int(count), c.off+int(start)
	k := p.kind(b[8])
	if len(k.configs) == maxConfigs {
		return bad(int64(c.off), "type %d: more than %d configurations", b[8], maxConfigs)
	}
	k.configs = append(k.configs, t)
	return nil
}

// split finds the package and type of a resource.
func (r *Resources) split(id ResID) (*resPackage, *resKind) {
	for _, p := range r.packages {
		if p.id == uint32(id>>24) {
			if k := p.kinds[uint8(id>>16)]; k != nil {
				return p, k
			}
		}
	}
	return nil, nil
}

// has reports whether the table has a package of the id's.
func (r *Resources) has(id ResID) bool {
	return slices.ContainsFunc(r.packages, func(p *resPackage) bool { return p.id == uint32(id>>24) })
}

// Name returns the resource's name as "org.example:string/app_name", or the id if
// the table does not have it.
func (r *Resources) Name(id ResID) string {
	if name, err := r.name(id); err == nil {
		return name
	}
	return id.String()
}

func (r *Resources) name(id ResID) (string, error) {
	id = r.unalias(id)
	p, k := r.split(id)
	if k == nil {
		return "", noResource(id)
	}
	kind, err := p.types.get(uint32(uint8(id>>16)) - 1 - p.typeOffset)
	if err != nil {
		return "", err
	}
	for i := range k.configs {
		at, ok, err := r.find(&k.configs[i], int(uint16(id)))
		if err != nil {
			return "", err
		}
		if ok {
			key, err := p.keys.get(r.key(at))
			return p.name + ":" + kind + "/" + key, err
		}
	}
	return "", noResource(id)
}

// Find returns the id of the resource with a name such as
// "org.example:string/app_name" or "string/app_name". Without one the error
// wraps [mios.ErrNotFound].
func (r *Resources) Find(name string) (ResID, error) {
	pkg, rest, named := strings.Cut(name, ":")
	if !named {
		rest = name
	}
	kind, key, _ := strings.Cut(rest, "/")
	for _, p := range r.packages {
		if named && p.name != pkg {
			continue
		}
		t, ok := p.types.find(kind)
		if !ok {
			continue
		}
		id := t + 1 + p.typeOffset
		if id > 255 || p.kinds[id] == nil {
			continue
		}
		entry, ok, err := r.findKey(p, p.kinds[id], key)
		if err != nil {
			return 0, err
		}
		if ok {
			return ResID(p.id<<24 | id<<16 | uint32(entry)), nil
		}
	}
	return 0, fmt.Errorf("apk: resource %s: %w", name, mios.ErrNotFound)
}

// findKey returns the number of the entry of that name.
func (r *Resources) findKey(p *resPackage, k *resKind, name string) (uint16, bool, error) {
	key, ok := p.keys.find(name)
	if !ok {
		return 0, false, nil
	}
	for i := range k.configs {
		t := &k.configs[i]
		for n := range t.count {
			entry, at, ok, err := r.nth(t, n)
			if err != nil {
				return 0, false, err
			}
			if ok && r.key(at) == key {
				return entry, true, nil
			}
		}
	}
	return 0, false, nil
}

// Configs returns all configurations of the table, each once, in its order.
func (r *Resources) Configs() []Config {
	seen := make(map[Config]bool)
	var list []Config
	for _, p := range r.packages {
		for _, k := range p.kinds {
			if k == nil {
				continue
			}
			for i := range k.configs {
				if c := k.configs[i].config; !seen[c] {
					seen[c] = true
					list = append(list, c)
				}
			}
		}
	}
	return list
}

func noResource(id ResID) error { return fmt.Errorf("apk: resource %v: %w", id, mios.ErrNotFound) }
