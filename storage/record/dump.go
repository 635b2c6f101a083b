package record

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mios"
	"mios/storage/record/sqltext"
)

// A dump is lines of JSON: a header, the migrations, each table followed by its
// rows, and the end, which tells that nothing is missing.
type dumpLine struct {
	Format    string     `json:"format,omitempty"`
	Migration *migration `json:"migration,omitempty"`
	Table     string     `json:"table,omitempty"`
	Columns   []string   `json:"columns,omitempty"`
	Row       []value    `json:"row,omitempty"`
	End       bool       `json:"end,omitempty"`
	Rows      int64      `json:"rows,omitempty"` // at the end: how many there were
}

const dumpFormat = "mios records 1"

// A value is one of a row: JSON's null, number or string, or {"bytes": base64}.
type value struct{ v any }

// MarshalJSON implements [json.Marshaler]. A fraction is told by its dot.
func (v value) MarshalJSON() ([]byte, error) {
	switch x := v.v.(type) {
	case bool:
		return json.Marshal(map[bool]int{true: 1}[x])
	case float64:
		b, err := json.Marshal(x)
		if err == nil && !strings.ContainsAny(string(b), ".eE") {
			b = append(b, ".0"...)
		}
		return b, err
	case []byte:
		return json.Marshal(map[string][]byte{"bytes": append([]byte{}, x...)}) // none is "", not null
	}
	return json.Marshal(v.v)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (v *value) UnmarshalJSON(b []byte) error {
	var err error
	switch {
	case string(b) == "null":
		v.v = nil
	case b[0] == '"':
		var s string
		err = json.Unmarshal(b, &s)
		v.v = s
	case b[0] == '{':
		var x struct {
			Bytes *[]byte `json:"bytes"`
		}
		if err = json.Unmarshal(b, &x); err == nil && x.Bytes == nil {
			err = fmt.Errorf("%w: value %.40q", mios.ErrInvalid, b)
		}
		if err == nil {
			v.v = *x.Bytes
		}
	case strings.ContainsAny(string(b), ".eE"):
		v.v, err = strconv.ParseFloat(string(b), 64)
	default:
		v.v, err = strconv.ParseInt(string(b), 10, 64)
	}
	return err
}

// Dump writes all tables that migrations have made, as of one moment, in a form
// that [DB.Load] reads into either kind of database. The same rows give the
// same bytes. It returns how many rows there were.
func (db *DB) Dump(ctx context.Context, w io.Writer) (rows int64, err error) {
	err = db.Tx(ctx, func(tx *Tx) error { return tx.define(migrationsTable) })
	if err != nil {
		return 0, fmt.Errorf("dump records: %w", err)
	}
	out := bufio.NewWriter(w)
	err = db.View(ctx, func(tx *Tx) error {
		if rows > 0 || out.Buffered() > 0 {
			return fmt.Errorf("%w: the database was in the way: try again", mios.ErrConflict) // half was written
		}
		d := dumper{tx: tx, out: json.NewEncoder(out)}
		d.out.SetEscapeHTML(false)
		err := d.dump()
		rows = d.rows
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("dump records: %w", err)
	}
	return rows, out.Flush()
}

type dumper struct {
	tx   *Tx
	out  *json.Encoder
	rows int64
}

func (d *dumper) dump() error {
	list, err := d.tx.migrations("")
	if err != nil {
		return err
	}
	if err := d.out.Encode(dumpLine{Format: dumpFormat}); err != nil {
		return err
	}
	for _, m := range list {
		if err := d.out.Encode(dumpLine{Migration: &m}); err != nil {
			return err
		}
	}
	for _, table := range tables(list) {
		if err := d.table(table); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return d.out.Encode(dumpLine{End: true, Rows: d.rows})
}

// table writes the rows of a table, sorted by all their columns.
func (d *dumper) table(name string) error {
	columns, _, err := d.tx.columns(name)
	if err != nil {
		return err
	}
	if err := d.out.Encode(dumpLine{Table: name, Columns: columns}); err != nil {
		return err
	}
	order := make([]string, len(columns))
	for i := range columns {
		order[i] = strconv.Itoa(i+1) + " NULLS FIRST"
	}
	rows, err := d.tx.Query("SELECT " + quote(columns...) + " FROM " + quote(name) + " ORDER BY " + strings.Join(order, ", "))
	if err != nil {
		return err
	}
	defer rows.Close()
	row, dest := make([]value, len(columns)), make([]any, len(columns))
	for i := range row {
		dest[i] = &row[i].v
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if err := d.out.Encode(dumpLine{Row: row}); err != nil {
			return err
		}
		d.rows++
	}
	return rows.Err()
}

// columns returns the names of a table's columns, and of their types as the
// database calls them.
func (tx *Tx) columns(table string) (names, types []string, err error) {
	rows, err := tx.Query("SELECT * FROM " + quote(table) + " LIMIT 0")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	list, err := rows.rows.ColumnTypes()
	if err != nil {
		return nil, nil, err
	}
	for _, c := range list {
		names, types = append(names, c.Name()), append(types, c.DatabaseTypeName())
	}
	return names, types, nil
}

// tables returns the tables that migrations have made, in the order in which
// they were made: a table refers to those before it.
func tables(list []migration) []string {
	var names []string
	remove := func(name string) {
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	}
	for _, m := range list {
		for _, s := range sqltext.Statements(m.SQL) {
			w := sqltext.Words(s, 6)
			clean := slices.DeleteFunc(w, func(s string) bool { return slices.Contains([]string{"IF", "NOT", "EXISTS"}, strings.ToUpper(s)) })
			switch {
			case len(clean) < 3:
			case sqltext.Begins(s, "CREATE", "TABLE"):
				remove(clean[2])
				names = append(names, clean[2])
			case sqltext.Begins(s, "DROP", "TABLE"):
				remove(clean[2])
			case sqltext.Begins(s, "ALTER", "TABLE") && len(clean) == 6 && strings.EqualFold(clean[3]+clean[4], "RENAMETO"):
				if i := slices.Index(names, clean[2]); i >= 0 {
					names[i] = clean[5]
				}
			}
		}
	}
	return names
}

// quote returns names as SQL takes them, whatever they are.
func quote(names ...string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = `"` + strings.ReplaceAll(n, `"`, `""`) + `"`
	}
	return strings.Join(list, ", ")
}
