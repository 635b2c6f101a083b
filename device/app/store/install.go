package store

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"mios"
	"mios/api/repo"
	"mios/device/app"
	"mios/internal/progress"
)

// Options say how something is fetched.
type Options struct {
	Unmetered bool `json:"unmetered,omitempty"` // whatever the data budget is
}

// Install installs the release of a package that is for this device, or brings
// what is there to it. The store keeps the package up to date from then on. The
// error of a refusal is an [*app.Error]; what the report says is returned in any
// case that is about the package.
func (s *Store) Install(ctx context.Context, pkg string, say Say) (*Result, error) {
	if err := repo.CheckPackage(pkg); err != nil {
		return nil, app.Refuse(app.CodeInvalid, "%v", err)
	}
	end, err := s.begin(ctx, say, pkg)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.refresh(ctx, say); err != nil {
		return nil, err
	}
	// A person who asks for an app is not told that the month's data is used up.
	r := s.bring(ctx, pkg, job{Options: Options{Unmetered: true}, asked: true}, say)
	return r, errors.Join(r.Err(), s.reported(r))
}

// A job is what bring is told.
type job struct {
	Options
	asked bool // by a person, for this package: try again what was refused or no good, and take it over
}

// bring brings a package to the release that is for this device.
func (s *Store) bring(ctx context.Context, pkg string, j job, say Say) *Result {
	r := &Result{Package: pkg, Time: s.now().Unix()}
	var has repo.AppInstalled
	old, err := s.cfg.Packages.Get(pkg)
	if err == nil {
		has = repo.AppInstalled{Release: old.Release, VersionCode: old.VersionCode, SHA256: old.SHA256}
		r.Label, r.From, r.FromName = old.Label, old.VersionCode, old.VersionName
	} else {
		old = nil
	}
	say(Progress{Package: pkg, Step: Looking})
	rel, err := s.cfg.Repository.AppOffer(ctx, pkg, &s.cfg.Device, has)
	if err != nil {
		return s.noOffer(ctx, r, old, err, j)
	}
	r.To, r.ToName, r.Release = rel.VersionCode, rel.VersionName, rel.Release
	if rel.Label != "" {
		r.Label = rel.Label
	}
	if j.asked {
		s.forgetDeltas(rel)
	}
	p, err := s.plan(rel, old)
	if err != nil {
		return s.ended(r, nil, err)
	}
	if why := s.badBefore(pkg, rel, j); why != "" {
		return r.end(Refused, app.CodeVerification, why)
	}
	if err := s.cfg.Packages.MayReplace(p.set()); err != nil {
		return s.ended(r, p, err)
	}
	if err := s.want(pkg, p.wanted()); err != nil {
		return s.ended(r, p, err)
	}
	if err := s.take(ctx, p, r, j, say); err != nil {
		return s.ended(r, p, err)
	}
	return s.done(r, p)
}

// noOffer says what it means that there is no release to take.
func (s *Store) noOffer(ctx context.Context, r *Result, old *app.Status, err error, j job) *Result {
	switch {
	case !errors.Is(err, mios.ErrNotFound):
		return s.ended(r, nil, err)
	case old == nil:
		return r.end(Refused, app.CodeInvalid, fmt.Sprintf("there is no release of it for this device: %v", err))
	case j.asked && old.Installer == "":
		_, err := s.cfg.Repository.AppOffer(ctx, r.Package, &s.cfg.Device, repo.AppInstalled{})
		if errors.Is(err, mios.ErrNotFound) {
			return r.end(Refused, app.CodeInvalid, fmt.Sprintf("it came as a file, and stays so: there is no release of it for this device: %v", err))
		}
		if err == nil {
			err = s.adopt(old)
		}
		if err != nil {
			return s.ended(r, nil, err)
		}
	}
	s.unwant(r.Package)
	return r.end(Current, "", err.Error())
}

// adopt makes the store responsible for a package that came as a file.
func (s *Store) adopt(old *app.Status) error { return s.cfg.Packages.Keep(old.Package, old.Release) }

// take fetches and installs a plan, and if its delta is no good the whole APK.
func (s *Store) take(ctx context.Context, p *plan, r *Result, j job, say Say) error {
	for {
		r.Way = p.way()
		if err := s.affordable(p, j); err != nil {
			return err
		}
		before := s.cfg.Meter.Usage().Spent
		set := p.set()
		err := s.fetch(ctx, p, set, say)
		r.Fetched += max(0, s.cfg.Meter.Usage().Spent-before)
		if errors.Is(err, errDelta) && ctx.Err() == nil {
			r.Delta = err.Error()
			if !errors.Is(err, mios.ErrNotFound) && !errors.Is(err, mios.ErrDenied) { // what is not there costs nothing
				s.badDelta(p.delta.Target.SHA256)
			}
			s.cfg.Log.Warn("fetching the whole package", "package", p.rel.Package, "err", err)
			whole := *p.rel
			whole.Deltas = nil
			next, err := s.plan(&whole, p.old)
			if err != nil {
				return err
			}
			*p = *next
			continue
		}
		if err != nil {
			return err
		}
		say(Progress{Package: p.rel.Package, Step: Installing, Way: r.Way})
		_, err = s.cfg.Packages.InstallSet(ctx, set)
		return err
	}
}

// errBudget: the update would fetch more than the budget allows.
var errBudget = errors.New("the data budget for apps is used up")

// affordable says why a plan has to wait for data or for space.
func (s *Store) affordable(p *plan, j job) error {
	if u := s.cfg.Meter.Usage(); !j.Unmetered && !u.Allows(p.cost) {
		return fmt.Errorf("it would fetch %s, and %s of %s are left until %s: %w: \"store update --unmetered %s\" fetches it nevertheless",
			progress.Size(p.cost), progress.Size(max(0, u.Budget-u.Spent)), progress.Size(u.Budget), u.Until.Format("2006-01-02"), errBudget, p.rel.Package)
	}
	if s.cfg.Free == nil {
		return nil
	}
	free, err := s.cfg.Free()
	if err == nil && free < p.room() {
		return app.Refuse(app.CodeStorage, "it needs %s, and %s are free; uninstall something", progress.Size(p.room()), progress.Size(free))
	}
	return err
}

// done ends a job that went well.
func (s *Store) done(r *Result, p *plan) *Result {
	s.unwant(r.Package)
	switch {
	case p.old == nil:
		r.Outcome = Installed
	case r.To < r.From:
		r.Outcome, r.Why = Lowered, "the repository released this older version again"
		if !p.rel.Rollback {
			r.Why = "the repository withdrew the newer version"
		}
	default:
		r.Outcome = Updated
	}
	s.cfg.Log.Info("store", "package", r.Package, "outcome", r.Outcome, "from", r.From, "to", r.To, "way", r.Way, "fetched", r.Fetched)
	return r
}

// ended ends a job that failed: what the device refuses is refused until the
// repository says another thing, all else is tried again.
func (s *Store) ended(r *Result, p *plan, err error) *Result {
	refusal, refused := errors.AsType[*app.Error](err)
	switch {
	case errors.Is(err, errBudget):
		r.end(Waits, app.CodeAborted, err.Error())
	case errors.Is(err, syscall.ENOSPC):
		r.end(Failed, app.CodeStorage, "no space left; uninstall something")
	case refused && (refusal.Code == app.CodeStorage || refusal.Code == app.CodeAborted || refusal.Code == app.CodeInternal):
		r.end(Failed, refusal.Code, refusal.Message)
	case refused:
		r.end(Refused, refusal.Code, refusal.Message)
	case errors.Is(err, repo.ErrRole):
		r.end(Refused, app.CodeVerification, err.Error())
	case errors.Is(err, repo.ErrHash): // by a mirror, which may be mended
		r.end(Failed, app.CodeVerification, err.Error())
	default:
		r.end(Failed, app.CodeAborted, err.Error())
	}
	if r.Outcome == Refused {
		s.unwant(r.Package)
		if p != nil && r.Way != "" { // it was fetched for nothing: once is enough
			s.refused(r.Package, p.rel, r.Why)
		}
	}
	s.cfg.Log.Warn("store", "package", r.Package, "outcome", r.Outcome, "from", r.From, "to", r.To, "why", r.Why)
	return r
}
