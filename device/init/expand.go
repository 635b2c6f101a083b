package initd

import (
	"fmt"
	"strings"

	"mios"
)

// expand replaces ${name} by the property's value, ${name:-text} by text where
// the property is empty, and $$ by $, as ExpandProps of AOSP's init/util.cpp.
// A property that is not set and has no text for this case is an error.
func expand(s string, get func(string) string) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "$")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		if after, ok := strings.CutPrefix(rest, "$"); ok {
			b.WriteByte('$')
			s = after
			continue
		}
		inner, ok := strings.CutPrefix(rest, "{")
		if !ok {
			return "", fmt.Errorf("expand %q: %w: write ${NAME} or $$", s, mios.ErrInvalid)
		}
		inner, s, ok = strings.Cut(inner, "}")
		if !ok {
			return "", fmt.Errorf("expand: %w: no } behind ${%s", mios.ErrInvalid, inner)
		}
		name, text, _ := strings.Cut(inner, ":-")
		value := get(name)
		if value == "" {
			value = text
		}
		if value == "" {
			return "", fmt.Errorf("expand: property %q: %w", name, mios.ErrNotFound)
		}
		b.WriteString(value)
	}
}
