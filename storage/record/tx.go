package record

import (
	"context"
	"database/sql"
)

// handle is a transaction of one of the databases.
type handle = *sql.Tx

// A Tx is a transaction, for the function that it is given to and no longer.
// Placeholders are written ?, and the portable values are int64 and the other
// integers, float64, string, []byte, bool, nil, [mios.Digest] (stored as text),
// and named types of these; times are stored as numbers of seconds. After a
// statement has failed, so do all that follow, and the transaction.
//
// Errors wrap [mios.ErrConflict] where a row of that key is there already or
// rows of other tables depend on it, and [mios.ErrInvalid] where a value is
// not what the column takes.
type Tx struct {
	ctx context.Context
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) { return tx.exec(query, args) }

// Query returns rows, to be read to their end or closed before the next
// statement.
func (tx *Tx) Query(query string, args ...any) (*Rows, error) { return tx.query(query, args) }

// QueryRow returns the first row, for [Row.Scan].
func (tx *Tx) QueryRow(query string, args ...any) *Row {
	rows, err := tx.query(query, args)
	return &Row{rows, err}
}

// Rows are what a query found: for rows.Next() { rows.Scan(…) }, then rows.Err().
type Rows struct {
	tx   *Tx
	rows *sql.Rows
}

// A Row is one row, or none.
type Row struct {
	rows *Rows
	err  error
}
