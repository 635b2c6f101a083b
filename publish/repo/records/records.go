// Package records keeps a repository's state in a database, so that processes on
// several machines may change one repository.
package records

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"mios"
	"mios/publish/repo"
	"mios/storage/record"
)

//go:embed migrations/*.sql
var migrations embed.FS

// State is a [repo.State] in rows of a database.
type State struct {
	db   *record.DB
	name string
	lock string
}

var _ repo.State = (*State)(nil)

// Open returns the state of the repository of a name in a database, whose table
// it makes if there is none.
func Open(ctx context.Context, db *record.DB, name string) (*State, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "repo", files); err != nil {
		return nil, err
	}
	// A lock's name is short, and of few letters.
	return &State{db, name, fmt.Sprintf("repo-%.32s", mios.Sum([]byte(name)))}, nil
}

// Read implements [repo.State].
func (s *State) Read(ctx context.Context, name string) (b []byte, err error) {
	err = s.db.View(ctx, func(tx *record.Tx) error {
		return tx.QueryRow("SELECT content FROM repo_state WHERE repo = ? AND name = ?", s.name, name).Scan(&b)
	})
	if err != nil {
		return nil, fmt.Errorf("repository %s: %s: %w", s.name, name, err)
	}
	return b, nil
}

// Write implements [repo.State].
func (s *State) Write(ctx context.Context, name string, b []byte) error {
	return s.db.Tx(ctx, func(tx *record.Tx) error {
		n, err := tx.Exec("UPDATE repo_state SET content = ? WHERE repo = ? AND name = ?", b, s.name, name)
		if err != nil || n > 0 {
			return err
		}
		_, err = tx.Exec("INSERT INTO repo_state (repo, name, content) VALUES (?, ?, ?)", s.name, name, b)
		return err
	})
}

// Remove implements [repo.State].
func (s *State) Remove(ctx context.Context, name string) error {
	return s.db.Tx(ctx, func(tx *record.Tx) error {
		_, err := tx.Exec("DELETE FROM repo_state WHERE repo = ? AND name = ?", s.name, name)
		return err
	})
}

// List implements [repo.State].
func (s *State) List(ctx context.Context, folder string) (names []string, err error) {
	err = s.db.View(ctx, func(tx *record.Tx) error {
		names = nil
		rows, err := tx.Query("SELECT name FROM repo_state WHERE repo = ? ORDER BY name", s.name)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(name, folder+"/"); ok && !strings.Contains(rest, "/") {
				names = append(names, name)
			}
		}
		return rows.Err()
	})
	return names, err
}

// Lock implements [repo.State].
func (s *State) Lock(ctx context.Context) (unlock func(), err error) {
	return s.db.Lock(ctx, s.lock)
}
