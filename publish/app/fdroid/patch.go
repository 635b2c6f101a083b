package fdroid

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// mergePatch returns the JSON merge patch (RFC 7396) that makes a value of
// another, and whether there is a difference. Both are compact JSON without
// null; members of the patch are sorted.
func mergePatch(from, to []byte) ([]byte, bool, error) {
	if bytes.Equal(from, to) {
		return nil, false, nil
	}
	if len(from) == 0 || len(to) == 0 || from[0] != '{' || to[0] != '{' {
		return to, true, nil
	}
	var a, b map[string]json.RawMessage
	if err := json.Unmarshal(from, &a); err != nil {
		return nil, false, err
	}
	if err := json.Unmarshal(to, &b); err != nil {
		return nil, false, err
	}
	e := &encoder{b: []byte{'{'}}
	names := maps.Clone(a)
	if names == nil {
		names = b
	} else {
		maps.Copy(names, b)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, had := a[name]
		val, has := b[name]
		switch {
		case !has:
			e.field(name)
			e.b = append(e.b, "null"...)
			continue
		case !had:
			e.field(name)
			e.b = append(e.b, val...)
			continue
		}
		p, differs, err := mergePatch(old, val)
		if err != nil {
			return nil, false, err
		}
		if differs {
			e.field(name)
			e.b = append(e.b, p...)
		}
	}
	e.close('}')
	return e.b, len(e.b) > 2, nil
}
