// Package record keeps rows: in a file of SQLite's, or in a PostgreSQL that
// several processes share. Both give the same guarantees to the same portable
// SQL, which docs/storage.md describes.
package record

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"mios"
)

// A DB is an open database. Its methods may be called concurrently.
type DB struct {
	dialect
}

// dialect is what the two databases do in ways of their own.
type dialect interface {
	close() error
	// begin starts a transaction; one that writes is serializable.
	begin(ctx context.Context, readOnly bool) (handle, error)
	lock(ctx context.Context, name string) (func(), error)
}

// Open opens the database at a URL, "sqlite:PATH", whose file and folder are
// made when they are not there, or "postgres://USER:PASSWORD@HOST/NAME".
func Open(ctx context.Context, url string) (*DB, error) {
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		d, err := openSQLite(ctx, rest)
		return &DB{d}, err
	case "postgres", "postgresql":
		d, err := openPostgres(ctx, url)
		return &DB{d}, err
	}
	return nil, fmt.Errorf("database %q: %w: want sqlite:PATH or postgres://USER@HOST/NAME", url, mios.ErrInvalid)
}

// Close closes the database. Nobody may be using it.
func (db *DB) Close() error { return db.close() }

// Tx runs fn in one serializable transaction: all that fn does is done, durably,
// if Tx returns nil, and nothing of it if not. On a conflict with another
// transaction fn runs again, so it may have no other effects; when conflicts do
// not end, the error wraps [mios.ErrConflict]. fn must not begin another
// transaction.
func (db *DB) Tx(ctx context.Context, fn func(tx *Tx) error) error { return db.run(ctx, false, fn) }

// View is [DB.Tx] for reading only: all that fn reads is of one moment, and
// writers do not wait for it.
func (db *DB) View(ctx context.Context, fn func(tx *Tx) error) error { return db.run(ctx, true, fn) }

// Migrate brings the tables of one part of the program, such as "store", to
// what its migrations say: files *.sql named by number, 0001_first.sql, each
// run once and in order, all of them or none. The error says so if the
// database is newer than the program, or a migration is another than the one
// that was run.
func (db *DB) Migrate(ctx context.Context, name string, migrations fs.FS) error {
	return db.migrate(ctx, name, migrations)
}

// Lock waits until this caller alone, among all processes that use the
// database, holds the lock of a name; unlock gives it back, and so does the end
// of the process. It does not fence: a holder whose connection broke is not
// told, so what it changes has to be compared and swapped, or in a [DB.Tx].
func (db *DB) Lock(ctx context.Context, name string) (unlock func(), err error) {
	return db.lock(ctx, name)
}

// Dump writes all tables as of one moment, in a form that [DB.Load] reads into
// either kind of database; the same rows give the same bytes. It returns the
// number of rows.
func (db *DB) Dump(ctx context.Context, w io.Writer) (rows int64, err error) { return db.dump(ctx, w) }

// Load fills an empty database with what [DB.Dump] wrote, all or nothing. The
// error wraps [mios.ErrConflict] if the database is not empty.
func (db *DB) Load(ctx context.Context, r io.Reader) (rows int64, err error) { return db.load(ctx, r) }
