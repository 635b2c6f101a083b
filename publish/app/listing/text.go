package listing

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A textKind says what a text must be.
type textKind struct {
	set   func(*Locale, string)
	max   int  // characters
	lines bool // several are allowed
	html  bool // of the tags in Tags
	url   bool
}

// texts are the text files of a locale, by their names.
var texts = map[string]*textKind{
	"title.txt":             {max: MaxTitle, set: func(l *Locale, s string) { l.Title = s }},
	"short_description.txt": {max: MaxShort, set: func(l *Locale, s string) { l.Short = s }},
	"full_description.txt":  {max: MaxFull, lines: true, html: true, set: func(l *Locale, s string) { l.Full = s }},
	"video.txt":             {max: 500, url: true, set: func(l *Locale, s string) { l.Video = s }},
}

// text reads a text file. One without a text is none, and no problem.
func (r *reader) text(name string, k *textKind) (string, bool) {
	b, err := r.read(name, maxText)
	if err != nil {
		r.refuse(name, "", "It cannot be read: %v.", err)
		return "", false
	}
	s := strings.TrimPrefix(string(b), "\ufeff")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.TrimSpace(s)
	if s == "" {
		return "", false
	}
	if problem := k.check(s); problem != "" {
		r.refuse(name, "", "%s.", problem)
		return "", false
	}
	return s, true
}

// check says what is wrong with a text, or "".
func (k *textKind) check(s string) string {
	if !utf8.ValidString(s) {
		return "It is not in UTF-8"
	}
	if problem := characters(s, k.lines); problem != "" {
		return problem
	}
	if n := utf8.RuneCountInString(s); n > k.max {
		return fmt.Sprintf("It has %d characters, at most %d are allowed", n, k.max)
	}
	if k.url {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(s, " <>\"'") {
			return "It is no address that begins with https://"
		}
		return ""
	}
	if k.html {
		return checkHTML(s)
	}
	if at := tagAt(s); at >= 0 {
		return fmt.Sprintf("HTML at %q: only the full description may have some", excerpt(s[at:]))
	}
	return ""
}

// characters says which character must not be in a text, or "". Characters that
// turn around what follows them can make a text look like another one: overrides
// are refused, isolates must end in their line.
func characters(s string, lines bool) string {
	for i, line := range strings.Split(s, "\n") {
		if i > 0 && !lines {
			return "It has more than one line"
		}
		isolates := 0
		for _, c := range line {
			switch {
			case c == '\t' && lines:
			case c >= 0x202a && c <= 0x202e:
				return fmt.Sprintf("Line %d has the invisible character U+%04X, which turns text around", i+1, c)
			case c >= 0x2066 && c <= 0x2068:
				isolates++
			case c == 0x2069:
				isolates--
			case unicode.Is(unicode.Cc, c), unicode.Is(unicode.Co, c), c&0xfffe == 0xfffe, c >= 0xfdd0 && c <= 0xfdef, c == 0x2028, c == 0x2029, c == 0xfeff:
				return fmt.Sprintf("Line %d has the character U+%04X, which is none to be shown", i+1, c)
			}
			if isolates < 0 {
				break
			}
		}
		if isolates != 0 {
			return fmt.Sprintf("Line %d has an isolate (U+2066 to U+2069) that does not begin or end in it", i+1)
		}
	}
	return ""
}

// excerpt is the beginning of a text.
func excerpt(s string) string {
	n := 0
	for i := range s {
		if n++; n > 24 {
			return s[:i] + "…"
		}
	}
	return s
}
