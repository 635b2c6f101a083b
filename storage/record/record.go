// Package record keeps rows: in a file of SQLite's, or in a PostgreSQL that
// several processes share. Both give the same guarantees to the same portable
// SQL, which docs/storage.md describes.
package record

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"mios"
	"mios/storage/record/sqltext"
)

// A DB is an open database. Its methods may be called concurrently.
type DB struct {
	dialect
}

// A dialect is what the two databases do in ways of their own.
type dialect interface {
	// begin starts a transaction; one that writes is serializable.
	begin(ctx context.Context, readOnly bool) (*sql.Tx, error)
	// bind returns a query with the database's own placeholders.
	bind(query string) string
	// define returns a migration's statement with the database's own types.
	define(statement []sqltext.Token) string
	// judge says what kind of error the database gave.
	judge(err error) verdict
	lock(ctx context.Context, name string) (func(), error)
	close() error
}

// Open opens the database at a URL, "sqlite:PATH", whose file and folder are
// made when they are not there, or "postgres://USER:PASSWORD@HOST/NAME".
func Open(ctx context.Context, url string) (*DB, error) {
	var d dialect
	var err error
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		d, err = openSQLite(ctx, rest)
	case "postgres", "postgresql":
		d, err = openPostgres(ctx, url)
	default:
		err = fmt.Errorf("database %q: %w: want sqlite:PATH or postgres://USER@HOST/NAME", scheme, mios.ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	return &DB{d}, nil
}

// Close closes the database. Nobody may be using it.
func (db *DB) Close() error { return db.close() }

// Lock waits until this caller alone, among all processes that use the
// database, holds the lock of a name of at most 64 bytes; unlock gives it back,
// and so does the end of the process. It does not fence: a holder whose
// connection broke is not told, so what it changes has to be compared and
// swapped, or in a [DB.Tx].
func (db *DB) Lock(ctx context.Context, name string) (unlock func(), err error) {
	if name == "" || len(name) > 64 {
		return nil, fmt.Errorf("lock %.80q: %w: want a name of 1 to 64 bytes", name, mios.ErrInvalid)
	}
	unlock, err = db.lock(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return unlock, nil
}
