// Package lookalike finds names that a person may take for another one: of
// packages, org.examp1e.clock for org.example.clock, and of apps, where letters
// of other alphabets look the same. It points out; a person judges.
package lookalike

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// shapes maps characters to the Latin ones that they look like: a selection of
// Unicode's confusables (UTS #39) that is common in names. Capital letters are
// lower case before they are looked up.
var shapes = map[rune]string{
	// Cyrillic
	'а': "a", 'в': "b", 'е': "e", 'ё': "e", 'к': "k", 'м': "m", 'н': "h", 'о': "o", 'р': "p", 'с': "c", 'т': "t", 'у': "y",
	'х': "x", 'ѕ': "s", 'і': "l", 'ї': "l", 'ј': "j", 'ԁ': "d", 'ԛ': "q", 'ԝ': "w", 'һ': "h", 'ӏ': "l", 'ѵ': "v", 'г': "r", 'ь': "b",
	// Greek
	'α': "a", 'β': "b", 'γ': "y", 'ε': "e", 'ζ': "z", 'η': "n", 'ι': "l", 'κ': "k", 'μ': "u", 'ν': "v", 'ο': "o", 'ό': "o", 'ρ': "p",
	'σ': "o", 'ς': "c", 'τ': "t", 'υ': "u", 'χ': "x", 'ω': "w",
	// Armenian, Cherokee and other alphabets
	'օ': "o", 'ո': "n", 'ս': "u", 'հ': "h", 'ց': "g", 'ɑ': "a", 'ɡ': "g", 'ı': "l", 'ⅼ': "l", 'ℓ': "l", 'ʟ': "l",
	// Latin with marks
	'à': "a", 'á': "a", 'â': "a", 'ã': "a", 'ä': "a", 'å': "a", 'ā': "a", 'ą': "a", 'æ': "ae", 'ç': "c", 'ć': "c", 'č': "c",
	'ď': "d", 'è': "e", 'é': "e", 'ê': "e", 'ë': "e", 'ē': "e", 'ę': "e", 'ě': "e", 'ğ': "g", 'ì': "l", 'í': "l", 'î': "l", 'ï': "l", 'ī': "l",
	'ł': "l", 'ñ': "n", 'ń': "n", 'ň': "n", 'ò': "o", 'ó': "o", 'ô': "o", 'õ': "o", 'ö': "o", 'ø': "o", 'ō': "o", 'ř': "r",
	'ś': "s", 'š': "s", 'ş': "s", 'ť': "t", 'ù': "u", 'ú': "u", 'û': "u", 'ü': "u", 'ū': "u", 'ů': "u", 'ý': "y", 'ÿ': "y", 'ź': "z", 'ż': "z", 'ž': "z",
	'ß': "ss", 'œ': "oe",
	// digits and signs
	'0': "o", '1': "l", 'i': "l", '|': "l", '!': "l", '5': "s", '$': "s", '3': "e", '@': "a", '8': "b",
}

// pairs are letters that look like one beside each other.
var pairs = strings.NewReplacer("rn", "m", "vv", "w", "cl", "d")

// Skeleton returns what s looks like: names with the same one are hard to tell
// apart. Space, hyphens, underscores and what nobody sees are left out.
func Skeleton(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 0xff01 && r <= 0xff5e { // fullwidth forms of ASCII
			r -= 0xff01 - '!'
		}
		r = unicode.ToLower(r)
		switch to, ok := shapes[r]; {
		case ok:
			b.WriteString(to)
		case unicode.IsSpace(r), r == '-', r == '_', !unicode.IsGraphic(r), unicode.Is(unicode.Mn, r):
		default:
			b.WriteRune(r)
		}
	}
	return pairs.Replace(b.String())
}

// Maximal lengths of what is compared, in bytes: the work grows with their
// product.
const maxLen = 256

// Like says why a person may take the name a for b, or "". The names are
// different ones.
func Like(a, b string) string {
	if len(a) > maxLen || len(b) > maxLen || a == b {
		return ""
	}
	sa, sb := Skeleton(a), Skeleton(b)
	switch {
	case sa == "" || sb == "":
		return ""
	case sa == sb:
		return "looks the same"
	}
	// One letter in six may differ, at most two: short names are too often alike.
	n := min(utf8.RuneCountInString(sa), utf8.RuneCountInString(sb))
	most := min(n/6, 2)
	if most > 0 && within(sa, sb, most) {
		return "differs in a letter or two"
	}
	return ""
}

// within tells whether at most most insertions, deletions, replacements and
// swaps of neighbours make b of a (the optimal string alignment distance).
func within(a, b string, most int) bool {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) > most || len(y)-len(x) > most {
		return false
	}
	var rows [3][]int // of the one before the last, the last, and this one
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
	}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i, r := range x {
		before, last, row := rows[0], rows[1], rows[2]
		row[0] = i + 1
		best := row[0]
		for j, s := range y {
			cost := 1
			if r == s {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && r == y[j-1] && x[i-1] == s {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
			best = min(best, row[j+1])
		}
		if best > most {
			return false
		}
		rows[0], rows[1], rows[2] = last, row, before
	}
	return rows[1][len(y)] <= most
}
