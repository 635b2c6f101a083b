package main

import (
	"fmt"
	"strings"
)

// unquoted are the characters that a shell takes as they are, beside letters
// and digits.
const unquoted = "_@%+=:,./-"

// joinWords returns words as a shell takes them, quoted where they must be.
func joinWords(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		plain := func(r rune) bool {
			return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(unquoted, r)
		}
		if out[i] = w; w == "" || strings.ContainsFunc(w, func(r rune) bool { return !plain(r) }) {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'"'"'`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// splitWords takes text apart as a shell does: at spaces outside quotes. In
// single quotes all stands for itself, in double quotes a backslash protects
// itself and the quote.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			if i+1 == len(s) {
				return nil, fmt.Errorf("%q ends in a backslash", s)
			}
			if quote == '"' && s[i+1] != '"' && s[i+1] != '\\' {
				word.WriteByte(c)
				continue
			}
			i++
			word.WriteByte(s[i])
			in = true
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case strings.IndexByte(" \t\r\n", c) >= 0:
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%q: a quote is not closed", s)
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
