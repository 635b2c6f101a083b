package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mios"
)

// Load fills an empty database with what [DB.Dump] wrote, all of it or nothing,
// and returns how many rows there were. It makes the tables by the migrations
// that the dump has. The error wraps [mios.ErrConflict] if the database is not
// empty, and [mios.ErrInvalid] if r is no whole dump.
func (db *DB) Load(ctx context.Context, r io.Reader) (rows int64, err error) {
	unlock, err := db.Lock(ctx, "migrate")
	if err != nil {
		return 0, err
	}
	defer unlock()
	tried := false
	err = db.Tx(ctx, func(tx *Tx) error {
		if tried {
			return fmt.Errorf("%w: somebody else uses the database: stop it", mios.ErrConflict) // r is read already
		}
		tried = true
		if err := tx.define(migrationsTable); err != nil {
			return err
		}
		have, err := tx.migrations("")
		if err != nil {
			return err
		}
		if len(have) > 0 {
			return fmt.Errorf("%w: the database is not empty: it has the tables of %s", mios.ErrConflict, have[0].Part)
		}
		l := loader{tx: tx, in: json.NewDecoder(r)}
		if err := l.load(); err != nil {
			return fmt.Errorf("offset %d: %w", l.in.InputOffset(), err)
		}
		rows = l.rows
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("load records: %w", err)
	}
	return rows, nil
}

// Empty tells whether no migration has been run in the database.
func (db *DB) Empty(ctx context.Context) (empty bool, err error) {
	err = db.Tx(ctx, func(tx *Tx) error {
		if err := tx.define(migrationsTable); err != nil {
			return err
		}
		have, err := tx.migrations("")
		empty = len(have) == 0
		return err
	})
	return empty, err
}

type loader struct {
	tx      *Tx
	in      *json.Decoder
	list    []migration // of the dump
	made    []string    // the tables that they made; nil: not run yet
	table   string
	columns []string
	types   []string // of columns
	batch   []any
	rows    int64
}

// batchSize is how many values one statement brings: both databases take over
// 30,000.
const batchSize = 2000

var errShort = fmt.Errorf("%w: the dump ends too early", mios.ErrInvalid)

// read returns the next line.
func (l *loader) read() (*dumpLine, error) {
	var line dumpLine
	switch err := l.in.Decode(&line); {
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return nil, errShort
	case err != nil && !errors.Is(err, mios.ErrInvalid):
		return nil, fmt.Errorf("%w: %v", mios.ErrInvalid, err)
	default:
		return &line, err
	}
}

func (l *loader) load() error {
	switch line, err := l.read(); {
	case err != nil:
		return err
	case line.Format != dumpFormat:
		return fmt.Errorf("%w: no dump of records: format %.40q, want %q", mios.ErrInvalid, line.Format, dumpFormat)
	}
	for {
		line, err := l.read()
		if err != nil {
			return err
		}
		switch {
		case line.Migration != nil && l.made == nil:
			l.list = append(l.list, *line.Migration)
		case line.Table != "":
			err = l.begin(line)
		case line.Row != nil && l.table != "":
			err = l.row(line.Row)
		case line.End:
			return l.end(line)
		default:
			err = fmt.Errorf("%w: a line that does not belong there", mios.ErrInvalid)
		}
		if err != nil {
			return err
		}
	}
}

// migrate makes the tables, empty ones.
func (l *loader) migrate() error {
	if l.made != nil {
		return nil
	}
	if err := l.tx.apply(l.list); err != nil {
		return err
	}
	l.made = append([]string{}, tables(l.list)...)
	for _, table := range slices.Backward(l.made) {
		if _, err := l.tx.Exec("DELETE FROM " + quote(table)); err != nil {
			return err
		}
	}
	return nil
}

// begin goes to the next table.
func (l *loader) begin(line *dumpLine) error {
	if err := errors.Join(l.flush(), l.migrate()); err != nil {
		return err
	}
	if !slices.Contains(l.made, line.Table) {
		return fmt.Errorf("%w: no migration makes the table %.40q", mios.ErrInvalid, line.Table)
	}
	names, types, err := l.tx.columns(line.Table)
	if err != nil {
		return err
	}
	l.table, l.columns, l.types = line.Table, line.Columns, nil
	for _, c := range line.Columns {
		i := slices.Index(names, c)
		if i < 0 {
			return fmt.Errorf("%w: table %s has no column %.40q", mios.ErrInvalid, line.Table, c)
		}
		l.types = append(l.types, types[i])
	}
	return nil
}

// row takes a row; many are inserted by one statement.
func (l *loader) row(row []value) error {
	if len(row) != len(l.columns) {
		return fmt.Errorf("%w: a row of %d values in table %s, want %d", mios.ErrInvalid, len(row), l.table, len(l.columns))
	}
	for i, v := range row {
		if n, ok := v.v.(int64); ok && l.types[i] == "BOOL" { // SQLite has numbers for these
			v.v = n != 0
		}
		l.batch = append(l.batch, v.v)
	}
	l.rows++
	if len(l.batch)+len(row) > batchSize {
		return l.flush()
	}
	return nil
}

func (l *loader) flush() error {
	if len(l.batch) == 0 {
		return nil
	}
	one := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(l.columns)), ", ") + ")"
	all := strings.TrimSuffix(strings.Repeat(one+", ", len(l.batch)/len(l.columns)), ", ")
	_, err := l.tx.Exec("INSERT INTO "+quote(l.table)+" ("+quote(l.columns...)+") VALUES "+all, l.batch...)
	l.batch = l.batch[:0]
	return err
}

// end checks that nothing is missing.
func (l *loader) end(line *dumpLine) error {
	if err := errors.Join(l.flush(), l.migrate()); err != nil {
		return err
	}
	if line.Rows != l.rows {
		return fmt.Errorf("%w: %d rows, and its end says %d", mios.ErrInvalid, l.rows, line.Rows)
	}
	if _, err := l.in.Token(); err != io.EOF {
		return fmt.Errorf("%w: more follows the end", mios.ErrInvalid)
	}
	return nil
}
