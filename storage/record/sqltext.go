package record

import (
	"strconv"
	"strings"
)

// A token is a piece of SQL: joined, they are the text again.
type token struct {
	kind tokenKind
	text string
}

type tokenKind int

const (
	other  tokenKind = iota // one character
	word                    // a keyword, name or number
	quoted                  // '…' or "…"
	space                   // white space, and comments
)

// lex cuts SQL into tokens. What is not closed ends with the text.
func lex(sql string) []token {
	var list []token
	for len(sql) > 0 {
		kind, n := next(sql)
		list = append(list, token{kind, sql[:n]})
		sql = sql[n:]
	}
	return list
}

// next returns the kind and length of the first token.
func next(sql string) (tokenKind, int) {
	until := func(end string, from int) int {
		if i := strings.Index(sql[from:], end); i >= 0 {
			return from + i + len(end)
		}
		return len(sql)
	}
	switch c := sql[0]; {
	case c == '\'' || c == '"': // a quote in it is doubled, and so two tokens
		return quoted, until(sql[:1], 1)
	case strings.HasPrefix(sql, "--"):
		return space, until("\n", 2)
	case strings.HasPrefix(sql, "/*"):
		return space, until("*/", 2)
	case isSpace(c):
		n := 1
		for n < len(sql) && isSpace(sql[n]) {
			n++
		}
		return space, n
	case isWord(c):
		n := 1
		for n < len(sql) && isWord(sql[n]) {
			n++
		}
		return word, n
	}
	return other, 1
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// numbered replaces each ? by $1, $2 and so on.
func numbered(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	n := 0
	for _, t := range lex(query) {
		if t.kind == other && t.text == "?" {
			n++
			t.text = "$" + strconv.Itoa(n)
		}
		b.WriteString(t.text)
	}
	return b.String()
}

// statements cuts a migration at its semicolons, and drops comments.
func statements(sql string) [][]token {
	var list [][]token
	var now []token
	for _, t := range append(lex(sql), token{other, ";"}) {
		switch {
		case t.kind == other && t.text == ";":
			if len(now) > 0 {
				list = append(list, now)
			}
			now = nil
		case t.kind != space:
			now = append(now, t)
		case len(now) > 0: // comments too
			now = append(now, token{space, " "})
		}
	}
	return list
}

// text joins tokens, those of types replaced by the database's own.
func text(statement []token, types map[string]string) string {
	var b strings.Builder
	for _, t := range statement {
		if own, ok := types[t.text]; ok && t.kind == word {
			t.text = own
		}
		b.WriteString(t.text)
	}
	return strings.TrimSpace(b.String())
}

// words returns the first n words of a statement, in upper case but for names
// in lower case, which stay.
func words(statement []token, n int) []string {
	var list []string
	for _, t := range statement {
		if len(list) == n {
			break
		}
		if t.kind == word || t.kind == quoted {
			list = append(list, strings.Trim(t.text, `"`))
		}
	}
	return list
}

// begins tells whether a statement begins with words, in any case.
func begins(statement []token, want ...string) bool {
	got := words(statement, len(want))
	return len(got) == len(want) && strings.EqualFold(strings.Join(got, " "), strings.Join(want, " "))
}

// defines tells whether a statement says what columns a table has.
func defines(statement []token) bool {
	return begins(statement, "CREATE", "TABLE") || begins(statement, "ALTER", "TABLE")
}
