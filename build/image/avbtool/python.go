package avbtool

import (
	"bytes"
	"fmt"
	"strings"

	"mios/format/avb"
)

// pythonBytes writes bytes as Python does: b'...', or b"..." if that saves
// escaping.
func pythonBytes(v []byte) string {
	quote := byte('\'')
	if bytes.IndexByte(v, '\'') >= 0 && bytes.IndexByte(v, '"') < 0 {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte('b')
	b.WriteByte(quote)
	for _, c := range v {
		switch {
		case c == quote || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(quote)
	return b.String()
}

// pythonValue is a property's value as avbtool prints it: Python's bytes,
// without the b where a single quote follows.
func pythonValue(v []byte) string {
	s := pythonBytes(v)
	if strings.HasPrefix(s, "b'") {
		return s[1:]
	}
	return s
}

// writeUnknown prints a descriptor as avbtool does that it does not know: its
// data as the text of a text.
func writeUnknown(b *strings.Builder, d *avb.UnknownDescriptor) {
	fmt.Fprintf(b, "    Unknown descriptor:\n      Tag:  %d\n", d.Number)
	if len(d.Data) >= 256 {
		fmt.Fprintf(b, "      Data: %d bytes\n", len(d.Data))
		return
	}
	inner := pythonBytes(d.Data)
	text := pythonBytes([]byte(inner))[1:] // all of it is ASCII, so text looks alike
	fmt.Fprintf(b, "      Data: %s (%d bytes)\n", text, len(d.Data))
}
