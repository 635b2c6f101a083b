package record

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"mios"
)

// How long a transaction is tried again when it is in conflict with others:
// up to tries times with pauses that double up to maxPause, about ten seconds.
const (
	tries    = 60
	maxPause = 250 * time.Millisecond
)

// A verdict is what an error of a database means here.
type verdict int

const (
	failed  verdict = iota // nothing that a caller may act on
	again                  // another transaction was in the way
	broken                 // the connection is gone, and what was not committed with it
	taken                  // a key is there already, or rows depend on this one
	refused                // a value is not what the column takes
)

// Tx runs fn in one serializable transaction: all that fn does is done, durably,
// if Tx returns nil, and nothing of it if it returns fn's error. On a conflict
// with another transaction fn runs again, so it may have no other effects; when
// conflicts do not end, the error wraps [mios.ErrConflict]. It runs again, too,
// when the connection to PostgreSQL breaks, such as for a restart; but when that
// is while it commits nobody knows whether it has, and the error says so. fn
// must not begin another transaction.
func (db *DB) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	return db.run(ctx, false, fn)
}

// View is [DB.Tx] for reading only: all that fn reads is of one moment, and
// writers do not wait for it.
func (db *DB) View(ctx context.Context, fn func(tx *Tx) error) error {
	return db.run(ctx, true, fn)
}

func (db *DB) run(ctx context.Context, readOnly bool, fn func(tx *Tx) error) error {
	pause := time.Millisecond
	for try := 1; ; try++ {
		err := db.once(ctx, readOnly, fn)
		switch v := db.judge(err); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case v == taken && try < 3: // PostgreSQL says so of some conflicts, too
		case v == broken && errors.As(err, new(commitError)):
			return fmt.Errorf("%w: nobody knows whether it was done: look before you try again", err)
		case v == broken && try < tries:
		case v != again:
			return err
		case try == tries:
			return fmt.Errorf("transaction: %w: others kept changing the same rows: try again: %v", mios.ErrConflict, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxPause)
	}
}

// once tries a transaction once.
func (db *DB) once(ctx context.Context, readOnly bool, fn func(tx *Tx) error) (err error) {
	handle, err := db.begin(ctx, readOnly)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	tx := &Tx{ctx: ctx, db: db, handle: handle}
	defer func() {
		if handle != nil { // fn failed, or panicked
			handle.Rollback()
		}
	}()
	if err := fn(tx); err != nil {
		if v := db.judge(tx.err); v == again || v == broken {
			return tx.err // whatever fn makes of it
		}
		return err
	}
	if tx.rows != nil {
		tx.rows.Close()
	}
	if tx.err != nil {
		return tx.err
	}
	handle = nil
	if err := tx.handle.Commit(); err != nil {
		return commitError{err}
	}
	return nil
}

// A commitError is of a transaction that may have been done.
type commitError struct{ error }

func (e commitError) Error() string { return "commit transaction: " + e.error.Error() }
func (e commitError) Unwrap() error { return e.error }

// A Tx is a transaction, for the function that it is given to and no longer,
// and for one goroutine. Placeholders are written ?. The values are integers,
// float64, string, []byte, bool, nil, [mios.Digest] (stored as text), and named
// types and pointers to these; times are stored as numbers. After a statement
// has failed, so do all that follow, and the transaction.
//
// Errors wrap [mios.ErrConflict] where a row of that key is there already or
// other rows depend on it, and [mios.ErrInvalid] where a value is not what the
// column takes.
type Tx struct {
	ctx    context.Context
	db     *DB
	handle *sql.Tx
	rows   *Rows // that are open
	err    error // of the statement that failed
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) {
	bound, err := tx.prepare(args)
	if err != nil {
		return 0, err
	}
	res, err := tx.handle.ExecContext(tx.ctx, tx.db.bind(query), bound...)
	if err != nil {
		return 0, tx.fail(err)
	}
	return res.RowsAffected()
}

// Query returns rows, to be read to their end or closed before the next
// statement.
func (tx *Tx) Query(query string, args ...any) (*Rows, error) {
	bound, err := tx.prepare(args)
	if err != nil {
		return nil, err
	}
	rows, err := tx.handle.QueryContext(tx.ctx, tx.db.bind(query), bound...)
	if err != nil {
		return nil, tx.fail(err)
	}
	tx.rows = &Rows{tx, rows}
	return tx.rows, nil
}

// QueryRow returns the first row, for [Row.Scan].
func (tx *Tx) QueryRow(query string, args ...any) *Row {
	rows, err := tx.Query(query, args...)
	return &Row{rows, err}
}

// prepare checks that a statement may run, and its values.
func (tx *Tx) prepare(args []any) ([]any, error) {
	switch {
	case tx.err != nil:
		return nil, fmt.Errorf("the transaction has failed: %w", tx.err)
	case tx.rows != nil:
		return nil, tx.fail(errors.New("statement while the rows of another one are open: read them to their end, or close them"))
	}
	bound := make([]any, len(args))
	for i, arg := range args {
		v, err := bindValue(arg)
		if err != nil {
			return nil, tx.fail(fmt.Errorf("value %d: %w", i+1, err))
		}
		bound[i] = v
	}
	return bound, nil
}

// fail remembers why the transaction cannot go on.
func (tx *Tx) fail(err error) error {
	switch tx.db.judge(err) {
	case taken:
		err = fmt.Errorf("%w: %w", mios.ErrConflict, err)
	case refused:
		err = fmt.Errorf("%w: %w", mios.ErrInvalid, err)
	}
	if tx.err == nil {
		tx.err = err
	}
	return err
}
