package recordtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"mios"
	"mios/storage/record"
)

func migrate(t *testing.T, url string) {
	db := migrated(t, url)
	ctx := t.Context()
	if err := db.Migrate(ctx, "test", schema); err != nil {
		t.Errorf("Migrate again: %v", err)
	}
	other := fstest.MapFS{"0001_other.sql": {Data: []byte("CREATE TABLE other (a TEXT NOT NULL)")}}
	if err := db.Migrate(ctx, "other", other); err != nil {
		t.Errorf("Migrate of another part: %v", err)
	}
	with := func(name, sql string) fstest.MapFS {
		m := maps.Clone(schema)
		m[name] = &fstest.MapFile{Data: []byte(sql)}
		return m
	}
	older := maps.Clone(schema)
	delete(older, "0002_parts.sql")
	for _, tt := range []struct {
		name string
		fs   fstest.MapFS
		want error
		says string
	}{
		{"older", older, mios.ErrConflict, "the database is at 0002_parts.sql, and this program knows only the first 1: run the newer mios that wrote it"},
		{"changed", with("0001_first.sql", "CREATE TABLE things (id BIGINT)"), mios.ErrConflict, "migrations are added, never changed"},
		{"gap", with("0004_x.sql", "SELECT 1"), mios.ErrInvalid, "want its name to begin with 0003_"},
		{"none", fstest.MapFS{}, mios.ErrInvalid, "no *.sql"},
	} {
		if err := db.Migrate(ctx, "test", tt.fs); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	// A migration that breaks off half-way has done nothing.
	torn := with("0003_torn.sql", "CREATE TABLE half (a TEXT NOT NULL); INSERT INTO half (a) VALUES (NULL)")
	if err := db.Migrate(ctx, "test", torn); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "0003_torn.sql: INSERT INTO half") {
		t.Errorf("a migration that fails: %v", err)
	}
	whole := with("0003_whole.sql", "CREATE TABLE half (a TEXT NOT NULL); INSERT INTO half (a) VALUES ('b')")
	if err := db.Migrate(ctx, "test", whole); err != nil {
		t.Errorf("after one that failed: %v", err)
	}
	if n := count(t, db, "half"); n != 1 {
		t.Errorf("%d rows of what was migrated, want 1", n)
	}
}

// migrateAtOnce lets several processes start at the same moment.
func migrateAtOnce(t *testing.T, url string) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := record.Open(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := db.Migrate(t.Context(), "test", schema); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func lock(t *testing.T, url string) {
	a, b := Open(t, url), Open(t, url)
	var holders, most atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		db := []*record.DB{a, b}[i%2]
		wg.Go(func() {
			unlock, err := db.Lock(t.Context(), "one")
			if err != nil {
				t.Error(err)
				return
			}
			if n := holders.Add(1); n > most.Load() {
				most.Store(n)
			}
			if err := db.Tx(t.Context(), func(*record.Tx) error { return nil }); err != nil {
				t.Error(err)
			}
			holders.Add(-1)
			unlock()
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d held the lock at once", most.Load())
	}
	unlock, err := a.Lock(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if free, err := b.Lock(t.Context(), "two"); err != nil {
		t.Error(err)
	} else {
		free()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Lock(ctx, "one"); err == nil || ctx.Err() == nil {
		t.Errorf("a lock that is taken: %v", err)
	}
	unlock()
	unlock() // again
	if free, err := b.Lock(t.Context(), "one"); err != nil {
		t.Errorf("after unlock: %v", err)
	} else {
		free()
	}
	if free, err := a.Lock(t.Context(), "../x\x00 Ü"); err != nil {
		t.Errorf("a lock of another name: %v", err)
	} else {
		free()
	}
	for _, name := range []string{"", strings.Repeat("a", 65)} {
		if _, err := a.Lock(t.Context(), name); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Lock(%q) = %v, want invalid", name, err)
		}
	}
}

// Fill migrates a database and puts rows of all kinds into it: 2 of them, and n.
func Fill(t *testing.T, db *record.DB, n int) {
	t.Helper()
	if err := db.Migrate(t.Context(), "test", schema); err != nil {
		t.Fatal(err)
	}
	err := db.Tx(t.Context(), func(tx *record.Tx) error {
		if _, err := tx.Exec(`INSERT INTO things (id, name, content, good, weight, note) VALUES (?, ?, ?, ?, ?, ?)`,
			int64(1)<<62+1, "ü <&>\n", []byte{0, 0xff}, true, 2.0, "–"); err != nil {
			return err
		}
		for i := range n {
			if _, err := tx.Exec(`INSERT INTO things (id, name, content, weight) VALUES (?, ?, ?, ?)`, i, fmt.Sprint("n", i), []byte{}, float64(i)/7); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dump wants what was dumped back after it was loaded, and nothing of what is
// damaged.
func dump(t *testing.T, url string) {
	db := Open(t, url)
	var empty bytes.Buffer
	if n, err := db.Dump(t.Context(), &empty); err != nil || n != 0 {
		t.Fatalf("Dump of an empty database = %d, %v", n, err)
	}
	whole := Sample(t)
	for i, damage := range []func(string) string{
		func(s string) string { return s[:len(s)/2] },
		func(s string) string { return s[:strings.LastIndex(s, `{"end"`)] },
		func(s string) string { return s + "{}" },
		func(s string) string { return strings.Replace(s, `"n3"`, `"n4"`, 1) },
		func(s string) string { return strings.Replace(s, `{"table":"parts"`, `{"table":"part"`, 1) },
		func(s string) string { return strings.Replace(s, `"weight"`, `"height"`, 2) },
		func(s string) string { return strings.Replace(s, "mios records 1", "mios records 2", 1) },
		func(s string) string { return strings.Replace(s, `{"row":[3,`, `{"row":[3,3,`, 1) },
		func(string) string { return "" },
	} {
		if _, err := db.Load(t.Context(), strings.NewReader(damage(whole))); !errors.Is(err, mios.ErrInvalid) && !errors.Is(err, mios.ErrConflict) {
			t.Errorf("damage %d: %v", i, err)
		}
	}
	n, err := db.Load(t.Context(), strings.NewReader(whole))
	if err != nil || n != 302 {
		t.Fatalf("Load = %d, %v; want 302 rows, and nothing in the way", n, err)
	}
	var again bytes.Buffer
	if n, err := db.Dump(t.Context(), &again); err != nil || n != 302 {
		t.Errorf("Dump = %d, %v", n, err)
	}
	if again.String() != whole {
		t.Errorf("dumped\n%.2000s\nwant\n%.2000s", again.String(), whole)
	}
	if _, err := db.Load(t.Context(), strings.NewReader(whole)); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("Load into what is not empty: %v", err)
	}
	if err := db.Migrate(t.Context(), "test", schema); err != nil {
		t.Errorf("Migrate of what was loaded: %v", err)
	}
}

// Sample returns a dump of SQLite's, which both kinds must load and give back.
func Sample(t *testing.T) string {
	t.Helper()
	db := Open(t, "sqlite:"+t.TempDir()+"/sample.db")
	Fill(t, db, 300)
	var out bytes.Buffer
	if n, err := db.Dump(t.Context(), &out); err != nil || n != 302 {
		t.Fatalf("Dump = %d, %v", n, err)
	}
	return out.String()
}
