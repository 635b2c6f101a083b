package app

import (
	"fmt"
	"html"
	"strings"
	"unicode"
	"unicode/utf8"

	"mios"
)

// Limits on what people write, in characters.
const (
	maxWho  = 200
	maxWhy  = 4000
	maxNote = 4000
	maxName = 200 // of an app or a version
)

// plain refuses what is no plain text of at most most characters: HTML, which
// one page or another would show as such, and characters that change how the
// text around them reads.
func plain(what, text string, most int) error {
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("%s: it is no UTF-8: %w", what, mios.ErrInvalid)
	case utf8.RuneCountInString(text) > most:
		return fmt.Errorf("%s: %d characters: %w: want at most %d", what, utf8.RuneCountInString(text), mios.ErrInvalid, most)
	}
	for i, r := range text {
		switch {
		case r == '\n' || r == '\t':
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return fmt.Errorf("%s: it has the invisible character %U: %w: take it out", what, r, mios.ErrInvalid)
		case r == '<' && opensTag(text[i+1:]):
			return fmt.Errorf("%s: it has HTML (%.20q): %w: write plain text", what, text[i:], mios.ErrInvalid)
		}
	}
	return nil
}

// opensTag tells whether what follows a "<" makes it the beginning of markup.
func opensTag(rest string) bool {
	rest = strings.TrimLeft(rest, "/!?")
	return rest != "" && (rest[0]|0x20 >= 'a' && rest[0]|0x20 <= 'z' || rest[0] == '-')
}

// withoutHTML is what HTML says, in plain lines. Text without tags stays as it
// is.
func withoutHTML(text string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "<")
		b.WriteString(html.UnescapeString(before))
		if !ok {
			return strings.TrimSpace(b.String())
		}
		tag, after, closed := strings.Cut(rest, ">")
		if !opensTag(rest) || !closed {
			b.WriteByte('<')
			text = rest
			continue
		}
		switch name, _, _ := strings.Cut(strings.ToLower(tag), " "); strings.TrimSuffix(name, "/") {
		case "br", "/p", "/ul", "/ol", "/h1", "/h2", "/h3", "/blockquote", "/div":
			b.WriteByte('\n')
		case "li":
			b.WriteString("\n- ")
		}
		text = after
	}
}
