package record

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"mios"
	"mios/storage/record/sqltext"
)

// postgresDB is a database of PostgreSQL's. Locks have connections of their
// own, so that those who hold one can still begin a transaction.
type postgresDB struct {
	pool, locks *sql.DB
}

// connections bounds what transactions of one process use of the server's 100.
const connections = 16

// session are the settings of a connection: a server notices within a minute
// that a client's machine is gone, and gives back what it held.
var session = map[string]string{
	"application_name":                    "mios",
	"client_encoding":                     "UTF8",
	"idle_in_transaction_session_timeout": "60s",
	"synchronous_commit":                  "on",
	"tcp_keepalives_count":                "3",
	"tcp_keepalives_idle":                 "30",
	"tcp_keepalives_interval":             "10",
}

func openPostgres(ctx context.Context, url string) (*postgresDB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database: %w: %v", mios.ErrInvalid, err) // pgx hides the password
	}
	maps.Copy(config.RuntimeParams, session)
	db := &postgresDB{pool: stdlib.OpenDB(*config), locks: stdlib.OpenDB(*config)}
	db.pool.SetMaxOpenConns(connections)
	db.pool.SetMaxIdleConns(connections / 2)
	db.pool.SetConnMaxIdleTime(5 * time.Minute)
	db.locks.SetMaxIdleConns(1)
	var encoding string
	err = db.pool.QueryRowContext(ctx, "SHOW server_encoding").Scan(&encoding)
	if err == nil && encoding != "UTF8" {
		err = fmt.Errorf("its encoding is %s: make one with ENCODING 'UTF8'", encoding)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database %s at %s: %w", config.Database, config.Host, err), db.close())
	}
	return db, nil
}

// begin starts a transaction; one that reads only has one snapshot, and is never
// in conflict with others.
func (db *postgresDB) begin(ctx context.Context, readOnly bool) (*sql.Tx, error) {
	if readOnly {
		return db.pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	}
	return db.pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
}

func (db *postgresDB) bind(query string) string { return sqltext.Numbered(query) }

// postgresTypes are PostgreSQL's names of the portable types. Text is sorted by
// its bytes, as SQLite does.
var postgresTypes = map[string]string{
	"INTEGER": "BIGINT", "BLOB": "BYTEA", "REAL": "DOUBLE PRECISION", "TEXT": `TEXT COLLATE "C"`,
}

func (db *postgresDB) define(statement []sqltext.Token) string {
	if !sqltext.Defines(statement) {
		return sqltext.Text(statement, nil)
	}
	return sqltext.Text(statement, postgresTypes)
}

// judge reads the codes of PostgreSQL's manual, appendix A.
func (db *postgresDB) judge(err error) verdict {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if lost(err) {
			return broken
		}
		return failed
	}
	switch {
	case strings.HasPrefix(e.Code, "08"), strings.HasPrefix(e.Code, "57P"): // connection; shut down, crashed, starting
		return broken
	case e.Code == "40001", e.Code == "40P01": // serialization failure, deadlock
		return again
	case e.Code == "0A000" && strings.Contains(e.Message, "cached plan"): // another process has migrated
		return again
	case e.Code == "23505", e.Code == "23503", e.Code == "23001": // unique, foreign key, restrict
		return taken
	case strings.HasPrefix(e.Code, "23"), strings.HasPrefix(e.Code, "22"): // other constraints, data
		return refused
	}
	return failed
}

// lost tells whether a connection broke, or could not be made.
func lost(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, net.ErrClosed) || errors.As(err, new(*net.OpError)) || errors.As(err, new(*pgconn.ConnectError)) || pgconn.SafeToRetry(err)
}

// lock takes an advisory lock, which belongs to the connection. One that was
// kept may be gone since: then another is made.
func (db *postgresDB) lock(ctx context.Context, name string) (func(), error) {
	sum := mios.Sum([]byte("mios lock " + name))
	key := int64(binary.BigEndian.Uint64(sum[:8]))
	for try := 1; ; try++ {
		unlock, err := db.lockOnce(ctx, key)
		if err == nil || ctx.Err() != nil || try == 4 || db.judge(err) != broken {
			return unlock, err
		}
	}
}

func (db *postgresDB) lockOnce(ctx context.Context, key int64) (func(), error) {
	conn, err := db.locks.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", key); err != nil {
		discard(conn)
		return nil, err
	}
	return sync.OnceFunc(func() {
		// The caller's context may be over; a connection that does not answer
		// is closed, which frees the lock too.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", key); err != nil {
			discard(conn)
			return
		}
		conn.Close()
	}), nil
}

// discard closes a connection for good, instead of giving it back.
func discard(conn *sql.Conn) {
	conn.Raw(func(c any) error {
		c.(*stdlib.Conn).Conn().Close(context.Background())
		return driver.ErrBadConn // database/sql forgets it
	})
	conn.Close()
}

func (db *postgresDB) close() error { return errors.Join(db.pool.Close(), db.locks.Close()) }
