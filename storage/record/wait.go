package record

import (
	"context"
	"errors"
	"io"
	"io/fs"
)

var errSoon = errors.New("record: the backends follow in the next commit")

func openSQLite(ctx context.Context, path string) (dialect, error)  { return nil, errSoon }
func openPostgres(ctx context.Context, url string) (dialect, error) { return nil, errSoon }

func (db *DB) run(ctx context.Context, readOnly bool, fn func(tx *Tx) error) error { return errSoon }
func (db *DB) migrate(ctx context.Context, name string, migrations fs.FS) error    { return errSoon }
func (db *DB) dump(ctx context.Context, w io.Writer) (int64, error)                { return 0, errSoon }
func (db *DB) load(ctx context.Context, r io.Reader) (int64, error)                { return 0, errSoon }

func (tx *Tx) exec(query string, args []any) (int64, error)  { return 0, errSoon }
func (tx *Tx) query(query string, args []any) (*Rows, error) { return nil, errSoon }

// Next goes to the next row, if there is one.
func (r *Rows) Next() bool { return false }

// Scan copies the columns of the row.
func (r *Rows) Scan(dest ...any) error { return errSoon }

// Err returns what ended the rows before their end.
func (r *Rows) Err() error { return errSoon }

// Close ends the reading.
func (r *Rows) Close() error { return errSoon }

// Scan copies the columns of the row. The error wraps [mios.ErrNotFound] if
// there is none.
func (r *Row) Scan(dest ...any) error { return errSoon }
