package apk

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// A ResLibrary is a shared library whose resources a table refers to.
type ResLibrary struct {
	ID   uint8 // of its package in dynamic references
	Name string
}

// An Overlayable is a set of resources that other packages may overlay.
type Overlayable struct {
	Name, Actor string
	Policies    []OverlayPolicy
}

// An OverlayPolicy says which overlays may change which resources.
type OverlayPolicy struct {
	Flags uint32
	IDs   []ResID
}

// overlayPolicies are the names of the bits of OverlayPolicy.Flags, from the
// lowest: AOSP's PolicyFlags.
var overlayPolicies = []string{"public", "system", "vendor", "product", "signature", "odm", "oem", "actor", "config_signature"}

// Names returns the policies as idmap2 writes them: "public|system".
func (p OverlayPolicy) Names() string {
	var names []string
	for i, name := range overlayPolicies {
		if p.Flags>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

const overlayNameLen = 256

// Libraries returns the shared libraries that the table refers to.
func (r *Resources) Libraries() ([]ResLibrary, error) {
	const size = 4 + 2*packageNameLen
	var list []ResLibrary
	for _, p := range r.packages {
		for _, c := range p.libraries {
			b, err := r.counted(c, size)
			if err != nil {
				return nil, err
			}
			for ; len(b) > 0; b = b[size:] {
				list = append(list, ResLibrary{b[0], fixedUTF16(b[4:size])})
			}
		}
	}
	return list, nil
}

// counted returns the records of size bytes behind a header that ends with their
// number.
func (r *Resources) counted(c chunk, size int) ([]byte, error) {
	b := r.b[c.off:c.end]
	if c.header < chunkHeader+4 {
		return nil, bad(int64(c.off), "chunk %#x: header of %d bytes", c.kind, c.header)
	}
	n := binary.LittleEndian.Uint32(b[8:])
	if int64(n)*int64(size) > int64(len(b)-c.header) {
		return nil, bad(int64(c.off+8), "chunk %#x: %d records of %d bytes in %d", c.kind, n, size, len(b)-c.header)
	}
	return b[c.header:][:int(n)*size], nil
}

// unalias returns the id that a staged one has become.
func (r *Resources) unalias(id ResID) ResID {
	for _, p := range r.packages {
		if p.id != uint32(id>>24) {
			continue
		}
		for _, c := range p.aliases {
			b, err := r.counted(c, 8)
			if err != nil {
				continue
			}
			for ; len(b) > 0; b = b[8:] {
				if binary.LittleEndian.Uint32(b) == uint32(id) {
					return ResID(binary.LittleEndian.Uint32(b[4:]))
				}
			}
		}
	}
	return id
}

// Overlayables returns the sets of resources that may be overlaid.
func (r *Resources) Overlayables() ([]Overlayable, error) {
	const header = chunkHeader + 4*overlayNameLen
	var list []Overlayable
	for _, p := range r.packages {
		for _, c := range p.overlays {
			if c.header < header {
				return nil, bad(int64(c.off), "overlayable: header of %d bytes, want %d", c.header, header)
			}
			b := r.b[c.off:]
			o := Overlayable{Name: fixedUTF16(b[chunkHeader:][:2*overlayNameLen]), Actor: fixedUTF16(b[chunkHeader+2*overlayNameLen:][:2*overlayNameLen])}
			for off := c.off + c.header; off < c.end; {
				sub, err := readChunk(r.b, off, c.end)
				if err != nil {
					return nil, err
				}
				if sub.kind == chunkOverlayPolicy {
					policy, err := r.overlayPolicy(sub)
					if err != nil {
						return nil, err
					}
					o.Policies = append(o.Policies, policy)
				}
				off = sub.end
			}
			list = append(list, o)
		}
	}
	return list, nil
}

func (r *Resources) overlayPolicy(c chunk) (p OverlayPolicy, err error) {
	le, b := binary.LittleEndian, r.b[c.off:c.end]
	if c.header < chunkHeader+8 {
		return p, bad(int64(c.off), "overlay policy: header of %d bytes", c.header)
	}
	n := le.Uint32(b[12:])
	if int64(n)*4 > int64(len(b)-c.header) {
		return p, bad(int64(c.off+12), "overlay policy: %d ids in %d bytes", n, len(b)-c.header)
	}
	p.Flags, p.IDs = le.Uint32(b[8:]), make([]ResID, n)
	for i := range p.IDs {
		p.IDs[i] = ResID(le.Uint32(b[c.header+4*i:]))
	}
	return p, nil
}

// fixedUTF16 decodes a field of UTF-16 that ends at its first NUL, or full.
func fixedUTF16(b []byte) string {
	units := make([]uint16, 0, 64)
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
