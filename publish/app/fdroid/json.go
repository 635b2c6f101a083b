package fdroid

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mios"
)

// An encoder appends JSON. Objects get their commas by field: what is written
// first after an opening brace has none.
type encoder struct {
	b []byte
}

// field appends a member's name.
func (e *encoder) field(name string) {
	e.sep()
	e.quote(name)
	e.b = append(e.b, ':')
}

// sep appends a comma, unless an object or a list has just begun.
func (e *encoder) sep() {
	if n := len(e.b); n > 0 && e.b[n-1] != '{' && e.b[n-1] != '[' && e.b[n-1] != ':' {
		e.b = append(e.b, ',')
	}
}

func (e *encoder) open(name string, bracket byte) {
	e.field(name)
	e.b = append(e.b, bracket)
}

func (e *encoder) close(bracket byte) { e.b = append(e.b, bracket) }

// str appends a member that is a string, unless it is empty.
func (e *encoder) str(name, value string) {
	if value != "" {
		e.field(name)
		e.quote(value)
	}
}

// num appends a member that is a number, unless it is 0.
func (e *encoder) num(name string, value int64) {
	if value != 0 {
		e.field(name)
		e.b = strconv.AppendInt(e.b, value, 10)
	}
}

// millis appends a time that is given in seconds.
func (e *encoder) millis(name string, seconds int64) { e.num(name, seconds*1000) }

func (e *encoder) digest(name string, d mios.Digest) {
	e.field(name)
	e.hex(d)
}

func (e *encoder) hex(d mios.Digest) {
	e.b = append(e.b, '"')
	for _, c := range d {
		e.b = append(e.b, digits[c>>4], digits[c&15])
	}
	e.b = append(e.b, '"')
}

// list appends a member that is a list of strings, unless it is empty.
func (e *encoder) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	e.open(name, '[')
	for _, v := range values {
		e.sep()
		e.quote(line.clean(v))
	}
	e.close(']')
}

const digits = "0123456789abcdef"

// plain are the bytes that stand in a JSON string as they are.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// quote appends a string. What is no UTF-8 becomes U+FFFD.
func (e *encoder) quote(s string) {
	b := append(e.b, '"')
	for i := 0; i < len(s); {
		start := i
		for i < len(s) && plain[s[i]] {
			i++
		}
		b = append(b, s[start:i]...)
		if i == len(s) {
			break
		}
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
	}
	e.b = append(b, '"')
}

// keys returns a map's keys, sorted, without those that are no names: with
// characters that [kind.clean] takes out.
func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		if k != "" && line.clean(k) == k {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// text appends a member that is a text by locale, unless it is empty.
func (e *encoder) text(name string, t Text, k kind) {
	if t.empty() {
		return
	}
	e.open(name, '{')
	e.texts(t, k)
	e.close('}')
}

// texts appends the members of a text.
func (e *encoder) texts(t Text, k kind) {
	for _, locale := range keys(t) {
		e.str(locale, k.clean(t[locale]))
	}
}

// empty reports whether there is nothing in any locale.
func (t Text) empty() bool {
	for _, s := range t {
		if strings.TrimSpace(s) != "" {
			return false
		}
	}
	return true
}

// file appends what index-v2 says of a file.
func (e *encoder) file(f File) {
	e.b = append(e.b, `{"name":`...)
	e.quote("/" + f.Name)
	e.digest("sha256", f.Digest)
	e.field("size")
	e.b = strconv.AppendInt(e.b, f.Size, 10)
	e.close('}')
}

func (e *encoder) images(name string, m Images) {
	if len(m) == 0 {
		return
	}
	e.open(name, '{')
	for _, locale := range keys(m) {
		e.field(locale)
		e.file(m[locale])
	}
	e.close('}')
}
