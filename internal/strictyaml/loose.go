package strictyaml

import (
	"fmt"

	"github.com/goccy/go-yaml"

	"mios"
)

// Loose reads YAML of strangers into v: fields that nobody knows are passed
// over. What [Unmarshal] refuses to follow it refuses too. Errors are one line and
// wrap [mios.ErrInvalid].
func Loose(b []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it is no YAML that can be read (%v): %w", r, mios.ErrInvalid)
		}
	}()
	if err := guard(b); err != nil {
		return fmt.Errorf("%w: %w", err, mios.ErrInvalid)
	}
	if err := yaml.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %s", mios.ErrInvalid, firstLine(err.Error()))
	}
	return nil
}

func firstLine(s string) string {
	for i := range len(s) {
		if s[i] == '\n' {
			return s[:i]
		}
	}
	return s
}
