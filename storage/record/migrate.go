package record

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mios"
	"mios/storage/record/sqltext"
)

// A migration is one step that the tables of a part of the program have taken.
type migration struct {
	Part   string `json:"part"`
	Number int64  `json:"number"` // 1, 2 …, within the part
	File   string `json:"file"`
	SQL    string `json:"sql"`
}

// migrationsTable remembers the text of each step, so that a dump can be loaded
// by a program that knows nothing of what is in it. Seq is the order of all.
const migrationsTable = `CREATE TABLE IF NOT EXISTS mios_migrations (
	part TEXT NOT NULL, number BIGINT NOT NULL, file TEXT NOT NULL, sql TEXT NOT NULL,
	seq BIGINT NOT NULL, time BIGINT NOT NULL, PRIMARY KEY (part, number))`

// Migrate brings the tables of one part of the program, such as "store", to
// what its migrations say: files *.sql named by number, 0001_first.sql, each
// run once and in order, all of them or none. The error wraps
// [mios.ErrConflict] if the database is newer than the program, or a migration
// is another than the one that was run.
func (db *DB) Migrate(ctx context.Context, part string, migrations fs.FS) error {
	list, err := readMigrations(part, migrations)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", part, err)
	}
	unlock, err := db.Lock(ctx, "migrate")
	if err != nil {
		return fmt.Errorf("migrate %s: %w", part, err)
	}
	defer unlock()
	err = db.Tx(ctx, func(tx *Tx) error {
		if err := tx.define(migrationsTable); err != nil {
			return err
		}
		have, err := tx.migrations("WHERE part = ?", part)
		if err != nil {
			return err
		}
		if len(have) > len(list) {
			return fmt.Errorf("%w: the database is at %s, and this program knows only the first %d: run the newer mios that wrote it",
				mios.ErrConflict, have[len(have)-1].File, len(list))
		}
		for i, m := range have {
			if m.SQL != list[i].SQL {
				return fmt.Errorf("%w: %s is not what this database ran as %s: migrations are added, never changed",
					mios.ErrConflict, list[i].File, m.File)
			}
		}
		return tx.apply(list[len(have):])
	})
	if err != nil {
		return fmt.Errorf("migrate %s: %w", part, err)
	}
	return nil
}

// readMigrations returns the files of a folder in order. Each number from 1 on
// has one.
func readMigrations(part string, migrations fs.FS) ([]migration, error) {
	names, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []migration
	for i, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 || len(number) != 4 {
			return nil, fmt.Errorf("%s: %w: want its name to begin with %04d_", name, mios.ErrInvalid, i+1)
		}
		b, err := fs.ReadFile(migrations, name)
		if err != nil {
			return nil, err
		}
		list = append(list, migration{part, int64(i + 1), name, string(b)})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no *.sql among the migrations", mios.ErrInvalid)
	}
	return list, nil
}

// define runs the statements of a migration.
func (tx *Tx) define(sql string) error {
	for _, s := range sqltext.Statements(sql) {
		if _, err := tx.prepare(nil); err != nil {
			return err
		}
		if _, err := tx.handle.ExecContext(tx.ctx, tx.db.define(s)); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(sqltext.Words(s, 3), " "), tx.fail(err))
		}
	}
	return nil
}

// apply runs migrations and remembers them.
func (tx *Tx) apply(list []migration) error {
	for _, m := range list {
		if err := tx.define(m.SQL); err != nil {
			return fmt.Errorf("%s: %w", m.File, err)
		}
		_, err := tx.Exec(`INSERT INTO mios_migrations (part, number, file, sql, seq, time)
			SELECT ?, ?, ?, ?, coalesce(max(seq), 0) + 1, ? FROM mios_migrations`,
			m.Part, m.Number, m.File, m.SQL, time.Now().Unix())
		if err != nil {
			return fmt.Errorf("%s: %w", m.File, err)
		}
	}
	return nil
}

// migrations returns what was run, in order.
func (tx *Tx) migrations(where string, args ...any) ([]migration, error) {
	rows, err := tx.Query("SELECT part, number, file, sql FROM mios_migrations "+where+" ORDER BY seq", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []migration
	for rows.Next() {
		var m migration
		if err := rows.Scan(&m.Part, &m.Number, &m.File, &m.SQL); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, rows.Err()
}
