// Package sqltext cuts SQL into pieces, so far as two databases that want it
// written differently need that: placeholders, statements, names of types.
package sqltext

import (
	"strconv"
	"strings"
)

// A Token is a piece of SQL: joined, they are the text again.
type Token struct {
	Kind Kind
	Text string
}

// A Kind is what a token is.
type Kind int

// The kinds of token.
const (
	Other  Kind = iota // one character
	Word               // a keyword, name or number
	Quoted             // '…' or "…"
	Space              // white space, and comments
)

// Lex cuts SQL into tokens. What is not closed ends with the text.
func Lex(sql string) []Token {
	var list []Token
	for len(sql) > 0 {
		kind, n := next(sql)
		list = append(list, Token{kind, sql[:n]})
		sql = sql[n:]
	}
	return list
}

// next returns the kind and length of the first token.
func next(sql string) (Kind, int) {
	until := func(end string, from int) int {
		if i := strings.Index(sql[from:], end); i >= 0 {
			return from + i + len(end)
		}
		return len(sql)
	}
	switch c := sql[0]; {
	case c == '\'' || c == '"': // a quote in it is doubled, and so two tokens
		return Quoted, until(sql[:1], 1)
	case strings.HasPrefix(sql, "--"):
		return Space, until("\n", 2)
	case strings.HasPrefix(sql, "/*"):
		return Space, until("*/", 2)
	case isSpace(c):
		n := 1
		for n < len(sql) && isSpace(sql[n]) {
			n++
		}
		return Space, n
	case isWord(c):
		n := 1
		for n < len(sql) && isWord(sql[n]) {
			n++
		}
		return Word, n
	}
	return Other, 1
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// Numbered replaces each ? by $1, $2 and so on.
func Numbered(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	n := 0
	for _, t := range Lex(query) {
		if t.Kind == Other && t.Text == "?" {
			n++
			t.Text = "$" + strconv.Itoa(n)
		}
		b.WriteString(t.Text)
	}
	return b.String()
}

// Statements cuts a migration at its semicolons, and drops comments.
func Statements(sql string) [][]Token {
	var list [][]Token
	var now []Token
	for _, t := range append(Lex(sql), Token{Other, ";"}) {
		switch {
		case t.Kind == Other && t.Text == ";":
			if len(now) > 0 {
				list = append(list, now)
			}
			now = nil
		case t.Kind != Space:
			now = append(now, t)
		case len(now) > 0: // comments too
			now = append(now, Token{Space, " "})
		}
	}
	return list
}

// Text joins tokens, those of types replaced by the database's own.
func Text(statement []Token, types map[string]string) string {
	var b strings.Builder
	for _, t := range statement {
		if own, ok := types[t.Text]; ok && t.Kind == Word {
			t.Text = own
		}
		b.WriteString(t.Text)
	}
	return strings.TrimSpace(b.String())
}

// Words returns the first n words and names of a statement, names without their
// quotes.
func Words(statement []Token, n int) []string {
	var list []string
	for _, t := range statement {
		if len(list) == n {
			break
		}
		if t.Kind == Word || t.Kind == Quoted {
			list = append(list, strings.Trim(t.Text, `"`))
		}
	}
	return list
}

// Begins tells whether a statement begins with words, in any case.
func Begins(statement []Token, want ...string) bool {
	got := Words(statement, len(want))
	return len(got) == len(want) && strings.EqualFold(strings.Join(got, " "), strings.Join(want, " "))
}

// Defines tells whether a statement says what columns a table has.
func Defines(statement []Token) bool {
	return Begins(statement, "CREATE", "TABLE") || Begins(statement, "ALTER", "TABLE")
}
