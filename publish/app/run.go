package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"mios/storage/record"
)

// How often a store looks for what nobody has told it of: other processes'
// changes, and time that has passed.
const (
	lookEvery  = 5 * time.Second
	sweepEvery = time.Hour
	staleAfter = 10 * time.Minute // a submission that is still looked at has no process any more
	orphaned   = 24 * time.Hour   // for so long a blob may wait to be submitted
)

// Run does the store's work in the background until ctx ends: it compiles what
// changed, takes up what a killed process left, lets scheduled shares grow and
// makes deltas. What goes wrong is logged, and tried again.
func (s *Store) Run(ctx context.Context) error {
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { s.runDeltas(ctx) })
	var swept time.Time
	for {
		if err := s.Tick(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("store", "err", err)
		}
		if now := s.cfg.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			if n, err := s.Sweep(ctx, orphaned); err != nil && ctx.Err() == nil {
				s.cfg.Log.Error("remove what nobody needs", "err", err)
			} else if n > 0 {
				s.cfg.Log.Info("removed what nobody needs", "files", n)
			}
		}
		signal(s.deltas)
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-time.After(lookEvery):
		}
	}
}

func (s *Store) runDeltas(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.deltas:
		}
		err := s.MakeDeltas(ctx, func(what string) { s.cfg.Log.Info("make a delta", "of", what) })
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("make deltas", "err", err)
		}
	}
}

// Tick does what is due: it takes up submissions whose process was killed, lets
// scheduled shares grow, and compiles.
func (s *Store) Tick(ctx context.Context) error {
	if err := s.Recover(ctx, staleAfter); err != nil {
		return err
	}
	if err := s.Grow(ctx); err != nil {
		return err
	}
	_, err := s.Compile(ctx)
	return err
}

// Recover looks at the submissions that have been looked at for longer than a
// duration: the process that began was killed.
func (s *Store) Recover(ctx context.Context, older time.Duration) error {
	var ids []string
	before := s.now().Add(-older).Unix()
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) (err error) {
		ids, err = column(tx, `SELECT id FROM store_submissions WHERE state = ? AND time <= ? ORDER BY id`, Checking, before)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := s.examine(ctx, id); err != nil && !isRefusal(err) {
			return fmt.Errorf("submission %s: %w", id, err)
		} else if err != nil {
			s.cfg.Log.Warn("a submission that a killed process had begun is refused", "id", id, "err", err)
		}
	}
	return nil
}

// Grow lets those shares grow whose time has come.
func (s *Store) Grow(ctx context.Context) error {
	now := s.now().Unix()
	var due []Release
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) (err error) {
		due, err = queryReleases(tx, `SELECT data FROM store_releases WHERE next > 0 AND next <= ? ORDER BY package, number`, now)
		return err
	})
	if err != nil || len(due) == 0 {
		return err
	}
	for _, r := range due {
		if err := s.growOne(ctx, r.Package, r.Number); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) growOne(ctx context.Context, pkg string, number int64) error {
	return s.change(ctx, "schedule", func(c *change) error {
		all, err := queryReleases(c.Tx, `SELECT data FROM store_releases WHERE package = ? AND number = ?`, pkg, number)
		if err != nil || len(all) == 0 {
			return err
		}
		r := &all[0]
		if r.Schedule == nil || r.Halted || r.Withdrawn || r.Schedule.Next.After(c.at) {
			return nil // somebody was quicker
		}
		steps := r.Schedule.Steps
		for _, step := range steps {
			if step > r.Share {
				r.Share = step
				break
			}
		}
		r.Schedule.Next = c.at.Add(r.Schedule.Every.Duration())
		if r.Share >= steps[len(steps)-1] {
			r.Schedule = nil
		}
		if err := c.saveRelease(r); err != nil {
			return err
		}
		if err := c.event("share", pkg, "its schedule", r.event()); err != nil {
			return err
		}
		return c.later(workTree, pkg)
	})
}
