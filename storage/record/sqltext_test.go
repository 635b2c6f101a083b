package record

import (
	"strings"
	"testing"
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
		if got := numbered(in); got != want {
			t.Errorf("numbered(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestDefine(t *testing.T) {
	const in = `-- a comment; with "quotes
CREATE TABLE "TEXT" (a TEXT, text BIGINT, b BLOB DEFAULT 'BLOB; REAL', c REAL, d BOOLEAN, e INTEGER);; UPDATE "TEXT" SET a = 'TEXT'`
	list := statements(in)
	if len(list) != 2 {
		t.Fatalf("%d statements, want 2", len(list))
	}
	for _, tt := range []struct {
		d    dialect
		want [2]string
	}{
		{(*sqliteDB)(nil), [2]string{
			`CREATE TABLE "TEXT" (a TEXT, text INTEGER, b BLOB DEFAULT 'BLOB; REAL', c REAL, d INTEGER, e INTEGER) STRICT`, `UPDATE "TEXT" SET a = 'TEXT'`}},
		{(*postgresDB)(nil), [2]string{
			`CREATE TABLE "TEXT" (a TEXT COLLATE "C", text BIGINT, b BYTEA DEFAULT 'BLOB; REAL', c DOUBLE PRECISION, d BOOLEAN, e BIGINT)`, `UPDATE "TEXT" SET a = 'TEXT'`}},
	} {
		for i, s := range list {
			if got := tt.d.define(s); got != tt.want[i] {
				t.Errorf("%T: %s, want %s", tt.d, got, tt.want[i])
			}
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
		for _, tok := range lex(in) {
			if tok.text == "" {
				t.Fatalf("an empty token in %q", in)
			}
			if tok.kind == other && tok.text == "?" {
				marks++
			}
			b.WriteString(tok.text)
		}
		if b.String() != in {
			t.Errorf("%q became %q", in, b.String())
		}
		if out := numbered(in); marks == 0 && out != in {
			t.Errorf("%q became %q", in, out)
		}
		for _, s := range statements(in) {
			for _, tok := range s {
				if tok.kind == other && tok.text == ";" {
					t.Errorf("a semicolon in a statement of %q", in)
				}
			}
		}
		tables([]migration{{SQL: in}})
	})
}
