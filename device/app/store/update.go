package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"mios/api/repo"
	"mios/device/app"
)

// The wait after a look at which something failed begins with minBackoff, doubles
// with each further one, and is at most the interval.
const (
	minBackoff = time.Minute
	// startWait is how long a look waits that should have been while the device was
	// off: starting comes first.
	startWait = 2 * time.Minute
)

// jittered takes up to a part of d off it, so that a fleet does not come at once.
func jittered(d time.Duration, part float64) time.Duration {
	return d - time.Duration(rand.Float64()*part*float64(d))
}

// Update brings those of the packages, or all if none is named, to their newest
// release that came from the store, and returns what became of each. The error is
// why nothing could be looked after.
func (s *Store) Update(ctx context.Context, pkgs []string, o Options, say Say) ([]*Result, error) {
	for _, pkg := range pkgs {
		if err := repo.CheckPackage(pkg); err != nil {
			return nil, app.Refuse(app.CodeInvalid, "%v", err)
		}
	}
	var results []*Result
	err := s.looked(ctx, say, pkgs, func(pkg string) {
		results = append(results, s.update(ctx, pkg, job{Options: o, asked: len(pkgs) > 0}, say))
	})
	if len(pkgs) == 0 {
		err = errors.Join(err, s.after(results, err))
	}
	return results, errors.Join(err, s.reported(results...))
}

// looked refreshes, and calls each with every package. In between whoever waits
// comes first.
func (s *Store) looked(ctx context.Context, say Say, pkgs []string, each func(pkg string)) error {
	locked := func(pkg string, f func() error) error {
		end, err := s.begin(ctx, say, pkg)
		if err != nil {
			return err
		}
		defer end()
		return f()
	}
	if err := locked("", func() error { return s.refresh(ctx, say) }); err != nil {
		return err
	}
	if len(pkgs) == 0 {
		for _, st := range s.cfg.Packages.List() {
			pkgs = append(pkgs, st.Package)
		}
	}
	for _, pkg := range pkgs {
		if err := locked(pkg, func() error { each(pkg); return nil }); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// update brings a package to its newest release, if it is the store's.
func (s *Store) update(ctx context.Context, pkg string, j job, say Say) *Result {
	st, err := s.cfg.Packages.Get(pkg)
	r := &Result{Package: pkg, Time: s.now().Unix()}
	if err != nil {
		return r.end(Failed, app.CodeNotInstalled, "it is not installed; \"store install "+pkg+"\" installs it")
	}
	if st.Installer != app.StoreInstaller {
		r.Label, r.From, r.FromName = st.Label, st.VersionCode, st.VersionName
		return r.end(Foreign, app.CodeInvalid, "it came as a file, and is left alone; \"store install "+pkg+"\" hands it over to the store")
	}
	return s.bring(ctx, pkg, j, say)
}

// after keeps what a look at all packages brought, and when the next one is.
func (s *Store) after(results []*Result, err error) error {
	failed := err != nil || slices.ContainsFunc(results, func(r *Result) bool { return r.Outcome == Failed })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rep.Time, s.rep.Error = s.now().Unix(), ""
	if err != nil {
		s.rep.Error = err.Error()
	} else {
		clear(s.rep.Apps) // what is no longer installed is no longer told of
	}
	wait := jittered(s.cfg.Interval, 0.25)
	if failed {
		s.state.Failures++
		wait = min(wait, jittered(minBackoff<<min(s.state.Failures-1, 20), 0.5))
	} else {
		s.state.Failures = 0
	}
	s.state.Next = 0
	if s.cfg.Interval > 0 {
		s.state.Next = s.now().Add(wait).Unix()
	}
	return s.write(stateFile, &s.state)
}

// Run looks for newer releases in intervals until ctx ends. When the next look is,
// it knows after a restart, too.
func (s *Store) Run(ctx context.Context) {
	if s.cfg.Interval <= 0 {
		return
	}
	first := true
	for {
		wait := s.untilNext(first)
		if first = false; wait <= 0 {
			s.cfg.Log.Info("store looks for updates")
			if _, err := s.Update(ctx, nil, Options{}, func(Progress) {}); err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("store", "err", err)
			}
			wait = s.untilNext(false)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(max(wait, time.Second), time.Hour)): // a device that sleeps, or sets its clock, sees the hour
		}
	}
}

// untilNext is how long it is until the next look.
func (s *Store) untilNext(first bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	wait := time.Unix(s.state.Next, 0).Sub(now)
	switch {
	case s.state.Next == 0 || wait > s.cfg.Interval: // never looked, or the clock was ahead
		wait = jittered(s.cfg.Interval, 0.5)
		s.state.Next = now.Add(wait).Unix()
		if err := s.write(stateFile, &s.state); err != nil {
			s.cfg.Log.Warn("when to look for updates is forgotten at the next start", "err", err)
		}
	case first:
		wait = max(wait, jittered(startWait, 0.5))
	}
	return wait
}

// A Listed package is one that is installed, and what became of it.
type Listed struct {
	app.Status
	Result *Result `json:"result,omitempty"` // when the store last looked after it
}

// List returns what is installed, with what became of it.
func (s *Store) List() []Listed {
	r := s.Report()
	var list []Listed
	for _, st := range s.cfg.Packages.List() {
		list = append(list, Listed{st, r.Apps[st.Package]})
	}
	return list
}
