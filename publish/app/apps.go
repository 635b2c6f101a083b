package app

import (
	"context"
	"fmt"
	"slices"

	"mios"
	"mios/storage/record"
)

// App returns what is known of a package. The error wraps [mios.ErrNotFound] if
// no version of it was approved.
func (s *Store) App(ctx context.Context, pkg string) (a *App, err error) {
	err = s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		if a, err = wantApp(tx, pkg); err != nil {
			return err
		}
		return completeApp(tx, a)
	})
	return a, err
}

func completeApp(tx *record.Tx, a *App) (err error) {
	if a.Releases, err = loadReleases(tx, a.Package); err != nil {
		return err
	}
	var n int64
	err = tx.QueryRow(`SELECT COUNT(*) FROM store_outbox WHERE package = ? AND kind = ?`, a.Package, workTree).Scan(&n)
	a.Pending = n > 0
	return err
}

// Apps returns apps sorted by package, those after the given one, at most
// limit; 0 means 100.
func (s *Store) Apps(ctx context.Context, after string, limit int) (list []App, err error) {
	if limit <= 0 {
		limit = 100
	}
	err = s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		pkgs, err := column(tx, `SELECT package FROM store_apps WHERE package > ? ORDER BY package LIMIT ?`, after, limit)
		list = []App{}
		for _, pkg := range pkgs {
			a, err := wantApp(tx, pkg)
			if err != nil {
				return err
			}
			if err := completeApp(tx, a); err != nil {
				return err
			}
			list = append(list, *a)
		}
		return err
	})
	return list, err
}

// SetDevelopers says who may submit versions of a package.
func (s *Store) SetDevelopers(ctx context.Context, who, pkg string, developers []string, why string) (*App, error) {
	if len(developers) == 0 {
		return nil, fmt.Errorf("%s: no developer: %w: name one", pkg, mios.ErrInvalid)
	}
	for _, d := range developers {
		if err := plain("developer's name", d, maxWho); err != nil {
			return nil, err
		}
		if d == "" {
			return nil, fmt.Errorf("%s: a developer without a name: %w", pkg, mios.ErrInvalid)
		}
	}
	err := s.change(ctx, who, func(c *change) error {
		a, err := wantApp(c.Tx, pkg)
		if err != nil || slices.Equal(a.Developers, developers) {
			return err
		}
		a.Developers = developers
		if err := c.saveApp(a); err != nil {
			return err
		}
		return c.event("developers", pkg, why, map[string][]string{"developers": developers})
	})
	if err != nil {
		return nil, err
	}
	return s.App(ctx, pkg)
}

// Status is what a store has to tell its operator.
type Status struct {
	Apps        int64            `json:"apps"`
	Submissions map[State]int64  `json:"submissions"`
	Outbox      map[string]int64 `json:"outbox"`  // work that a change has left, by kind
	Waiting     []string         `json:"waiting"` // packages whose claim waits for signatures
	Events      int64            `json:"events"`
}

// Status counts.
func (s *Store) Status(ctx context.Context) (st *Status, err error) {
	err = s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		st = &Status{}
		if err := tx.QueryRow(`SELECT COUNT(*) FROM store_apps`).Scan(&st.Apps); err != nil {
			return err
		}
		if err := tx.QueryRow(`SELECT event FROM store_head WHERE id = 1`).Scan(&st.Events); err != nil {
			return err
		}
		if st.Submissions, err = counts[State](tx, `SELECT state, COUNT(*) FROM store_submissions GROUP BY state`); err != nil {
			return err
		}
		if st.Outbox, err = counts[string](tx, `SELECT kind, COUNT(*) FROM store_outbox GROUP BY kind`); err != nil {
			return err
		}
		st.Waiting, err = column(tx, `SELECT package FROM store_apps WHERE claim = ? ORDER BY package`, ClaimWaits)
		return err
	})
	return st, err
}

func counts[K ~string](tx *record.Tx, query string) (map[K]int64, error) {
	rows, err := tx.Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	m := map[K]int64{}
	for rows.Next() {
		var k string
		var n int64
		if err := rows.Scan(&k, &n); err != nil {
			return nil, err
		}
		m[K(k)] = n
	}
	return m, rows.Err()
}
