package listing

import "strings"

// renamed are languages under names that ISO 639 has given up, as old
// Androids and Play use them.
var renamed = map[string]string{"iw": "he", "in": "id", "ji": "yi", "tl": "fil"}

// Normalize returns a locale as BCP 47 writes it: language, script, region and
// variants ("zh-Hans-CN", "es-419"). It understands Android's names of resource
// folders ("pt-rBR") and underscores. What is no locale is not ok.
func Normalize(s string) (tag string, ok bool) {
	if len(s) > 35 {
		return "", false
	}
	parts := strings.Split(strings.ReplaceAll(s, "_", "-"), "-")
	lang := strings.ToLower(parts[0])
	if n := len(lang); n < 2 || n > 3 || !only(lang, isLetter) {
		return "", false
	}
	if to, old := renamed[lang]; old {
		lang = to
	}
	out, place := []string{lang}, 0 // 1 after a script, 2 after a region, 3 after a variant
	for _, p := range parts[1:] {
		if len(p) == 3 && p[0] == 'r' && len(parts) == 2 && only(p[1:], isUpper) { // pt-rBR
			p = p[1:]
		}
		switch n := len(p); {
		case place < 1 && n == 4 && only(p, isLetter):
			p, place = strings.ToUpper(p[:1])+strings.ToLower(p[1:]), 1
		case place < 2 && (n == 2 && only(p, isLetter) || n == 3 && only(p, isDigit)):
			p, place = strings.ToUpper(p), 2
		case (n >= 5 && n <= 8 || n == 4 && isDigit(p[0])) && only(p, func(c byte) bool { return isLetter(c) || isDigit(c) }):
			p, place = strings.ToLower(p), 3
		default:
			return "", false
		}
		out = append(out, p)
	}
	return strings.Join(out, "-"), true
}

func only(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isUpper(c byte) bool  { return c >= 'A' && c <= 'Z' }
func isLetter(c byte) bool { return isUpper(c) || c >= 'a' && c <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
