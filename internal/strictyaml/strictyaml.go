// Package strictyaml reads YAML that people write: a field that nobody knows and
// one that is there twice are errors with their line and column.
package strictyaml

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"

	"mios"
)

// Unmarshal reads b into v. Errors wrap [mios.ErrInvalid] and begin with line
// and column: "12:3: …".
func Unmarshal(b []byte, v any) error {
	err := decode(b, v)
	if err == nil {
		return nil
	}
	var y yaml.Error
	if errors.As(err, &y) {
		if t := y.GetToken(); t != nil && t.Position != nil {
			return fmt.Errorf("%d:%d: %s: %w", t.Position.Line, t.Position.Column, y.GetMessage(), mios.ErrInvalid)
		}
	}
	return fmt.Errorf("1:1: %v: %w", err, mios.ErrInvalid)
}

// decode has been seen to panic, as over a tag of nobody's on what should be a
// list.
func decode(b []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it is no YAML that can be read (%v): leave out tags and aliases", r)
		}
	}()
	return yaml.UnmarshalWithOptions(b, v, yaml.Strict())
}
