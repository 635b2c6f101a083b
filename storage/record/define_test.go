package record

import (
	"testing"

	"mios/storage/record/sqltext"
)

func TestDefine(t *testing.T) {
	const in = `-- a comment; with "quotes
CREATE TABLE "TEXT" (a TEXT, text BIGINT, b BLOB DEFAULT 'BLOB; REAL', c REAL, d BOOLEAN, e INTEGER);; UPDATE "TEXT" SET a = 'TEXT'`
	list := sqltext.Statements(in)
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
