package record

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"mios"
	"mios/storage/record/sqltext"
)

// sqliteDB is a file of SQLite's. One connection writes, and those that read do
// so beside it, as the write-ahead log allows.
type sqliteDB struct {
	path           string
	reader, writer *sql.DB
}

// pragmas make SQLite durable, strict about references, and its LIKE tell upper
// from lower case as PostgreSQL's does. A statement waits a second for another
// process; then its transaction is tried again.
const pragmas = "_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
	"&_pragma=foreign_keys(1)&_pragma=case_sensitive_like(1)"

func openSQLite(ctx context.Context, path string) (*sqliteDB, error) {
	path = strings.TrimPrefix(path, "//") // sqlite:///PATH is as good
	if path == "" || strings.HasPrefix(path, ":") {
		return nil, fmt.Errorf("database: %w: want sqlite:PATH", mios.ErrInvalid)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	// The rows are nobody else's business; SQLite gives its other files the
	// same permissions.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	f.Close()
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas
	db := &sqliteDB{path: path}
	if db.writer, err = sql.Open("sqlite", name+"&_txlock=immediate"); err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	if db.reader, err = sql.Open("sqlite", name+"&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), db.writer.Close())
	}
	db.writer.SetMaxOpenConns(1)
	db.reader.SetMaxOpenConns(8)
	if err := db.ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), db.close())
	}
	return db, nil
}

// ping opens the file, which another process may be doing at the same moment.
func (db *sqliteDB) ping(ctx context.Context) error {
	for try := 0; ; try++ {
		err := db.writer.PingContext(ctx)
		if err == nil || try == 10 || db.judge(err) != again {
			return err
		}
	}
}

func (db *sqliteDB) begin(ctx context.Context, readOnly bool) (*sql.Tx, error) {
	if readOnly {
		return db.reader.BeginTx(ctx, nil)
	}
	return db.writer.BeginTx(ctx, nil)
}

func (db *sqliteDB) bind(query string) string { return query }

// sqliteTypes are SQLite's names of the portable types. Its tables are made
// STRICT, so that they take no other values than PostgreSQL's.
var sqliteTypes = map[string]string{"BIGINT": "INTEGER", "BOOLEAN": "INTEGER"}

func (db *sqliteDB) define(statement []sqltext.Token) string {
	if !sqltext.Defines(statement) {
		return sqltext.Text(statement, nil)
	}
	s := sqltext.Text(statement, sqliteTypes)
	if sqltext.Begins(statement, "CREATE", "TABLE") {
		s += " STRICT"
	}
	return s
}

func (db *sqliteDB) judge(err error) verdict {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return failed
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_NOTNULL, sqlite3.SQLITE_CONSTRAINT_CHECK, sqlite3.SQLITE_CONSTRAINT_DATATYPE:
		return refused
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return again
	case sqlite3.SQLITE_CONSTRAINT:
		return taken
	case sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG:
		return refused
	}
	return failed
}

// lock takes a lock of the kernel's on a file beside the database, which is
// given back when the process ends.
func (db *sqliteDB) lock(ctx context.Context, name string) (func(), error) {
	f, err := os.OpenFile(db.path+"."+url.PathEscape(name)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	pause := time.Millisecond
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

func (db *sqliteDB) close() error { return errors.Join(db.reader.Close(), db.writer.Close()) }
