// Package recordtest holds what both kinds of [record.DB] must do.
package recordtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"mios"
	"mios/storage/record"
)

// Run tests databases whose URLs fresh makes, of empty ones.
func Run(t *testing.T, fresh func(t *testing.T) string) {
	for name, test := range map[string]func(t *testing.T, url string){
		"Values": values, "Changes": changes, "Errors": failures, "Hidden": hidden, "Rows": openRows, "View": view, "Concurrent": concurrent,
		"Migrate": migrate, "MigrateAtOnce": migrateAtOnce, "Lock": lock, "Dump": dump, "Panic": panics, "Text": texts,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// Open opens a database for a test, and closes it after.
func Open(t *testing.T, url string) *record.DB {
	t.Helper()
	db, err := record.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// schema is portable SQL of all kinds that docs/storage.md allows.
var schema = fstest.MapFS{
	"0001_first.sql": {Data: []byte(`
-- What; 'follows' is a comment; with semicolons.
CREATE TABLE things (
	id BIGINT PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	content BLOB,
	good BOOLEAN NOT NULL DEFAULT FALSE,
	weight REAL CHECK (weight >= 0), /* grams; not kilograms */
	note TEXT NOT NULL DEFAULT 'it''s; a "note"?'
);
CREATE INDEX things_good ON things (good, name);
`)},
	"0002_parts.sql": {Data: []byte(`
CREATE TABLE IF NOT EXISTS parts (
	thing BIGINT NOT NULL REFERENCES things (id) ON DELETE RESTRICT,
	number INTEGER NOT NULL,
	PRIMARY KEY (thing, number)
);
CREATE TABLE old (a TEXT);
ALTER TABLE old RENAME TO renamed;
ALTER TABLE renamed ADD COLUMN b TEXT;
CREATE TABLE gone (a TEXT);
DROP TABLE gone;
INSERT INTO renamed (a) VALUES ('a seed');
`)},
}

func migrated(t *testing.T, url string) *record.DB {
	t.Helper()
	db := Open(t, url)
	if err := db.Migrate(t.Context(), "test", schema); err != nil {
		t.Fatal(err)
	}
	return db
}

// do runs statements in one transaction.
func do(t *testing.T, db *record.DB, query string, args ...any) error {
	t.Helper()
	return db.Tx(t.Context(), func(tx *record.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
}

func values(t *testing.T, url string) {
	db := migrated(t, url)
	type state string
	digest := mios.Sum([]byte("x"))
	for i, row := range [][]any{
		{int64(math.MaxInt64), "max", []byte{0, 1, 0xff}, true, 1.5, state("new")},
		{int64(math.MinInt64), digest.String(), []byte{}, false, 0.1, "ünï ?"},
		{7, "nothing", nil, true, nil, ""},
	} {
		if err := do(t, db, "INSERT INTO things (id, name, content, good, weight, note) VALUES (?, ?, ?, ?, ?, ?)", row...); err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
	}
	err := db.View(t.Context(), func(tx *record.Tx) error {
		var id, n int64
		var content []byte
		var good bool
		var weight *float64
		var note state
		var d mios.Digest
		row := tx.QueryRow("SELECT id, content, good, weight, note FROM things WHERE good AND note = ? AND '?' <> ?", state("new"), "-- ?")
		if err := row.Scan(&id, &content, &good, &weight, &note); err != nil {
			return err
		}
		if id != math.MaxInt64 || !bytes.Equal(content, []byte{0, 1, 0xff}) || !good || *weight != 1.5 || note != "new" {
			t.Errorf("read %v %v %v %v %q", id, content, good, *weight, note)
		}
		if err := tx.QueryRow("SELECT id, name, content FROM things WHERE name = ?", digest).Scan(&id, &d, &content); err != nil {
			return err
		}
		if d != digest || content == nil || len(content) != 0 || id != math.MinInt64 {
			t.Errorf("read %v %v %v", d, content, id)
		}
		if err := tx.QueryRow("SELECT content, weight FROM things WHERE id = ?", 7).Scan(&content, &weight); err != nil {
			return err
		}
		if content != nil || weight != nil {
			t.Errorf("read %v %v, want nothing", content, weight)
		}
		if err := tx.QueryRow("SELECT note FROM things WHERE id = 7").Scan(&d); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("a digest from other text: %v", err)
		}
		if err := tx.QueryRow("SELECT id FROM things WHERE id = 8").Scan(&id); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("no row: %v, want not found", err)
		}
		if err := tx.QueryRow("SELECT count(*), sum(id) FROM things WHERE id = 7").Scan(&n, &id); err != nil || n != 1 || id != 7 {
			t.Errorf("count and sum = %d, %d, %v", n, id, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// changes wants statements that say what they have done.
func changes(t *testing.T, url string) {
	db := migrated(t, url)
	if err := do(t, db, "INSERT INTO things (id, name, note) VALUES (7, 'nothing', '')"); err != nil {
		t.Fatal(err)
	}
	err := db.Tx(t.Context(), func(tx *record.Tx) error {
		n, err := tx.Exec(`INSERT INTO things (id, name) VALUES (7, 'again') ON CONFLICT (id) DO UPDATE SET name = excluded.name`)
		if err != nil || n != 1 {
			t.Errorf("upsert changed %d rows, %v", n, err)
		}
		var name, note string
		if err := tx.QueryRow("UPDATE things SET note = note || ? WHERE id = 7 RETURNING name, note", "!").Scan(&name, &note); err != nil || name != "again" || note != "!" {
			t.Errorf("returning = %q, %q, %v", name, note, err)
		}
		n, err = tx.Exec("DELETE FROM things WHERE id IN (?, ?)", 7, 8)
		if err != nil || n != 1 {
			t.Errorf("deleted %d rows, %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func failures(t *testing.T, url string) {
	db := migrated(t, url)
	if err := do(t, db, "INSERT INTO things (id, name) VALUES (1, 'one')"); err != nil {
		t.Fatal(err)
	}
	if err := do(t, db, "INSERT INTO parts (thing, number) VALUES (1, 1)"); err != nil {
		t.Fatal(err)
	}
	const insert = "INSERT INTO things (id, name, weight) VALUES (?, ?, ?)"
	for _, tt := range []struct {
		name, query string
		args        []any
		want        error
	}{
		{"key", insert, []any{1, "x", nil}, mios.ErrConflict},
		{"unique", insert, []any{2, "one", nil}, mios.ErrConflict},
		{"null", insert, []any{2, nil, nil}, mios.ErrInvalid},
		{"check", insert, []any{2, "two", -1.0}, mios.ErrInvalid},
		{"parent", "INSERT INTO parts (thing, number) VALUES (9, 1)", nil, mios.ErrConflict},
		{"child", "DELETE FROM things WHERE id = 1", nil, mios.ErrConflict},
		{"zero byte", insert, []any{2, "a\x00b", nil}, mios.ErrInvalid},
		{"not UTF-8", insert, []any{2, "a\xff", nil}, mios.ErrInvalid},
		{"time", insert, []any{time.Now(), "two", nil}, mios.ErrInvalid},
		{"struct", insert, []any{struct{}{}, "two", nil}, mios.ErrInvalid},
	} {
		if err := do(t, db, tt.query, tt.args...); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := do(t, db, "SELEC"); err == nil || errors.Is(err, mios.ErrConflict) || errors.Is(err, mios.ErrInvalid) {
		t.Errorf("no SQL: %v", err)
	}
}

// hidden wants what fn hides not to commit, and no statement to work after one
// that failed.
func hidden(t *testing.T, url string) {
	db := migrated(t, url)
	const insert = "INSERT INTO things (id, name, weight) VALUES (?, ?, ?)"
	if err := do(t, db, insert, 1, "one", nil); err != nil {
		t.Fatal(err)
	}
	err := db.Tx(t.Context(), func(tx *record.Tx) error {
		if _, err := tx.Exec(insert, 3, "three", nil); err != nil {
			return err
		}
		_, err := tx.Exec(insert, 1, "x", nil)
		if !errors.Is(err, mios.ErrConflict) {
			t.Errorf("insert again: %v", err)
		}
		if _, err := tx.Exec(insert, 4, "four", nil); !errors.Is(err, mios.ErrConflict) {
			t.Errorf("a statement after one that failed: %v", err)
		}
		return nil
	})
	if !errors.Is(err, mios.ErrConflict) {
		t.Errorf("a transaction with an error that was hidden: %v", err)
	}
	mine := errors.New("mine")
	err = db.Tx(t.Context(), func(tx *record.Tx) error {
		if _, err := tx.Exec(insert, 3, "three", nil); err != nil {
			return err
		}
		return mine
	})
	if err != mine {
		t.Errorf("Tx = %v, want fn's own error", err)
	}
	if n := count(t, db, "things"); n != 1 {
		t.Errorf("%d things are left, want 1", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Tx(ctx, func(*record.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Tx when cancelled = %v", err)
	}
	if err := db.View(t.Context(), func(tx *record.Tx) error {
		_, err := tx.Exec(insert, 5, "five", nil)
		return err
	}); err == nil {
		t.Error("a View has written")
	}
}

func count(t *testing.T, db *record.DB, table string) (n int) {
	t.Helper()
	if err := db.View(t.Context(), func(tx *record.Tx) error { return tx.QueryRow("SELECT count(*) FROM " + table).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

func openRows(t *testing.T, url string) {
	db := migrated(t, url)
	for i := range 3 {
		if err := do(t, db, "INSERT INTO things (id, name) VALUES (?, ?)", i, fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	err := db.Tx(t.Context(), func(tx *record.Tx) error {
		rows, err := tx.Query("SELECT id FROM things ORDER BY id")
		if err != nil {
			return err
		}
		var ids []int
		for rows.Next() {
			var id int
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		if !slices.Equal(ids, []int{0, 1, 2}) || rows.Err() != nil {
			t.Errorf("read %v, %v", ids, rows.Err())
		}
		if rows, err = tx.Query("SELECT id FROM things"); err != nil {
			return err
		}
		rows.Next()
		if _, err := tx.Exec("DELETE FROM things WHERE id = 0"); err == nil || !strings.Contains(err.Error(), "rows of another one are open") {
			t.Errorf("a statement while rows are open: %v", err)
		}
		return rows.Close()
	})
	if err == nil {
		t.Error("the transaction has been committed")
	}
}

// view wants one moment's rows, whatever is written meanwhile.
func view(t *testing.T, url string) {
	db := migrated(t, url)
	for i := range 2 {
		if err := do(t, db, "INSERT INTO things (id, name) VALUES (?, ?)", i, fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	err := db.View(t.Context(), func(tx *record.Tx) error {
		var n, m int
		if err := tx.QueryRow("SELECT count(*) FROM things").Scan(&n); err != nil {
			return err
		}
		if err := do(t, db, "DELETE FROM things WHERE id = 1"); err != nil {
			return err
		}
		if err := tx.QueryRow("SELECT count(*) FROM things").Scan(&m); err != nil {
			return err
		}
		if n != 2 || m != 2 {
			t.Errorf("counted %d, then %d, want 2 both times", n, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// concurrent increments a number from many goroutines of two openings of the
// database, and appends numbered rows as a history does: nothing is lost, and
// no number is missing.
func concurrent(t *testing.T, url string) {
	a, b := migrated(t, url), Open(t, url)
	if err := do(t, a, "INSERT INTO things (id, name, weight) VALUES (1, 'counter', 0)"); err != nil {
		t.Fatal(err)
	}
	const workers, times = 8, 10
	var wg sync.WaitGroup
	for w := range workers {
		db := []*record.DB{a, b}[w%2]
		wg.Go(func() {
			for range times {
				err := db.Tx(t.Context(), func(tx *record.Tx) error {
					var n float64
					if err := tx.QueryRow("SELECT weight FROM things WHERE id = 1").Scan(&n); err != nil {
						return err
					}
					if _, err := tx.Exec("UPDATE things SET weight = ? WHERE id = 1", n+1); err != nil {
						return err
					}
					_, err := tx.Exec("INSERT INTO parts (thing, number) SELECT 1, coalesce(max(number), 0) + 1 FROM parts")
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	err := a.View(t.Context(), func(tx *record.Tx) error {
		var n float64
		var rows, last int
		if err := tx.QueryRow("SELECT weight FROM things WHERE id = 1").Scan(&n); err != nil {
			return err
		}
		if err := tx.QueryRow("SELECT count(*), max(number) FROM parts").Scan(&rows, &last); err != nil {
			return err
		}
		if want := workers * times; int(n) != want || rows != want || last != want {
			t.Errorf("counted %v, %d rows up to %d; want %d", n, rows, last, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func panics(t *testing.T, url string) {
	db := migrated(t, url)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		db.Tx(t.Context(), func(tx *record.Tx) error {
			if _, err := tx.Exec("INSERT INTO things (id, name) VALUES (1, 'one')"); err != nil {
				t.Error(err)
			}
			panic("fn")
		})
	}()
	if n := count(t, db, "things"); n != 0 {
		t.Errorf("%d things after a panic, want none", n)
	}
	if err := do(t, db, "INSERT INTO things (id, name) VALUES (1, 'one')"); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

// texts wants text sorted by bytes, and compared by case.
func texts(t *testing.T, url string) {
	db := migrated(t, url)
	for i, name := range []string{"b", "a", "B", "ä", "a_", "ab"} {
		if err := do(t, db, "INSERT INTO things (id, name) VALUES (?, ?)", i, name); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"SELECT name FROM things ORDER BY name":                                     "B a a_ ab b ä",
		"SELECT name FROM things WHERE name LIKE 'b%' ORDER BY name":                "b",
		`SELECT name FROM things WHERE name LIKE 'a\_%' ESCAPE '\' ORDER BY name`:   "a_",
		"SELECT name FROM things WHERE name >= 'a' AND name < 'b' ORDER BY name":    "a a_ ab",
		"SELECT name FROM things ORDER BY note NULLS FIRST, name DESC LIMIT 2":      "ä b",
		"SELECT name FROM things ORDER BY lower(name), name LIMIT 2 OFFSET 3":       "B b",
		"SELECT name FROM things WHERE good OR (NOT good AND id = 1) ORDER BY name": "a",
	} {
		var got []string
		err := db.View(t.Context(), func(tx *record.Tx) error {
			got = nil
			rows, err := tx.Query(query)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var s string
				if err := rows.Scan(&s); err != nil {
					return err
				}
				got = append(got, s)
			}
			return rows.Err()
		})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s = %v, %v; want %s", query, got, err, want)
		}
	}
}
