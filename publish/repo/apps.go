package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"mios"
	"mios/api/repo"
)

// An App is all that devices shall see of one package.
type App struct {
	// Package names the releases. Its Listing, Pages and Words are not read:
	// SetApps fills them in.
	Package repo.Package
	// Listing is what the catalogue shows; nil leaves the package out of it.
	Listing *repo.Listing
	// Files are the bytes of those APKs, splits, deltas and images that may not be
	// in the tree yet. What is there already is not read.
	Files []File
}

// SetApps makes packages what they are to be, in one change of the repository,
// and stores the files that are new. What is so already is not published again.
// It costs the same however many other packages there are. The error wraps
// [mios.ErrDenied] where a package's claim does not name its signers, and
// [mios.ErrNotFound] where there is no claim, or a file is neither given nor in the tree.
func (r *Repo) SetApps(ctx context.Context, apps ...App) (*Result, error) {
	for i := range apps {
		if err := apps[i].check(); err != nil {
			return nil, err
		}
	}
	return r.change(ctx, func(t *tx) error {
		for i := range apps {
			if err := t.setApp(&apps[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveApps takes packages out of the repository, and out of the catalogue.
// What is not there is no error. The files of their releases stay in the tree,
// and the claims stand.
func (r *Repo) RemoveApps(ctx context.Context, pkgs ...string) (*Result, error) {
	for _, pkg := range pkgs {
		if err := repo.CheckPackage(pkg); err != nil {
			return nil, err
		}
	}
	return r.change(ctx, func(t *tx) error {
		for _, pkg := range pkgs {
			if err := t.removeApp(pkg); err != nil {
				return err
			}
		}
		return nil
	})
}

// check says what is wrong with an app, in itself, and puts its releases in
// order.
func (a *App) check() error {
	p := &a.Package
	p.Releases = slices.Clone(p.Releases)
	p.Sort()
	switch {
	case len(p.Releases) == 0:
		return fmt.Errorf("app %s: no release: %w", p.Package, mios.ErrInvalid)
	case len(p.Releases) > repo.MaxReleases:
		return fmt.Errorf("app %s: %d releases: %w: want at most %d", p.Package, len(p.Releases), mios.ErrInvalid, repo.MaxReleases)
	}
	for i := range p.Releases {
		rel := &p.Releases[i]
		if err := rel.Check(); err != nil {
			return err
		}
		switch {
		case rel.Package != p.Package:
			return fmt.Errorf("app %s: a release of %s: %w", p.Package, rel.Package, mios.ErrInvalid)
		case i > 0 && rel.Release == p.Releases[i-1].Release:
			return fmt.Errorf("app %s: two releases have the number %d: %w", p.Package, rel.Release, mios.ErrInvalid)
		}
	}
	return nil
}

// setApp makes a package what it is to be.
func (t *tx) setApp(a *App) error {
	claim, err := t.claimOf(a.Package.Package)
	if err != nil {
		return err
	}
	for i := range a.Package.Releases {
		if rel := &a.Package.Releases[i]; !claim.Owns(rel) {
			return fmt.Errorf("app %s: its signer %s does not own the package: %w: sign it with the owner's key", rel.Package, rel.Signers[0], mios.ErrDenied)
		}
	}
	for _, f := range a.Files {
		if err := t.store(f.Target, f.Content); err != nil {
			return err
		}
	}
	name := repo.PackagePath(a.Package.Package)
	role, err := t.bin(name)
	if err != nil {
		return err
	}
	m, err := t.edit(role)
	if err != nil {
		return err
	}
	return t.putTarget(m, name, a.Package, nil)
}

func (t *tx) removeApp(pkg string) error {
	name := repo.PackagePath(pkg)
	role, err := t.bin(name)
	if err != nil || t.current(role).targets.Signed.Targets[name] == nil {
		return err
	}
	m, err := t.edit(role)
	if err != nil {
		return err
	}
	delete(m.Signed.Targets, name)
	return nil
}

// Package returns what is published of a package. The error wraps
// [mios.ErrNotFound] where nothing is.
func (r *Repo) Package(ctx context.Context, pkg string) (*repo.Package, error) {
	v, err := r.view(ctx)
	if err != nil {
		return nil, err
	}
	t := &tx{r: r, ctx: ctx, view: v, docs: map[string]*document{}}
	return t.pkg(pkg)
}

// pkg is [Repo.Package] with the changes so far.
func (t *tx) pkg(pkg string) (*repo.Package, error) {
	name := repo.PackagePath(pkg)
	role, err := t.bin(name)
	if err != nil {
		return nil, err
	}
	p := new(repo.Package)
	return p, t.content(role, name, p)
}

// claimOf returns who owns a package.
func (t *tx) claimOf(pkg string) (*repo.Claim, error) {
	claim, _, err := t.r.ClaimOf(t.ctx, pkg)
	return &claim, err
}

// keptVersions is how many releases of an app PublishApp leaves.
const keptVersions = 8

// PublishApp stores an APK and makes it the newest release of its package,
// whose claim must name its signers. It sets the release's number and time if
// they are zero.
func (r *Repo) PublishApp(ctx context.Context, rel *repo.AppRelease, apk io.Reader) (*Result, error) {
	if err := repo.CheckPackage(rel.Package); err != nil {
		return nil, err
	}
	return r.change(ctx, func(t *tx) error {
		p, err := t.pkg(rel.Package)
		if errors.Is(err, mios.ErrNotFound) {
			p, err = &repo.Package{Package: rel.Package}, nil
		}
		if err != nil {
			return err
		}
		if err := addVersion(p, rel, t.signed); err != nil {
			return err
		}
		a := &App{Package: *p, Files: []File{{rel.Target, apk}}}
		if err := a.check(); err != nil {
			return err
		}
		return t.setApp(a)
	})
}

// addVersion puts a release before the others of its package.
func addVersion(p *repo.Package, rel *repo.AppRelease, now time.Time) error {
	p.Sort()
	for i, old := range p.Releases {
		switch {
		case old.VersionCode == rel.VersionCode && old.Target.SHA256 == rel.Target.SHA256 && i == 0:
			rel.Release, rel.Time = old.Release, old.Time // the same again
		case old.VersionCode == rel.VersionCode && old.Target.SHA256 != rel.Target.SHA256:
			return fmt.Errorf("app %s version %d: %w: another APK of that version code is published: raise it", rel.Package, rel.VersionCode, mios.ErrConflict)
		case old.VersionCode > rel.VersionCode:
			return fmt.Errorf("app %s version %d: %w: version %d is published: raise the version code", rel.Package, rel.VersionCode, mios.ErrConflict, old.VersionCode)
		}
	}
	if rel.Release == 0 {
		rel.Release, rel.Time = 1, now.Unix()
		if len(p.Releases) > 0 {
			rel.Release = p.Releases[0].Release + 1
		}
	}
	p.Releases = slices.DeleteFunc(p.Releases, func(old repo.AppRelease) bool { return old.Release == rel.Release })
	p.Releases = append([]repo.AppRelease{*rel}, p.Releases...)
	p.Releases = p.Releases[:min(len(p.Releases), keptVersions)]
	return nil
}
