package tuf

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A decoder reads JSON (RFC 8259) from its start on, as far as canonical JSON
// has it: no fractions or exponents, integers of 64 bits, no name twice in an
// object. After an error, which it keeps, all that it returns is empty.
type decoder struct {
	b     []byte
	pos   int
	depth int
	err   error
}

// fail keeps the first error.
func (d *decoder) fail(off int, format string, args ...any) {
	if d.err == nil {
		d.err = &FormatError{int64(off), fmt.Sprintf(format, args...)}
	}
}

// next skips white space and returns the byte that a value begins with, or 0
// at the end.
func (d *decoder) next() byte {
	if d.err != nil {
		return 0
	}
	for ; d.pos < len(d.b); d.pos++ {
		switch c := d.b[d.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take skips white space and the byte c, or fails.
func (d *decoder) take(c byte, what string) {
	if got := d.next(); got != c || d.pos == len(d.b) {
		d.fail(d.pos, "%s: want %q", what, c)
		return
	}
	d.pos++
}

// enter begins an object or a list.
func (d *decoder) enter(c byte, what string) {
	d.take(c, what)
	if d.depth++; d.depth > MaxDepth {
		d.fail(d.pos-1, "%s: more than %d levels", what, MaxDepth)
	}
}

// more goes on to the next member or element, and tells whether there is one.
func (d *decoder) more(first bool, end byte, what string) bool {
	switch c := d.next(); {
	case d.err != nil:
		return false
	case c == end:
		d.pos++
		d.depth--
		return false
	case first:
		return true
	}
	d.take(',', what)
	return d.err == nil
}

// object calls f for each member, which reads its value. It returns the names
// that there were.
func (d *decoder) object(what string, f func(name string)) map[string]bool {
	seen := map[string]bool{}
	d.enter('{', what)
	for first := true; d.more(first, '}', what); first = false {
		d.next()
		off := d.pos
		name := d.string(what)
		if seen[name] {
			d.fail(off, "%s: %q twice", what, name)
		}
		seen[name] = true
		d.take(':', what)
		if d.err == nil {
			f(name)
		}
	}
	return seen
}

// fields reads an object of which some members must be there.
func (d *decoder) fields(what string, required []string, f func(name string)) {
	d.next()
	off := d.pos
	seen := d.object(what, f)
	for _, name := range required {
		if !seen[name] {
			d.fail(off, "%s: no %q", what, name)
		}
	}
}

// list calls f for each element, which reads it.
func (d *decoder) list(what string, f func()) {
	d.enter('[', what)
	for first := true; d.more(first, ']', what); first = false {
		f()
	}
}

// word reads one of true, false and null.
func (d *decoder) word(word string) bool {
	if d.next(); d.err == nil && len(d.b)-d.pos >= len(word) && string(d.b[d.pos:d.pos+len(word)]) == word {
		d.pos += len(word)
		return true
	}
	return false
}

func (d *decoder) bool(what string) bool {
	if d.word("true") {
		return true
	}
	if !d.word("false") {
		d.fail(d.pos, "%s: want true or false", what)
	}
	return false
}

// int reads an integer, of which there is one spelling.
func (d *decoder) int(what string) int64 {
	d.next()
	from := d.pos
	for d.err == nil && d.pos < len(d.b) && (d.b[d.pos] == '-' || d.b[d.pos] >= '0' && d.b[d.pos] <= '9') {
		d.pos++
	}
	text := string(d.b[from:d.pos])
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text {
		d.fail(from, "%s: want an integer", what)
		return 0
	}
	if d.pos < len(d.b) && (d.b[d.pos] == '.' || d.b[d.pos]|0x20 == 'e') {
		d.fail(from, "%s: want an integer, without fraction or exponent", what)
	}
	return n
}

// atLeast reads an integer that is not below low.
func (d *decoder) atLeast(low int64, what string) int64 {
	d.next()
	off := d.pos
	n := d.int(what)
	if n < low {
		d.fail(off, "%s: %d, want at least %d", what, n, low)
	}
	return n
}

// value reads anything, as string, bool, int64, nil, []any or map[string]any.
func (d *decoder) value(what string) any {
	switch c := d.next(); c {
	case '{':
		o := map[string]any{}
		d.object(what, func(name string) { o[name] = d.value(what) })
		return o
	case '[':
		l := []any{}
		d.list(what, func() { l = append(l, d.value(what)) })
		return l
	case '"':
		return d.string(what)
	case 't', 'f':
		return d.bool(what)
	case 'n':
		if !d.word("null") {
			d.fail(d.pos, "%s: no JSON", what)
		}
		return nil
	}
	return d.int(what)
}

// string reads a string. It is UTF-8, and so is what it escapes.
func (d *decoder) string(what string) string {
	d.take('"', what)
	from := d.pos
	for d.err == nil && d.pos < len(d.b) && d.b[d.pos] != '"' && d.b[d.pos] != '\\' && d.b[d.pos] >= 0x20 {
		d.pos++
	}
	s := d.b[from:d.pos:d.pos]
	for d.err == nil {
		if d.pos == len(d.b) {
			d.fail(d.pos, "%s: a string without an end", what)
			break
		}
		c := d.b[d.pos]
		switch {
		case c == '"':
			d.pos++
			if !utf8.Valid(s) {
				d.fail(from, "%s: no UTF-8", what)
				return ""
			}
			return string(s)
		case c < 0x20:
			d.fail(d.pos, "%s: a control character in a string", what)
		case c == '\\':
			s = d.escape(s, what)
		default:
			s = append(s, c)
			d.pos++
		}
	}
	return ""
}

// short are the escapes of one letter.
var short = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads an escape sequence and appends what it stands for.
func (d *decoder) escape(s []byte, what string) []byte {
	off := d.pos
	if d.pos+1 < len(d.b) {
		if c, ok := short[d.b[d.pos+1]]; ok {
			d.pos += 2
			return append(s, c)
		}
	}
	r := d.unicode()
	if utf16.IsSurrogate(r) {
		r = utf16.DecodeRune(r, d.unicode())
		if r == utf8.RuneError {
			r = -1
		}
	}
	if r < 0 {
		d.fail(off, "%s: a bad escape in a string", what)
		return s
	}
	return utf8.AppendRune(s, r)
}

// unicode reads \uXXXX, or returns -1.
func (d *decoder) unicode() rune {
	if len(d.b)-d.pos < 6 || d.b[d.pos] != '\\' || d.b[d.pos+1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(d.b[d.pos+2:d.pos+6]), 16, 16)
	if err != nil {
		return -1
	}
	d.pos += 6
	return rune(n)
}

// end fails if more than white space is left.
func (d *decoder) end() {
	d.next()
	if d.pos < len(d.b) {
		d.fail(d.pos, "more after the end")
	}
}
