package strictyaml

import (
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"mios"
)

// Loose reads YAML of strangers into v: fields that nobody knows are passed
// over. What can refer to itself, anchors and aliases, is refused, and so are
// tags. Errors are one line and wrap [mios.ErrInvalid].
func Loose(b []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it is no YAML that can be read (%v): %w", r, mios.ErrInvalid)
		}
	}()
	for _, t := range lexer.Tokenize(string(b)) {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType:
			return fmt.Errorf("%d:%d: anchors, aliases and tags are not read here: %w", t.Position.Line, t.Position.Column, mios.ErrInvalid)
		}
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
