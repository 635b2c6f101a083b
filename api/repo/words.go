package repo

import (
	"strings"
	"unicode"
)

// maxWord bounds a word of the catalogue's search, in runes.
const maxWord = 24

// Words returns the words of a text as the catalogue's search has them: in lower
// case, without accents, each once, in the order of the text. Chinese, Japanese and Korean,
// which write no spaces between words, become overlapping pairs of characters, and the
// last one of a run alone.
func Words(text string) []string {
	var list []string
	seen := map[string]bool{}
	add := func(w []rune) {
		if s := string(w[:min(len(w), maxWord)]); s != "" && !seen[s] {
			seen[s] = true
			list = append(list, s)
		}
	}
	var word, run []rune
	flush := func() {
		add(word)
		for i := range run {
			add(run[i:min(i+2, len(run))])
		}
		word, run = nil, nil
	}
	for _, r := range text {
		r = unicode.ToLower(r)
		switch {
		case unicode.Is(unicode.Mn, r): // an accent of its own
		case isIdeograph(r):
			if word != nil {
				flush()
			}
			run = append(run, r)
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if run != nil {
				flush()
			}
			word = append(word, fold(r)...)
		default:
			flush()
		}
	}
	flush()
	return list
}

func isIdeograph(r rune) bool {
	return r >= 0x2e80 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) || r == 'ー'
}

// plain are the letters that are found by the first of their line, which may be two.
var plain = []struct{ to, from string }{
	{"a", "àáâãäåāăąǎǟǡǻȁȃȧḁạảấầẩẫậắằẳẵặ"}, {"b", "ḃḅḇ"}, {"c", "çćĉċčḉ"}, {"d", "ďđðḋḍḏḑḓ"},
	{"e", "èéêëēĕėęěȅȇȩḕḗḙḛḝẹẻẽếềểễệ"}, {"f", "ḟ"}, {"g", "ĝğġģǥǧǵḡ"}, {"h", "ĥħȟḣḥḧḩḫẖ"},
	{"i", "ìíîïĩīĭįıǐȉȋḭḯỉị"}, {"j", "ĵǰ"}, {"k", "ķǩḱḳḵ"}, {"l", "ĺļľŀłḷḹḻḽ"}, {"m", "ḿṁṃ"}, {"n", "ñńņňŉǹṅṇṉṋ"},
	{"o", "òóôõöøōŏőơǒǫǭǿȍȏȫȭȯȱṍṏṑṓọỏốồổỗộớờởỡợ"}, {"p", "ṕṗ"}, {"r", "ŕŗřȑȓṙṛṝṟ"}, {"s", "śŝşšșṡṣṥṧṩ"},
	{"t", "ţťŧțṫṭṯṱẗ"}, {"u", "ùúûüũūŭůűųưǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữự"}, {"v", "ṽṿ"}, {"w", "ŵẁẃẅẇẉẘ"}, {"x", "ẋẍ"},
	{"y", "ýÿŷȳẏẙỳỵỷỹ"}, {"z", "źżžẑẓẕ"}, {"ss", "ß"}, {"ae", "æǽǣ"}, {"oe", "œ"}, {"th", "þ"},
	{"α", "ά"}, {"ε", "έ"}, {"η", "ή"}, {"ι", "ίϊΐ"}, {"ο", "ό"}, {"υ", "ύϋΰ"}, {"ω", "ώ"}, {"σ", "ς"},
	{"е", "ёѐ"}, {"и", "йѝ"}, {"і", "ї"}, {"г", "ґѓ"}, {"к", "ќ"}, {"у", "ў"},
}

// fold returns a lower-case letter without its accents.
func fold(r rune) []rune {
	if r >= 0x80 {
		for _, p := range plain {
			if strings.ContainsRune(p.from, r) {
				return []rune(p.to)
			}
		}
	}
	return []rune{r}
}
