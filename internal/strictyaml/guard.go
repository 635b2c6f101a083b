package strictyaml

import (
	"fmt"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// The limits of a document.
const (
	maxSize  = 1 << 20 // bytes
	maxDepth = 100     // of what is within each other
)

// A placed error says where in a document something is wrong.
type placed struct {
	at  *token.Position
	msg string
}

func (e *placed) Error() string { return fmt.Sprintf("%d:%d: %s", e.at.Line, e.at.Column, e.msg) }

// guard refuses, by its words alone, what the parser behind does not survive or
// what takes more memory than it looks: what refers to itself or to what stands
// elsewhere (anchors, aliases, merges), tags, and deep nesting. A stack that
// overflows ends the program, whoever recovers.
func guard(b []byte) error {
	if len(b) > maxSize {
		return &placed{&token.Position{Line: 1, Column: 1}, fmt.Sprintf("the document has %d bytes: at most %d are read", len(b), maxSize)}
	}
	var blocks []int // columns at which blocks within each other begin
	flow, line := 0, 0
	for _, t := range lexer.Tokenize(string(b)) {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType:
			return &placed{t.Position, "anchors, aliases and tags are not read here: write it out"}
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		}
		first := t.Position.Line != line
		line = t.Position.Line
		if flow == 0 && (first || t.Type == token.SequenceEntryType || t.Type == token.MappingKeyType) {
			for len(blocks) > 0 && blocks[len(blocks)-1] >= t.Position.Column {
				blocks = blocks[:len(blocks)-1]
			}
			blocks = append(blocks, t.Position.Column)
		}
		if flow+len(blocks) > maxDepth {
			return &placed{t.Position, fmt.Sprintf("it is nested more than %d deep", maxDepth)}
		}
	}
	return nil
}
