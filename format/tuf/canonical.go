package tuf

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Canonical returns the canonical form of a JSON text, the bytes that
// signatures and key identifiers are made over: OLPC's canonical JSON
// (http://wiki.laptop.org/go/Canonical_JSON), in which names are sorted, strings
// escape \ and " alone, and numbers are integers.
func Canonical(b []byte) ([]byte, error) {
	v, err := parseValue(b)
	if err != nil {
		return nil, err
	}
	return canonical(make([]byte, 0, len(b)), v)
}

func parseValue(b []byte) (any, error) {
	if len(b) > MaxSize {
		return nil, &FormatError{0, fmt.Sprintf("%d bytes, want at most %d", len(b), MaxSize)}
	}
	d := &decoder{b: b}
	v := d.value("JSON")
	d.end()
	return v, d.err
}

// raw is JSON that keeps its bytes in a file.
type raw []byte

// canonical appends the canonical form of v.
func canonical(b []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case string:
		return canonicalString(b, v), nil
	case raw:
		in, err := parseValue(v)
		if err != nil {
			return nil, err
		}
		return canonical(b, in)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = canonical(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(canonicalString(b, name), ':')
			if b, err = canonical(b, v[name]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return nil, fmt.Errorf("tuf: a %T has no canonical form", v)
}

func canonicalString(b []byte, s string) []byte {
	b = append(b, '"')
	for {
		i := strings.IndexAny(s, `"\`)
		if i < 0 {
			return append(append(b, s...), '"')
		}
		b = append(append(b, s[:i]...), '\\', s[i])
		s = s[i+1:]
	}
}
