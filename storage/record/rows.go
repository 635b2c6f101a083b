package record

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"mios"
)

// Rows are what a query found: for rows.Next() { rows.Scan(…) }, then rows.Err().
type Rows struct {
	tx   *Tx
	rows *sql.Rows
}

// Next goes to the next row, if there is one; if not, it closes the rows.
func (r *Rows) Next() bool {
	if r.rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Scan copies the columns of the row to where dest points.
func (r *Rows) Scan(dest ...any) error { return r.rows.Scan(scanned(dest)...) }

// Columns returns the names of the columns.
func (r *Rows) Columns() ([]string, error) { return r.rows.Columns() }

// Err returns what ended the rows before their end.
func (r *Rows) Err() error { return r.rows.Err() }

// Close ends the reading. It may be called again.
func (r *Rows) Close() error {
	if r.tx.rows == r {
		r.tx.rows = nil
	}
	err := errors.Join(r.rows.Close(), r.rows.Err())
	if err != nil {
		r.tx.fail(err)
	}
	return err
}

// A Row is one row, or none.
type Row struct {
	rows *Rows
	err  error
}

// Scan copies the columns of the row to where dest points. The error wraps
// [mios.ErrNotFound] if there is no row.
func (r *Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return r.rows.tx.fail(err)
		}
		return fmt.Errorf("row: %w", mios.ErrNotFound)
	}
	return errors.Join(r.rows.Scan(dest...), r.rows.Close())
}

// scanned replaces pointers to digests and bytes by what both databases fill in
// the same way.
func scanned(dest []any) []any {
	out := make([]any, len(dest))
	for i, d := range dest {
		switch p := d.(type) {
		case *mios.Digest:
			out[i] = digestScanner{p}
		case *[]byte:
			out[i] = bytesScanner{p}
		default:
			out[i] = d
		}
	}
	return out
}

// bytesScanner tells empty bytes from NULL, which become nil.
type bytesScanner struct{ b *[]byte }

// Scan implements [sql.Scanner].
func (s bytesScanner) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.b = nil
	case []byte:
		*s.b = append([]byte{}, v...)
	case string:
		*s.b = []byte(v)
	default:
		return fmt.Errorf("bytes: %w: %T in the column", mios.ErrInvalid, v)
	}
	return nil
}

type digestScanner struct{ d *mios.Digest }

// Scan implements [sql.Scanner].
func (s digestScanner) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("digest: %w: %T in the column, want text", mios.ErrInvalid, v)
	}
	return s.d.UnmarshalText([]byte(text))
}

// bindValue returns a value that both databases take in the same way.
func bindValue(v any) (any, error) {
	if d, ok := v.(mios.Digest); ok {
		return d.String(), nil
	}
	out, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", mios.ErrInvalid, err)
	}
	switch out := out.(type) {
	case time.Time:
		return nil, fmt.Errorf("%w: a time: store a number, such as its seconds since 1970", mios.ErrInvalid)
	case string:
		if !utf8.ValidString(out) || strings.ContainsRune(out, 0) {
			return nil, fmt.Errorf("%w: text that is not UTF-8, or has a zero byte", mios.ErrInvalid)
		}
	case []byte:
		if out == nil {
			return nil, nil
		}
	}
	return out, nil
}
