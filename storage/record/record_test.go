package record_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"mios/internal/testkit"
	"mios/storage/record"
	"mios/storage/record/recordtest"
)

func TestSQLite(t *testing.T) {
	recordtest.Run(t, func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/new/a b?.db" })
}

func TestPostgres(t *testing.T) {
	recordtest.Run(t, func(t *testing.T) string { return testkit.Postgres(t) })
}

// TestBrokenConnections has the server end all connections while transactions
// run: each is done once, or says that nobody knows.
func TestBrokenConnections(t *testing.T) {
	db := recordtest.Open(t, testkit.Postgres(t))
	schema := fstest.MapFS{"0001_n.sql": {Data: []byte("CREATE TABLE n (n BIGINT NOT NULL); INSERT INTO n (n) VALUES (0)")}}
	if err := db.Migrate(t.Context(), "n", schema); err != nil {
		t.Fatal(err)
	}
	unlock, err := db.Lock(t.Context(), "n") // its connection is kept, and cut
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	const workers, times, cuts = 4, 15, 12
	var wg sync.WaitGroup
	var unsure atomic.Int64
	for range workers {
		wg.Go(func() {
			for range times {
				err := db.Tx(t.Context(), func(tx *record.Tx) error {
					_, err := tx.Exec("UPDATE n SET n = n + 1")
					return err
				})
				switch {
				case err == nil:
				case strings.Contains(err.Error(), "nobody knows whether it was done"):
					unsure.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	for range cuts {
		err := db.View(t.Context(), func(tx *record.Tx) error {
			var n int
			return tx.QueryRow(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE pid <> pg_backend_pid() AND datname = current_database()`).Scan(&n)
		})
		if err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if unlock, err := db.Lock(t.Context(), "n"); err != nil {
		t.Errorf("a lock after its connection was cut: %v", err)
	} else {
		unlock()
	}
	err = db.View(t.Context(), func(tx *record.Tx) error {
		var n int64
		if err := tx.QueryRow("SELECT n FROM n").Scan(&n); err != nil {
			return err
		}
		if n > workers*times || n < workers*times-unsure.Load() {
			t.Errorf("counted %d, of which %d unsure; want %d", n, unsure.Load(), workers*times)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
