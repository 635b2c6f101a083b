package repo

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"mios"
)

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"Fast Notes":             "fast notes",
		"OpenStreetMap & Räder!": "openstreetmap rader",
		"Größe, GRÖSSE":          "grosse",
		"e\u0301te\u0301 ÉTÉ":    "ete",
		"Łódź Đà Nẵng Æsir":      "lodz da nang aesir",
		"İstanbul":               "istanbul",
		"Ένα ΈΝΑ":                "ενα",
		"Ёлка Йод":               "елка иод",
		"天気予報":                   "天気 気予 予報 報",
		"東京 Metro路線":             "東京 京 metro 路線 線",
		"カレンダー":                  "カレ レン ンダ ダー ー",
		"한국어 입력기":                "한국 국어 어 입력 력기 기",
		"a1b2 v2.0":              "a1b2 v2 0",
		"":                       "",
		" \t\x00 -- ":            "",
		strings.Repeat("x", 99):  strings.Repeat("x", 24),
	} {
		if got := strings.Join(Words(text), " "); got != want {
			t.Errorf("Words(%q) = %q, want %q", text, got, want)
		}
	}
}

// FuzzWords: a word is found by itself, and is good for a file of the catalogue.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"Fast Notes", "Größe", "天気予報 App", "\xff\xfe", "e\u0301", "ǅ", "ﬁ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, w := range Words(text) {
			if w == "" || !utf8.ValidString(w) || strings.ContainsAny(w, " \n") || utf8.RuneCountInString(w) > maxWord {
				t.Errorf("Words(%q) has %q", text, w)
			}
			if again := Words(w); !slices.Contains(again, w) {
				t.Errorf("Words(%q) = %q, want itself", w, again)
			}
		}
	})
}

func TestReadClaims(t *testing.T) {
	fields := map[string]any{}
	for _, c := range []Claim{{"org.example.a", []mios.Digest{{1}}}, {"org.example.b", []mios.Digest{{2}, {3}}}, {"org.example.a", []mios.Digest{{4}}}} {
		SetClaim(fields, c)
	}
	claims, err := ReadClaims(fields)
	if err != nil || len(claims) != 2 || claims["org.example.a"].Signers[0] != (mios.Digest{4}) || len(claims["org.example.b"].Signers) != 2 {
		t.Errorf("ReadClaims = %v, %v", claims, err)
	}
	for name, bad := range map[string]any{
		"a list":      []any{},
		"no signers":  map[string]any{"org.example.a": []any{}},
		"a number":    map[string]any{"org.example.a": []any{int64(1)}},
		"no package":  map[string]any{"app": []any{strings.Repeat("00", 32)}},
		"short":       map[string]any{"org.example.a": []any{"00"}},
		"no list":     map[string]any{"org.example.a": strings.Repeat("00", 32)},
		"null signer": map[string]any{"org.example.a": nil},
	} {
		if claims, err := ReadClaims(map[string]any{ClaimsField: bad}); err == nil {
			t.Errorf("%s: ReadClaims = %v", name, claims)
		}
	}
}
