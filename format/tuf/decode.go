package tuf

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Parse reads a metadata file of one type, without verifying a signature.
// Errors are [*FormatError].
func Parse[T Role](b []byte) (*Metadata[T], error) {
	if len(b) > MaxSize {
		return nil, &FormatError{0, fmt.Sprintf("%d bytes, want at most %d", len(b), MaxSize)}
	}
	d, m := &decoder{b: b}, new(Metadata[T])
	d.fields("metadata", []string{"signed", "signatures"}, func(name string) {
		switch name {
		case "signed":
			d.signed(m.signed())
		case "signatures":
			m.Signatures = d.signatures()
		default:
			keep(&m.Unrecognized, name, d.value(name))
		}
	})
	d.end()
	if d.err != nil {
		return nil, d.err
	}
	return m, nil
}

// keep puts a member that nobody knows with the others.
func keep(o *map[string]any, name string, v any) {
	if *o == nil {
		*o = map[string]any{}
	}
	(*o)[name] = v
}

func (d *decoder) signed(s signed) {
	h, what := s.head(), s.role()
	d.fields(what, append(s.required(), "_type", "spec_version", "version", "expires"), func(name string) {
		switch name {
		case "_type":
			d.next()
			off := d.pos
			if t := d.string("_type"); t != what {
				d.fail(off, "type %q, want %q", t, what)
			}
		case "spec_version":
			h.SpecVersion = d.specVersion()
		case "version":
			h.Version = d.atLeast(1, "version")
		case "expires":
			h.Expires = d.time("expires")
		default:
			if !s.decode(d, name) {
				keep(&h.Unrecognized, name, d.value(name))
			}
		}
	})
}

// specVersion reads a version of the specification. Major versions break what
// was.
func (d *decoder) specVersion() string {
	d.next()
	off := d.pos
	v := d.string("spec_version")
	if rest, ok := bytes.CutPrefix([]byte(v), []byte("1.")); !ok || len(v) > 32 || len(bytes.Trim(rest, "0123456789.")) > 0 {
		d.fail(off, "version %q of the specification, want 1.x", v)
	}
	return v
}

// time reads a time in UTC as it is written: RFC 3339 with a Z, and, as go-tuf
// has it, a fraction of seconds or none.
func (d *decoder) time(what string) time.Time {
	d.next()
	off := d.pos
	text := d.string(what)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.UTC().Format(time.RFC3339Nano) != text {
		d.fail(off, "%s: %q, want YYYY-MM-DDTHH:MM:SSZ", what, text)
	}
	return t.UTC()
}

func (d *decoder) signatures() []Signature {
	list, seen := []Signature{}, map[string]bool{}
	d.list("signatures", func() {
		var s Signature
		d.next()
		off := d.pos
		d.fields("signature", []string{"keyid", "sig"}, func(name string) {
			switch name {
			case "keyid":
				s.KeyID = d.string("keyid")
			case "sig":
				s.Sig = d.hex("sig")
			default:
				keep(&s.Unrecognized, name, d.value(name))
			}
		})
		if seen[s.KeyID] {
			d.fail(off, "two signatures by the key %q", s.KeyID)
		}
		seen[s.KeyID] = true
		list = append(list, s)
	})
	return list
}

// hex reads bytes in lower-case hexadecimal.
func (d *decoder) hex(what string) []byte {
	d.next()
	off := d.pos
	text := d.string(what)
	b, err := hex.DecodeString(text)
	if err != nil || hex.EncodeToString(b) != text {
		d.fail(off, "%s: want lower-case hexadecimal", what)
	}
	return b
}

func (*Root) required() []string { return []string{"consistent_snapshot", "keys", "roles"} }

func (r *Root) decode(d *decoder, name string) bool {
	switch name {
	case "consistent_snapshot":
		r.ConsistentSnapshot = d.bool(name)
	case "keys":
		r.Keys = d.keys()
	case "roles":
		r.Roles = map[string]*RoleKeys{}
		d.fields("roles", TopLevel[:], func(name string) { r.Roles[name] = d.roleKeys(name) })
	default:
		return false
	}
	return true
}

func (d *decoder) keys() map[string]*Key {
	keys := map[string]*Key{}
	d.object("keys", func(id string) {
		k := new(Key)
		k.decode(d)
		keys[id] = k
	})
	return keys
}

func (d *decoder) roleKeys(role string) *RoleKeys {
	r := new(RoleKeys)
	d.fields(role, []string{"keyids", "threshold"}, func(name string) {
		if !d.keyIDs(name, &r.KeyIDs, &r.Threshold) {
			keep(&r.Unrecognized, name, d.value(name))
		}
	})
	return r
}

// keyIDs reads what all roles have: which keys sign, and how many must.
func (d *decoder) keyIDs(name string, ids *[]string, threshold *int) bool {
	switch name {
	case "keyids":
		d.next()
		off := d.pos
		*ids = d.strings("keyids")
		if sorted := slices.Sorted(slices.Values(*ids)); len(slices.Compact(sorted)) != len(*ids) {
			d.fail(off, "keyids: one of them twice")
		}
	case "threshold":
		d.next()
		off := d.pos
		n := d.atLeast(1, "threshold")
		if *threshold = int(n); int64(*threshold) != n {
			d.fail(off, "threshold: %d", n)
		}
	default:
		return false
	}
	return true
}

func (d *decoder) strings(what string) []string {
	list := []string{}
	d.list(what, func() { list = append(list, d.string(what)) })
	return list
}

func (*Timestamp) required() []string { return []string{"meta"} }

func (t *Timestamp) decode(d *decoder, name string) bool {
	if name != "meta" {
		return false
	}
	d.next()
	off := d.pos
	t.Meta = d.meta()
	if len(t.Meta) != 1 || t.Meta["snapshot.json"] == nil {
		d.fail(off, "meta: want snapshot.json and nothing else")
	}
	return true
}

func (*Snapshot) required() []string { return []string{"meta"} }

func (s *Snapshot) decode(d *decoder, name string) bool {
	if name != "meta" {
		return false
	}
	s.Meta = d.meta()
	return true
}

func (d *decoder) meta() map[string]*MetaFile {
	meta := map[string]*MetaFile{}
	d.object("meta", func(file string) {
		f := new(MetaFile)
		d.fields(file, []string{"version"}, func(name string) {
			switch name {
			case "version":
				f.Version = d.atLeast(1, name)
			case "length":
				f.Length = d.atLeast(1, name)
			case "hashes":
				f.Hashes = d.hashes()
			default:
				keep(&f.Unrecognized, name, d.value(name))
			}
		})
		meta[file] = f
	})
	return meta
}

func (d *decoder) hashes() Hashes {
	d.next()
	off, h := d.pos, Hashes{}
	d.object("hashes", func(name string) {
		off := d.pos
		if h[name] = d.hex("hash"); len(h[name]) == 0 {
			d.fail(off, "hashes: an empty one")
		}
	})
	if len(h) == 0 {
		d.fail(off, "hashes: none")
	}
	return h
}

func (*Targets) required() []string { return []string{"targets"} }

func (t *Targets) decode(d *decoder, name string) bool {
	switch name {
	case "targets":
		t.Targets = map[string]*TargetFile{}
		d.object(name, func(path string) { t.Targets[path] = d.targetFile() })
	case "delegations":
		t.Delegations = d.delegations()
	default:
		return false
	}
	return true
}

func (d *decoder) targetFile() *TargetFile {
	f := new(TargetFile)
	d.fields("target", []string{"length", "hashes"}, func(name string) {
		switch name {
		case "length":
			f.Length = d.atLeast(0, name)
		case "hashes":
			f.Hashes = d.hashes()
		case "custom":
			d.next()
			from := d.pos
			if _, ok := d.value(name).(map[string]any); !ok {
				d.fail(from, "custom: want an object")
			}
			f.Custom = bytes.Clone(d.b[from:d.pos])
		default:
			keep(&f.Unrecognized, name, d.value(name))
		}
	})
	return f
}

func (d *decoder) delegations() *Delegations {
	d.next()
	off, g := d.pos, new(Delegations)
	d.fields("delegations", []string{"keys"}, func(name string) {
		switch name {
		case "keys":
			g.Keys = d.keys()
		case "roles":
			g.Roles = []DelegatedRole{}
			seen := map[string]bool{}
			d.list(name, func() { g.Roles = append(g.Roles, d.delegatedRole(seen)) })
		case "succinct_roles":
			g.SuccinctRoles = d.succinctRoles()
		default:
			keep(&g.Unrecognized, name, d.value(name))
		}
	})
	if (g.Roles == nil) == (g.SuccinctRoles == nil) {
		d.fail(off, "delegations: want one of roles and succinct_roles")
	}
	return g
}

// delegatedRole reads a role whose name is not among those that were seen.
func (d *decoder) delegatedRole(seen map[string]bool) DelegatedRole {
	d.next()
	off := d.pos
	var r DelegatedRole
	d.fields("delegated role", []string{"name", "keyids", "threshold", "terminating"}, func(name string) {
		switch name {
		case "name":
			r.Name = d.string(name)
		case "terminating":
			r.Terminating = d.bool(name)
		case "paths":
			r.Paths = d.strings(name)
		case "path_hash_prefixes":
			r.PathHashPrefixes = d.strings(name)
		default:
			if !d.keyIDs(name, &r.KeyIDs, &r.Threshold) {
				keep(&r.Unrecognized, name, d.value(name))
			}
		}
	})
	switch {
	case r.Name == "" || slices.Contains(TopLevel[:], r.Name):
		d.fail(off, "delegated role: the name %q", r.Name)
	case seen[r.Name]:
		d.fail(off, "delegated role: the name %q twice", r.Name)
	case (r.Paths == nil) == (r.PathHashPrefixes == nil):
		d.fail(off, "delegated role %q: want one of paths and path_hash_prefixes", r.Name)
	}
	seen[r.Name] = true
	return r
}

func (d *decoder) succinctRoles() *SuccinctRoles {
	s := new(SuccinctRoles)
	d.fields("succinct_roles", []string{"keyids", "threshold", "bit_length", "name_prefix"}, func(name string) {
		switch name {
		case "bit_length":
			d.next()
			off := d.pos
			n := d.atLeast(1, name)
			if n > maxBitLength {
				d.fail(off, "bit_length: %d, want 1 to %d", n, maxBitLength)
			}
			s.BitLength = int(n)
		case "name_prefix":
			s.NamePrefix = d.string(name)
		default:
			if !d.keyIDs(name, &s.KeyIDs, &s.Threshold) {
				keep(&s.Unrecognized, name, d.value(name))
			}
		}
	})
	return s
}
