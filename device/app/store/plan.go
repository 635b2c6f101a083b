package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"mios"
	"mios/api/repo"
	"mios/device/app"
	"mios/format/apkdelta"
)

// A plan is what is to be fetched for a release.
type plan struct {
	rel    *repo.AppRelease
	splits []repo.Split
	old    *app.Status    // what is installed; nil: nothing
	delta  *repo.AppDelta // from it; nil: the base is fetched whole
	cost   int64          // bytes to fetch
	total  int64          // cost and what is there already
}

// plan chooses the way to a release that fetches least, without deltas that were
// found to be no good.
func (s *Store) plan(rel *repo.AppRelease, old *app.Status) (*plan, error) {
	splits, err := s.cfg.fitting(rel)
	if err != nil {
		return nil, app.Refuse(app.CodeNoABI, "%v", err)
	}
	p := &plan{rel: rel, splits: splits, old: old}
	missing := func(t repo.Target) int64 { return t.Length - s.files.Has(t) }
	base := rel.Target
	if old != nil && missing(rel.Target) > 0 {
		for i := range rel.Deltas {
			if d := &rel.Deltas[i]; d.From == old.SHA256 && missing(d.Target) < missing(rel.Target) && s.goodDelta(d.Target.SHA256) {
				p.delta, base = d, d.Target
			}
		}
	}
	for _, t := range append([]repo.Target{base}, p.splitTargets()...) {
		p.cost += missing(t)
		p.total += t.Length
	}
	return p, nil
}

func (p *plan) splitTargets() (list []repo.Target) {
	for _, s := range p.splits {
		list = append(list, s.Target)
	}
	return list
}

func (p *plan) way() Way {
	if p.delta != nil {
		return Delta
	}
	return Full
}

// wanted are the files that are kept while the plan is not done: those of the way
// that is not taken, too, which may be there in part.
func (p *plan) wanted() []mios.Digest {
	list := []mios.Digest{p.rel.Target.SHA256}
	for _, d := range p.rel.Deltas {
		list = append(list, d.Target.SHA256)
	}
	for _, s := range p.splits {
		list = append(list, s.Target.SHA256)
	}
	return list
}

// set is what the package manager is promised. The files have no path yet.
func (p *plan) set() *app.Set {
	set := &app.Set{
		Package: p.rel.Package, VersionCode: p.rel.VersionCode, Signers: p.rel.Signers, Lineage: p.rel.Lineage, Release: p.rel.Release,
		// The client offers a lower version only where the repository's signed word is
		// that devices leave what is installed; what came as a file it knows nothing of.
		Lower: p.old != nil && p.old.Installer == app.StoreInstaller && p.rel.VersionCode < p.old.VersionCode,
		Base:  app.File{Size: p.rel.Target.Length, SHA256: p.rel.Target.SHA256},
	}
	for _, s := range p.splits {
		set.Splits = append(set.Splits, app.File{Split: s.Name, Size: s.Target.Length, SHA256: s.Target.SHA256})
	}
	return set
}

// room is how many bytes the plan writes, beside what is there.
func (p *plan) room() int64 {
	n := p.cost
	if p.delta != nil {
		n += p.rel.Target.Length
	}
	return n
}

// errDelta says that a delta is no good, and the whole APK is to be fetched.
var errDelta = errors.New("the delta is no good")

// fetch brings the files of a plan, and sets their paths.
func (s *Store) fetch(ctx context.Context, p *plan, set *app.Set, say Say) (err error) {
	tell := Progress{Package: p.rel.Package, Step: Fetching, Way: p.way(), Total: p.total}
	report := sometimes(say, tell)
	var before int64
	get := func(t repo.Target) (string, error) {
		path, err := s.files.Get(ctx, t, func(have int64) { report(before + have) })
		before += t.Length
		return path, err
	}
	for i, t := range p.splitTargets() {
		if set.Splits[i].Path, err = get(t); err != nil {
			return err
		}
	}
	if p.delta == nil {
		set.Base.Path, err = get(p.rel.Target)
		return err
	}
	delta, err := get(p.delta.Target)
	if err != nil {
		if noGood(err) {
			err = fmt.Errorf("%w: %w", errDelta, err)
		}
		return err
	}
	say(Progress{Package: p.rel.Package, Step: Patching, Way: Delta})
	set.Base.Path, err = s.patch(ctx, p, delta)
	if err == nil || ctx.Err() != nil || errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return errors.Join(fmt.Errorf("%w: %w", errDelta, err), os.Remove(delta))
}

// noGood tells whether a file will not come, however often it is asked for.
func noGood(err error) bool {
	return errors.Is(err, repo.ErrHash) || errors.Is(err, repo.ErrLength) || errors.Is(err, mios.ErrNotFound) || errors.Is(err, mios.ErrDenied)
}

// patch makes the new base of the old one and a delta.
func (s *Store) patch(ctx context.Context, p *plan, delta string) (string, error) {
	old, err := os.Open(p.old.Path)
	if err != nil {
		return "", err
	}
	defer old.Close()
	fi, err := old.Stat()
	if err != nil {
		return "", err
	}
	in, err := os.Open(delta)
	if err != nil {
		return "", err
	}
	defer in.Close()
	// A large app is expanded in a file that has no name, and goes with it.
	scratch, err := os.CreateTemp(filepath.Dir(delta), ".expanded-*")
	if err != nil {
		return "", err
	}
	defer scratch.Close()
	if err := os.Remove(scratch.Name()); err != nil {
		return "", err
	}
	return s.files.Make(p.rel.Target, func(w io.Writer) error {
		_, err := apkdelta.Apply(ctx, old, fi.Size(), in, w, apkdelta.Limits{NewSize: p.rel.Target.Length, Scratch: scratch})
		return err
	})
}
