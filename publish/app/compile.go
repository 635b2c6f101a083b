package app

import (
	"context"
	"errors"
	"fmt"

	"mios"
	api "mios/api/repo"
	"mios/publish/app/fdroid"
	"mios/publish/repo"
	"mios/storage/record"
)

// The locks of those who do what the outbox says.
const (
	compileLock = "store-compile"
	fdroidLock  = "store-fdroid"
	deltaLock   = "store-delta"
)

// compileBatch is how many packages are compiled in one change of the
// repository.
const compileBatch = 256

// Compiled says what [Store.Compile] did.
type Compiled struct {
	Packages []string       `json:"packages"`         // that were brought up to date
	Waiting  []string       `json:"waiting"`          // that wait for a signed claim
	Result   *repo.Result   `json:"result,omitempty"` // of the last change of the repository
	FDroid   *fdroid.Result `json:"fdroid,omitempty"`
}

// A job is a row of the outbox.
type job struct {
	kind, pkg string
	revision  int64
}

// Compile brings the tree to what the rows say: claims, releases and listings
// of the packages that changed since, and after them F-Droid's indexes. It can
// be called again after any kill, by any process.
func (s *Store) Compile(ctx context.Context) (*Compiled, error) {
	out, err := s.compileTree(ctx)
	if err != nil {
		return out, err
	}
	out.FDroid, err = s.compileFDroid(ctx)
	return out, err
}

// jobs returns the work of one kind that is to be done, the oldest first.
func (s *Store) jobs(ctx context.Context, kind string) ([]job, error) {
	var list []job
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		list = nil
		rows, err := tx.Query(`SELECT package, revision FROM store_outbox WHERE kind = ? ORDER BY revision`, kind)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			j := job{kind: kind}
			if err := rows.Scan(&j.pkg, &j.revision); err != nil {
				return err
			}
			list = append(list, j)
		}
		return rows.Err()
	})
	return list, err
}

// done takes a job out of the outbox, unless more of it came since. If it is
// gone, another process did it meanwhile, which may have known more: then it is
// done once more.
func (j job) done(tx *record.Tx) error {
	n, err := tx.Exec(`DELETE FROM store_outbox WHERE kind = ? AND package = ? AND revision = ?`, j.kind, j.pkg, j.revision)
	if err != nil || n > 0 {
		return err
	}
	var left int64
	if err := tx.QueryRow(`SELECT COUNT(*) FROM store_outbox WHERE kind = ? AND package = ?`, j.kind, j.pkg).Scan(&left); err != nil || left > 0 {
		return err
	}
	return enqueue(tx, j.kind, j.pkg, j.revision)
}

func (s *Store) compileTree(ctx context.Context) (*Compiled, error) {
	out := &Compiled{Packages: []string{}, Waiting: []string{}}
	todo, err := s.jobs(ctx, workTree)
	if err != nil || len(todo) == 0 {
		return out, err
	}
	unlock, err := s.cfg.DB.Lock(ctx, compileLock)
	if err != nil {
		return out, err
	}
	defer unlock()
	if todo, err = s.jobs(ctx, workTree); err != nil { // others have compiled meanwhile
		return out, err
	}
	var first error
	for len(todo) > 0 {
		n := min(len(todo), compileBatch)
		if err := s.compileBatch(ctx, todo[:n], out); err != nil {
			if ctx.Err() != nil {
				return out, err
			}
			first = errors.Join(first, err)
		}
		todo = todo[n:]
	}
	return out, first
}

// compileBatch publishes some packages at once or, where one of them does not
// let itself be published, one by one.
func (s *Store) compileBatch(ctx context.Context, todo []job, out *Compiled) error {
	ready, wrong := s.claimed(ctx, todo, out)
	err := s.publish(ctx, ready, out)
	if err == nil || len(ready) < 2 || ctx.Err() != nil {
		return errors.Join(wrong, err)
	}
	all := wrong
	for i := range ready {
		if err := s.publish(ctx, ready[i:i+1], out); err != nil {
			all = errors.Join(all, fmt.Errorf("publish %s: %w", ready[i].pkg, err))
		}
	}
	return all
}

// publish brings packages to what their rows say, and marks them as done.
func (s *Store) publish(ctx context.Context, todo []job, out *Compiled) error {
	if len(todo) == 0 {
		return nil
	}
	var apps []repo.App
	var views []*view
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		apps, views = nil, make([]*view, len(todo))
		for i, j := range todo {
			v, err := load(tx, j.pkg)
			if err != nil {
				return err
			}
			if v != nil {
				views[i], apps = v, append(apps, s.publication(ctx, v))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(apps) > 0 {
		if out.Result, err = s.cfg.Repo.SetApps(ctx, apps...); err != nil {
			return err
		}
	}
	err = s.cfg.DB.Tx(ctx, func(tx *record.Tx) error {
		for i, j := range todo {
			if views[i] != nil {
				if err := s.setFDroid(tx, views[i], j.revision); err != nil {
					return err
				}
			}
			if err := j.done(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, j := range todo {
		out.Packages = append(out.Packages, j.pkg)
	}
	return nil
}

// claimed sees to it that packages are claimed for their owners, all in one
// change of the repository, and returns those that are.
func (s *Store) claimed(ctx context.Context, todo []job, out *Compiled) (ready []job, err error) {
	var apps []*App
	err = s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		apps = nil
		for _, j := range todo {
			a, err := wantApp(tx, j.pkg)
			if err != nil {
				return err
			}
			apps = append(apps, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.claim(ctx, apps); err != nil {
		return nil, err
	}
	var wrong error // of some packages, which do not keep the others back
	for i, a := range apps {
		state := a.Claim
		if state != ClaimPublished {
			if state, err = s.claimState(ctx, a); err != nil {
				wrong = errors.Join(wrong, err)
				continue
			}
			if err := s.cfg.DB.Tx(ctx, func(tx *record.Tx) error {
				_, err := tx.Exec(`UPDATE store_apps SET claim = ? WHERE package = ?`, state, a.Package)
				return err
			}); err != nil {
				return nil, err
			}
		}
		if state == ClaimPublished {
			ready = append(ready, todo[i])
		} else {
			out.Waiting = append(out.Waiting, a.Package)
		}
	}
	return ready, wrong
}

// claim claims those packages for their owners that nobody has.
func (s *Store) claim(ctx context.Context, apps []*App) error {
	var claims []api.Claim
	for _, a := range apps {
		if a.Claim != Unclaimed {
			continue
		}
		if _, _, err := s.cfg.Repo.ClaimOf(ctx, a.Package); errors.Is(err, mios.ErrNotFound) {
			claims = append(claims, api.Claim{Package: a.Package, Signers: a.Owner})
		} else if err != nil {
			return err
		}
	}
	if len(claims) == 0 {
		return nil
	}
	_, err := s.cfg.Repo.Claim(ctx, claims...)
	return err
}

// claimState tells how far the claim of a package is.
func (s *Store) claimState(ctx context.Context, a *App) (ClaimState, error) {
	has, published, err := s.cfg.Repo.ClaimOf(ctx, a.Package)
	switch {
	case err != nil:
		return a.Claim, err
	case !sameSigners(has.Signers, a.Owner):
		return a.Claim, fmt.Errorf("%s: the repository has the package for the signer %s, and here it is that of %s: %w: mios publish claim changes that",
			a.Package, short(has.Signers), short(a.Owner), mios.ErrDenied)
	case !published:
		return ClaimWaits, nil
	}
	return ClaimPublished, nil
}
