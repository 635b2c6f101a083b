package tuf

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"time"
)

// Bytes returns the file: JSON without white space, names sorted. It does not
// check what [Parse] does; a nil pointer becomes null.
func (m *Metadata[T]) Bytes() ([]byte, error) {
	o := object(m.Unrecognized)
	o["signed"] = tree(m.signed())
	list := []any{}
	for _, s := range m.Signatures {
		so := object(s.Unrecognized)
		so["keyid"], so["sig"] = s.KeyID, hex.EncodeToString(s.Sig)
		list = append(list, so)
	}
	o["signatures"] = list
	return json.Marshal(o)
}

// Canonical returns the bytes that are signed: the canonical form of the signed
// part.
func (m *Metadata[T]) Canonical() ([]byte, error) { return canonical(nil, tree(m.signed())) }

// MarshalJSON implements [json.Marshaler].
func (r raw) MarshalJSON() ([]byte, error) { return r, nil }

// object returns an object with the members that nobody knows, for the others
// to be put in.
func object(unrecognized map[string]any) map[string]any {
	o := make(map[string]any, len(unrecognized)+8)
	maps.Copy(o, unrecognized)
	return o
}

func tree(s signed) map[string]any {
	h := s.head()
	o := object(h.Unrecognized)
	o["_type"] = s.role()
	o["spec_version"] = h.SpecVersion
	o["version"] = h.Version
	o["expires"] = h.Expires.UTC().Format(time.RFC3339Nano)
	s.encode(o)
	return o
}

func (r *Root) encode(o map[string]any) {
	o["consistent_snapshot"] = r.ConsistentSnapshot
	o["keys"] = keysTree(r.Keys)
	roles := map[string]any{}
	for name, k := range r.Roles {
		if roles[name] = nil; k != nil {
			roles[name] = roleTree(k.Unrecognized, k.KeyIDs, k.Threshold)
		}
	}
	o["roles"] = roles
}

func keysTree(keys map[string]*Key) map[string]any {
	o := map[string]any{}
	for id, k := range keys {
		o[id] = k.tree()
	}
	return o
}

func roleTree(unrecognized map[string]any, ids []string, threshold int) map[string]any {
	o := object(unrecognized)
	o["keyids"], o["threshold"] = stringsTree(ids), threshold
	return o
}

func stringsTree(list []string) []any {
	l := make([]any, len(list))
	for i, s := range list {
		l[i] = s
	}
	return l
}

func (t *Timestamp) encode(o map[string]any) { o["meta"] = metaTree(t.Meta) }

func (s *Snapshot) encode(o map[string]any) { o["meta"] = metaTree(s.Meta) }

func metaTree(meta map[string]*MetaFile) map[string]any {
	o := map[string]any{}
	for name, f := range meta {
		if o[name] = nil; f == nil {
			continue
		}
		fo := object(f.Unrecognized)
		fo["version"] = f.Version
		if f.Length != 0 {
			fo["length"] = f.Length
		}
		if len(f.Hashes) != 0 {
			fo["hashes"] = f.Hashes.tree()
		}
		o[name] = fo
	}
	return o
}

func (h Hashes) tree() map[string]any {
	o := map[string]any{}
	for name, sum := range h {
		o[name] = hex.EncodeToString(sum)
	}
	return o
}

func (t *Targets) encode(o map[string]any) {
	targets := map[string]any{}
	for name, f := range t.Targets {
		if targets[name] = nil; f == nil {
			continue
		}
		fo := object(f.Unrecognized)
		fo["length"], fo["hashes"] = f.Length, f.Hashes.tree()
		if f.Custom != nil {
			fo["custom"] = raw(f.Custom)
		}
		targets[name] = fo
	}
	o["targets"] = targets
	if t.Delegations != nil {
		o["delegations"] = t.Delegations.tree()
	}
}

func (g *Delegations) tree() map[string]any {
	o := object(g.Unrecognized)
	o["keys"] = keysTree(g.Keys)
	if g.Roles != nil {
		list := make([]any, len(g.Roles))
		for i, r := range g.Roles {
			ro := roleTree(r.Unrecognized, r.KeyIDs, r.Threshold)
			ro["name"], ro["terminating"] = r.Name, r.Terminating
			if r.Paths != nil {
				ro["paths"] = stringsTree(r.Paths)
			}
			if r.PathHashPrefixes != nil {
				ro["path_hash_prefixes"] = stringsTree(r.PathHashPrefixes)
			}
			list[i] = ro
		}
		o["roles"] = list
	}
	if s := g.SuccinctRoles; s != nil {
		so := roleTree(s.Unrecognized, s.KeyIDs, s.Threshold)
		so["bit_length"], so["name_prefix"] = s.BitLength, s.NamePrefix
		o["succinct_roles"] = so
	}
	return o
}
