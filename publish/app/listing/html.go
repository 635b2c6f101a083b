package listing

import (
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
)

// Tags are the elements that a full description may have: those that F-Droid's
// and Play's clients show. They have no attributes, but for a's href, whose
// address is https, http or mailto.
var Tags = []string{"a", "b", "big", "blockquote", "br", "em", "i", "li", "ol", "p", "s", "small", "strike", "strong", "sub", "sup", "tt", "u", "ul"}

// open are tags that need no end: br has none, and the others end where the next
// one begins or what they are in ends.
var open = []string{"br", "li", "p"}

// A token is a tag or the text before one.
type token struct {
	text string
	tag  string // "" of text
	end  bool
	href string
}

// tagAt returns where in a text something that a browser takes for a tag begins,
// or -1.
func tagAt(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '<' && (isLetter(s[i+1]) || strings.IndexByte("/!?", s[i+1]) >= 0) {
			return i
		}
	}
	return -1
}

// next takes the first token off s. The error is a sentence.
func next(s string) (t token, rest string, err error) {
	at := tagAt(s)
	if at != 0 {
		if at < 0 {
			at = len(s)
		}
		return token{text: s[:at]}, s[at:], nil
	}
	inside, rest, ok := strings.Cut(s[1:], ">")
	if !ok {
		return t, "", fmt.Errorf("the tag %q does not end", excerpt(s))
	}
	inside, t.end = strings.CutPrefix(inside, "/")
	inside = strings.TrimSuffix(inside, "/")
	name, attrs, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(inside, "\n", " ")), " ")
	t.tag = strings.ToLower(name)
	attrs = strings.TrimSpace(attrs)
	switch {
	case !slices.Contains(Tags, t.tag):
		return t, "", fmt.Errorf("the tag <%s> is not allowed: the allowed ones are %s", excerpt(name), strings.Join(Tags, ", "))
	case t.tag == "a" && !t.end:
		if t.href, ok = href(attrs); !ok {
			return t, "", fmt.Errorf("%q: a link has one href in quotes, to an address of https, http or mailto", excerpt(s))
		}
	case attrs != "":
		return t, "", fmt.Errorf("the tag %q has attributes", excerpt(s))
	}
	return t, rest, nil
}

// href reads the only attribute of a link.
func href(attrs string) (string, bool) {
	name, value, _ := strings.Cut(attrs, "=")
	value = strings.TrimSpace(value)
	if strings.ToLower(strings.TrimSpace(name)) != "href" || len(value) < 2 {
		return "", false
	}
	quote := value[0]
	if quote != '"' && quote != '\'' || strings.IndexByte(value[1:], quote) != len(value)-2 {
		return "", false
	}
	u, err := url.Parse(html.UnescapeString(value[1 : len(value)-1]))
	if err != nil || u.User != nil {
		return "", false
	}
	switch u.Scheme {
	case "https", "http":
		return u.String(), u.Hostname() != ""
	case "mailto":
		return u.String(), u.Opaque != "" && !strings.ContainsAny(u.Opaque, "<>\"'")
	}
	return "", false
}

// walk calls yield with the tokens of a description, in which all tags are
// allowed and nested.
func walk(s string, yield func(token)) error {
	var stack []string
	for s != "" {
		t, rest, err := next(s)
		if err != nil {
			return err
		}
		s = rest
		switch {
		case t.tag == "" || t.tag == "br":
			if t.tag == "" {
				if problem := characters(html.UnescapeString(t.text), true); problem != "" {
					return fmt.Errorf("%q: %s", excerpt(t.text), problem)
				}
			} else if t.end {
				return fmt.Errorf("</br> is no tag")
			}
		case t.end:
			for len(stack) > 0 && stack[len(stack)-1] != t.tag && slices.Contains(open, stack[len(stack)-1]) {
				stack = stack[:len(stack)-1]
			}
			if len(stack) == 0 || stack[len(stack)-1] != t.tag {
				return fmt.Errorf("</%s> ends nothing that is open", t.tag)
			}
			stack = stack[:len(stack)-1]
		default:
			if n := len(stack); n > 0 && stack[n-1] == t.tag && slices.Contains(open, t.tag) {
				stack = stack[:n-1]
			}
			if stack = append(stack, t.tag); len(stack) > 16 {
				return fmt.Errorf("tags are nested deeper than 16")
			}
		}
		yield(t)
	}
	for _, tag := range stack {
		if !slices.Contains(open, tag) {
			return fmt.Errorf("<%s> is never ended", tag)
		}
	}
	return nil
}

// checkHTML says what is wrong with a full description, or "".
func checkHTML(s string) string {
	if err := walk(s, func(token) {}); err != nil {
		return "HTML: " + err.Error()
	}
	return ""
}

// HTML returns a full description, or any text of a listing, as HTML that can
// stand in a page: the allowed tags, links that pass nothing on, the ends of
// lines as <br>. A text that [Read] would refuse is shown with all tags as
// text.
func HTML(s string) string {
	var b strings.Builder
	err := walk(s, func(t token) {
		switch {
		case t.tag == "":
			b.WriteString(strings.ReplaceAll(html.EscapeString(html.UnescapeString(t.text)), "\n", "<br>\n"))
		case t.end:
			b.WriteString("</" + t.tag + ">")
		case t.tag == "a":
			b.WriteString(`<a href="` + html.EscapeString(t.href) + `" rel="nofollow noopener noreferrer">`)
		default:
			b.WriteString("<" + t.tag + ">")
		}
	})
	if err != nil {
		return strings.ReplaceAll(html.EscapeString(s), "\n", "<br>\n")
	}
	return b.String()
}
