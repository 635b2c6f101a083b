// Package strictyaml reads YAML that people write: a field that nobody knows and
// one that is there twice are errors with their line and column. Anchors, aliases,
// merges and tags are not read, nor is what is nested more than 100 deep or has
// more than 1 MiB.
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
	if p, ok := errors.AsType[*placed](err); ok {
		return fmt.Errorf("%v: %w", p, mios.ErrInvalid)
	}
	var y yaml.Error
	if errors.As(err, &y) {
		if t := y.GetToken(); t != nil && t.Position != nil {
			return fmt.Errorf("%d:%d: %s: %w", t.Position.Line, t.Position.Column, y.GetMessage(), mios.ErrInvalid)
		}
	}
	return fmt.Errorf("1:1: %v: %w", err, mios.ErrInvalid)
}

// decode has been seen to panic.
func decode(b []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it is no YAML that can be read (%v)", r)
		}
	}()
	if err := guard(b); err != nil {
		return err
	}
	return yaml.UnmarshalWithOptions(b, v, yaml.Strict())
}
