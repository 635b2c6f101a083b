package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mios"
	"mios/api"
	apirepo "mios/api/repo"
)

// Release puts an approved submission on a track. Devices see it once
// [Store.Compile] has run.
func (s *Store) Release(ctx context.Context, who, id string, o ReleaseOptions) (*Release, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var r *Release
	err := s.change(ctx, who, func(c *change) error {
		row, err := loadSubmission(c.Tx, id)
		if err != nil {
			return err
		}
		if row.State != Approved {
			next := "mios store review " + id + " --approve"
			if row.State == Rejected {
				next = "hand the version in anew"
			}
			return fmt.Errorf("submission %s is %s: %w: %s", id, row.State.Said(), mios.ErrConflict, next)
		}
		all, err := loadReleases(c.Tx, row.Package)
		if err != nil {
			return err
		}
		now := current(all, o.Track)
		if now != nil && now.Submission == id {
			if now.By == who && now.Share == o.Share && !now.Halted {
				r = now
				return nil // asked again
			}
			return fmt.Errorf("submission %s: it is release %d on %s already: %w: mios store share makes it larger", id, now.Number, o.Track, mios.ErrConflict)
		}
		if now != nil && now.VersionCode > row.VersionCode {
			return fmt.Errorf("submission %s: version code %d is below %d, which is released on %s: %w: mios store rollback goes back",
				id, row.VersionCode, now.VersionCode, o.Track, mios.ErrConflict)
		}
		if r, err = c.newRelease(row, all, &o); err != nil {
			return err
		}
		return c.release("release", r, all, o.Why)
	})
	return r, err
}

// check says what is wrong with the options, and fills in what they leave out.
func (o *ReleaseOptions) check() error {
	if o.Track == "" {
		o.Track = apirepo.TrackProduction
	}
	if err := apirepo.CheckTrack(o.Track); err != nil {
		return err
	}
	if len(o.Steps) == 0 {
		o.Steps = DefaultSteps
	}
	if o.Share == 0 {
		o.Share = apirepo.Everyone
		if o.Track == apirepo.TrackProduction {
			o.Share = o.Steps[0]
		}
	}
	if err := checkShare(o.Share); err != nil {
		return err
	}
	for _, r := range o.Regions {
		if err := api.CheckRegion(r); err != nil {
			return err
		}
	}
	for _, c := range o.Classes {
		if !slices.Contains(apirepo.Classes, c) {
			return fmt.Errorf("class %q: %w: want %s", c, mios.ErrInvalid, strings.Join(apirepo.Classes, ", "))
		}
	}
	for i, step := range o.Steps {
		if err := checkShare(step); err != nil {
			return err
		}
		if i > 0 && step <= o.Steps[i-1] {
			return fmt.Errorf("steps: %s after %s: %w: shares only grow", step, o.Steps[i-1], mios.ErrInvalid)
		}
	}
	if o.Every != 0 && o.Every < time.Minute {
		return fmt.Errorf("schedule: a step every %s: %w: want a minute or more", o.Every, mios.ErrInvalid)
	}
	return plain("reason", o.Why, maxWhy)
}

func checkShare(share apirepo.Share) error {
	if share <= 0 || share > apirepo.Everyone {
		return fmt.Errorf("share %s: %w: want more than 0 and at most 100 %%; mios store halt stops a release", share, mios.ErrInvalid)
	}
	return nil
}

// newRelease is the next of a package.
func (c *change) newRelease(row *submissionRow, all []Release, o *ReleaseOptions) (*Release, error) {
	a, err := wantApp(c.Tx, row.Package)
	if err != nil {
		return nil, err
	}
	r := &Release{
		Package: row.Package, Number: a.Base + 1, Submission: row.ID, VersionCode: row.VersionCode, VersionName: row.VersionName,
		Track: o.Track, Share: o.Share, Regions: o.Regions, Classes: o.Classes, By: c.who, At: c.at,
	}
	if len(all) > 0 {
		r.Number = all[0].Number + 1
	}
	if o.Every > 0 && r.Share < o.Steps[len(o.Steps)-1] {
		every := Seconds(o.Every / time.Second)
		r.Schedule = &Schedule{Steps: o.Steps, Every: every, Next: c.at.Add(every.Duration())}
	}
	return r, nil
}

// release writes a new release. Those before it on its track no longer grow.
func (c *change) release(what string, r *Release, all []Release, why string) error {
	for i := range all {
		old := &all[i]
		if old.Track == r.Track && old.Schedule != nil {
			old.Schedule = nil
			if err := c.saveRelease(old); err != nil {
				return err
			}
		}
	}
	if err := c.saveRelease(r); err != nil {
		return err
	}
	if err := c.event(what, r.Package, why, r.event()); err != nil {
		return err
	}
	if err := c.later(workTree, r.Package); err != nil {
		return err
	}
	return c.later(workDelta, r.Package)
}

// current returns the newest release of a track that is not withdrawn, or nil.
// The list has the newest first.
func current(list []Release, track string) *Release {
	for i := range list {
		if list[i].Track == track && !list[i].Withdrawn {
			return &list[i]
		}
	}
	return nil
}

// Current returns the newest release of a track that is not withdrawn, or nil.
func (a *App) Current(track string) *Release { return current(a.Releases, track) }

// SetShare says how many devices a release is for.
func (s *Store) SetShare(ctx context.Context, who, pkg string, number int64, share apirepo.Share, why string) (*Release, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	return s.alter(ctx, who, "share", pkg, number, why, func(r *Release, _ time.Time) error {
		r.Share = share
		if r.Schedule != nil && share >= r.Schedule.Steps[len(r.Schedule.Steps)-1] {
			r.Schedule = nil
		}
		return nil
	})
}

// Halt lets no further device take a release, until told otherwise.
func (s *Store) Halt(ctx context.Context, who, pkg string, number int64, why string) (*Release, error) {
	return s.alter(ctx, who, "halt", pkg, number, why, func(r *Release, _ time.Time) error {
		r.Halted = true
		return nil
	})
}

// Resume undoes [Store.Halt]. A schedule goes on with a whole interval.
func (s *Store) Resume(ctx context.Context, who, pkg string, number int64, why string) (*Release, error) {
	return s.alter(ctx, who, "resume", pkg, number, why, func(r *Release, at time.Time) error {
		r.Halted = false
		if r.Schedule != nil {
			r.Schedule.Next = at.Add(r.Schedule.Every.Duration())
		}
		return nil
	})
}

// alter changes one release. What is so already is no event.
func (s *Store) alter(ctx context.Context, who, what, pkg string, number int64, why string, f func(r *Release, at time.Time) error) (*Release, error) {
	var r *Release
	err := s.change(ctx, who, func(c *change) error {
		all, err := loadReleases(c.Tx, pkg)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(r Release) bool { return r.Number == number })
		switch {
		case i < 0:
			return notFound("release", fmt.Sprintf("%d of %s", number, pkg), "mios store show "+pkg+" lists those there are")
		case all[i].Withdrawn:
			return fmt.Errorf("release %d of %s: it was withdrawn, for good: %w: release another version", number, pkg, mios.ErrConflict)
		}
		r = &all[i]
		before := *r
		if err := f(r, c.at); err != nil {
			return err
		}
		if r.Share == before.Share && r.Halted == before.Halted {
			return nil
		}
		if err := c.saveRelease(r); err != nil {
			return err
		}
		if err := c.event(what, pkg, why, r.event()); err != nil {
			return err
		}
		return c.later(workTree, pkg)
	})
	return r, err
}

// Rollback releases what the earlier release to was once more, as a new release
// that devices go down to, and withdraws those on its track whose version is
// newer. With to 0 it is the newest one on the track that has an older version
// than the track's current release and was not withdrawn.
func (s *Store) Rollback(ctx context.Context, who, pkg, track string, to int64, why string) (*Release, error) {
	if track == "" {
		track = apirepo.TrackProduction
	}
	if err := apirepo.CheckTrack(track); err != nil {
		return nil, err
	}
	var r *Release
	err := s.change(ctx, who, func(c *change) error {
		all, err := loadReleases(c.Tx, pkg)
		if err != nil {
			return err
		}
		if now := current(all, track); to != 0 && now != nil && now.Rollback && slices.ContainsFunc(all, func(o Release) bool {
			return o.Number == to && o.Submission == now.Submission
		}) {
			r = now
			return nil // asked again
		}
		bad, good, err := rollbackTo(all, pkg, track, to)
		if err != nil {
			return err
		}
		row, err := loadSubmission(c.Tx, good.Submission)
		if err != nil {
			return err
		}
		o := ReleaseOptions{Track: track, Share: apirepo.Everyone, Regions: bad.Regions, Classes: bad.Classes}
		if r, err = c.newRelease(row, all, &o); err != nil {
			return err
		}
		r.Rollback = true
		for i := range all {
			old := &all[i]
			if old.Track != track || old.Withdrawn || old.VersionCode <= r.VersionCode {
				continue
			}
			old.Withdrawn, old.Schedule = true, nil
			if err := c.saveRelease(old); err != nil {
				return err
			}
			if err := c.event("withdraw", pkg, why, old.event()); err != nil {
				return err
			}
		}
		return c.release("rollback", r, all, why)
	})
	return r, err
}

// rollbackTo returns the release that devices are to leave, and the one that
// they go back to.
func rollbackTo(all []Release, pkg, track string, to int64) (bad, good *Release, err error) {
	if bad = current(all, track); bad == nil {
		return nil, nil, notFound("app", pkg, "nothing of it is released on "+track)
	}
	for i := range all {
		r := &all[i]
		if to != 0 && r.Number == to && (r.VersionCode >= bad.VersionCode || r.Track != track) {
			return nil, nil, fmt.Errorf("release %d of %s: it is not an older version than release %d on %s: %w: mios store show %s lists them",
				to, pkg, bad.Number, track, mios.ErrInvalid, pkg)
		}
		if r.Track == track && r.VersionCode < bad.VersionCode && (to == r.Number || to == 0 && !r.Withdrawn) {
			return bad, r, nil
		}
	}
	if to != 0 {
		return nil, nil, notFound("release", fmt.Sprintf("%d of %s", to, pkg), "mios store show "+pkg+" lists those there are")
	}
	return nil, nil, fmt.Errorf("%s: no older version was released on %s: %w: halt release %d, and submit a mended version", pkg, track, mios.ErrNotFound, bad.Number)
}
