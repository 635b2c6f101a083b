package fdroid

import (
	"net/url"
	"strings"
	"unicode"
)

// A kind is what clients do with a text.
type kind int

const (
	line kind = iota // shown as it is, in one line
	html             // a description: shown as HTML, with its lines
	text             // shown as it is, with its lines
)

// clean returns a text without what would let it look like something else, or
// break what shows it: control characters but tabs and newlines, the characters
// that turn the direction of what follows, and, in descriptions, tags that
// fdroidserver's lint forbids, which become text.
func (k kind) clean(s string) string {
	if k == line {
		s = strings.Trim(s, "\n")
	}
	if !k.ascii(s) && strings.ContainsFunc(s, k.bad) {
		s = strings.Map(k.mapping, s)
	}
	if k == html && strings.Contains(s, "<") {
		s = escapeTags(s)
	}
	return s
}

// ascii reports whether a text is of plain characters only, as most are.
func (k kind) ascii(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 0x20 || c >= 0x7f) && (c != '\n' || k == line) {
			return false
		}
	}
	return true
}

func (k kind) bad(r rune) bool { return k.mapping(r) != r }

// mapping is what becomes of a character: -1 nothing.
func (k kind) mapping(r rune) rune {
	switch {
	case r >= 0x20 && r < 0x7f:
		return r
	case r == '\n' || r == '\t':
		if k == line {
			return ' '
		}
		return r
	case r == '\u2028' || r == '\u2029':
		if k == line {
			return ' '
		}
		return '\n'
	case unicode.IsControl(r), turns(r), r == '\ufeff':
		return -1
	}
	return r
}

// turns reports whether a character changes the direction of those that follow
// it (Unicode UAX 9): embeddings, overrides and isolates. The marks that only
// stand between, U+200E, U+200F and U+061C, do not.
func turns(r rune) bool { return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 }

// forbidden are the tags that fdroidserver's lint refuses in a description.
var forbidden = []string{
	"applet", "base", "body", "button", "embed", "form", "head", "html", "iframe", "img", "input", "link",
	"object", "picture", "script", "source", "style", "svg", "video",
}

// escapeTags turns the < of forbidden tags, and of tags that do something by
// themselves, into text.
func escapeTags(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			return b.String() + s
		}
		b.WriteString(s[:i])
		s = s[i:]
		if dangerous(s) {
			b.WriteString("&lt;")
		} else {
			b.WriteByte('<')
		}
		s = s[1:]
	}
}

// dangerous reports whether a text that begins with < begins with a tag that
// must not be one.
func dangerous(s string) bool {
	end := strings.IndexByte(s, '>')
	if end < 0 {
		end = len(s)
	}
	tag := strings.ToLower(s[1:end])
	name := strings.TrimLeft(tag, "/ \t\n!?")
	for _, f := range forbidden {
		if strings.HasPrefix(name, f) && (len(name) == len(f) || !isLetter(name[len(f)])) {
			return true
		}
	}
	// Attributes that run or load something.
	return strings.Contains(tag, "javascript:") || strings.Contains(tag, "data:") || handler(tag)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

// handler reports whether a tag has an attribute such as onclick.
func handler(tag string) bool {
	for field := range strings.FieldsFuncSeq(tag, func(r rune) bool { return strings.ContainsRune(" \t\n/\"'", r) }) {
		if name, _, ok := strings.Cut(field, "="); ok && strings.HasPrefix(name, "on") {
			return true
		}
	}
	return false
}

// link returns a URL that a client may open, or "": one of the web. Anything
// else would start another app, with what the developer likes.
func link(s string) string {
	s = strings.TrimSpace(s)
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return s
}
