package sqltext_test

import (
	"strings"
	"testing"

	"mios/storage/record/sqltext"
)

func TestNumbered(t *testing.T) {
	for in, want := range map[string]string{
		"SELECT 1":                               "SELECT 1",
		"a = ? AND b = ?":                        "a = $1 AND b = $2",
		"a = '?' AND \"?\" = ? -- ?\n AND c = ?": "a = '?' AND \"?\" = $1 -- ?\n AND c = $2",
		"'it''s ?' || ? /* ? ' */ || ?":          "'it''s ?' || $1 /* ? ' */ || $2",
		"'never closed ?":                        "'never closed ?",
		"(?,?,?,?,?,?,?,?,?,?)":                  "($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
	} {
		if got := sqltext.Numbered(in); got != want {
			t.Errorf("Numbered(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzLex(f *testing.F) {
	for _, s := range []string{"", "CREATE TABLE a (b TEXT); -- c\n", "'", "/*", "--", "'it''s ?' || ?", "\"a\"\"b\" ä ?;;", "ALTER TABLE a RENAME TO b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var b strings.Builder
		marks := 0
		for _, tok := range sqltext.Lex(in) {
			if tok.Text == "" {
				t.Fatalf("an empty token in %q", in)
			}
			if tok.Kind == sqltext.Other && tok.Text == "?" {
				marks++
			}
			b.WriteString(tok.Text)
		}
		if b.String() != in {
			t.Errorf("%q became %q", in, b.String())
		}
		if out := sqltext.Numbered(in); marks == 0 && out != in {
			t.Errorf("%q became %q", in, out)
		}
		for _, s := range sqltext.Statements(in) {
			for _, tok := range s {
				if tok.Kind == sqltext.Other && tok.Text == ";" {
					t.Errorf("a semicolon in a statement of %q", in)
				}
			}
		}
	})
}
