package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mios"
	"mios/api/repo"
	"mios/storage/tree"
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
	apps = slices.Clone(apps)
	for i := range apps {
		if err := apps[i].check(); err != nil {
			return nil, err
		}
	}
	// Files are stored while others may change the repository, but not those of
	// an app that is refused.
	t, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	for i := range apps {
		if err := t.allowed(&apps[i]); err != nil {
			return nil, err
		}
		if err := t.haveFiles(&apps[i]); err != nil {
			return nil, err
		}
	}
	files, filesCtx := errgroup.WithContext(ctx)
	files.SetLimit(tree.Creators)
	for i := range apps {
		files.Go(func() error {
			for _, f := range apps[i].Files {
				if err := r.store(filesCtx, f.Target, f.Content); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := files.Wait(); err != nil {
		return nil, err
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
	if a.Listing == nil {
		return nil
	}
	if a.Listing.Package != p.Package {
		return fmt.Errorf("app %s: a listing of %s: %w", p.Package, a.Listing.Package, mios.ErrInvalid)
	}
	return a.Listing.Check()
}

// allowed says why an app may not be published as it is, or nil.
func (t *tx) allowed(a *App) error {
	claim, _, err := t.claimOf(a.Package.Package)
	if err != nil {
		return err
	}
	for i := range a.Package.Releases {
		if rel := &a.Package.Releases[i]; !claim.Owns(rel) {
			return fmt.Errorf("app %s: its signer %s does not own the package: %w: sign it with the owner's key", rel.Package, rel.Signers[0], mios.ErrDenied)
		}
	}
	return nil
}

// setApp makes a package what it is to be.
func (t *tx) setApp(a *App) error {
	if err := t.allowed(a); err != nil {
		return err
	}
	old, err := t.pkg(a.Package.Package)
	if errors.Is(err, mios.ErrNotFound) {
		old, err = new(repo.Package), nil
	}
	if err != nil {
		return err
	}
	p := repo.Package{Package: a.Package.Package, Releases: a.Package.Releases, Pages: old.Pages}
	if p.Listing, p.Pages, err = t.setListing(p.Package, a.Listing, old); err != nil {
		return err
	}
	if reflect.DeepEqual(p, *old) {
		return nil
	}
	return t.putApp(&p)
}

// putApp makes p what the repository says of its package, if it does not already.
func (t *tx) putApp(p *repo.Package) error {
	name := repo.PackagePath(p.Package)
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	bin, err := t.bin(repo.RoleApps, name)
	if err != nil {
		return err
	}
	if d := t.current(bin); d != nil && d.targets.Signed.Targets[name] != nil {
		if target, err := repo.TargetOf(name, d.targets.Signed.Targets[name], nil); err == nil && target.SHA256 == mios.Sum(b) {
			return nil
		}
	}
	m, err := t.edit(bin)
	if err != nil {
		return err
	}
	return t.putTarget(m, name, json.RawMessage(b), nil)
}

// haveFiles says which file of an app is neither given nor in the tree, or nil.
// What was published already is.
func (t *tx) haveFiles(a *App) error {
	there := map[mios.Digest]bool{}
	for _, f := range a.Files {
		there[f.Target.SHA256] = true
	}
	old, err := t.pkg(a.Package.Package)
	if err != nil && !errors.Is(err, mios.ErrNotFound) {
		return err
	}
	for i := range old.Releases {
		for _, target := range old.Releases[i].Files() {
			there[target.SHA256] = true
		}
	}
	was, err := t.listing(old)
	if err != nil {
		return err
	}
	for _, target := range was.Images() {
		there[target.SHA256] = true
	}
	var want []repo.Target
	for i := range a.Package.Releases {
		want = append(want, a.Package.Releases[i].Files()...)
	}
	for _, target := range append(want, a.Listing.Images()...) {
		if there[target.SHA256] {
			continue
		}
		ok, err := t.r.exists(t.ctx, target.File())
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%s: %w: neither given nor in the tree", target.Path, mios.ErrNotFound)
		}
	}
	return nil
}

// setListing stores a package's listing and puts it into the catalogue. It
// returns where the listing is, and the pages that the package is in.
func (t *tx) setListing(pkg string, l *repo.Listing, old *repo.Package) (*repo.Target, map[string]int, error) {
	var target *repo.Target
	if l != nil {
		b, err := json.Marshal(l)
		if err != nil {
			return nil, nil, err
		}
		if len(b) > repo.MaxListing {
			return nil, nil, fmt.Errorf("listing of %s: %d bytes: %w: at most %d", pkg, len(b), mios.ErrInvalid, repo.MaxListing)
		}
		target = &repo.Target{Path: repo.ListingPath(pkg), Length: int64(len(b)), SHA256: mios.Sum(b)}
		if old.Listing != nil && *old.Listing == *target {
			return target, old.Pages, nil
		}
		t.create(*target, b)
	}
	if l == nil && old.Listing == nil {
		return nil, nil, nil
	}
	was, err := t.listing(old)
	if err != nil {
		return nil, nil, err
	}
	c, err := t.catalogue()
	if err != nil {
		return nil, nil, err
	}
	pages, err := c.set(pkg, was, l, old.Pages)
	return target, pages, err
}

// listing returns a package's listing, or nil.
func (t *tx) listing(p *repo.Package) (*repo.Listing, error) {
	if p.Listing == nil {
		return nil, nil
	}
	b, err := t.files[p.Listing.File()], error(nil)
	if b == nil {
		b, err = tree.ReadAll(t.ctx, t.r.tree, p.Listing.File(), repo.MaxListing)
	}
	if err != nil {
		return nil, err
	}
	l := new(repo.Listing)
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", p.Listing.Path, err, mios.ErrInvalid)
	}
	return l, p.Listing.Check(b)
}

func (t *tx) removeApp(pkg string) error {
	p, err := t.pkg(pkg)
	if errors.Is(err, mios.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, _, err := t.setListing(pkg, nil, p); err != nil {
		return err
	}
	m, err := t.editBin(repo.RoleApps, repo.PackagePath(pkg))
	if err != nil {
		return err
	}
	delete(m.Signed.Targets, repo.PackagePath(pkg))
	return nil
}

// Package returns what is published of a package. The error wraps
// [mios.ErrNotFound] where nothing is.
func (r *Repo) Package(ctx context.Context, pkg string) (*repo.Package, error) {
	t, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	return t.pkg(pkg)
}

// pkg is [Repo.Package] with the changes so far.
func (t *tx) pkg(pkg string) (*repo.Package, error) {
	name := repo.PackagePath(pkg)
	bin, err := t.bin(repo.RoleApps, name)
	if err != nil {
		return nil, err
	}
	p := new(repo.Package)
	return p, t.content(bin, name, p)
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
		next := *rel // it may have to be done again
		if err := addVersion(p, &next, t.signed); err != nil {
			return err
		}
		a := &App{Package: *p}
		if a.Listing, err = t.listing(p); err != nil {
			return err
		}
		if err := a.check(); err != nil {
			return err
		}
		if err := t.allowed(a); err != nil {
			return err
		}
		if err := t.r.store(t.ctx, next.Target, apk); err != nil {
			return err
		}
		*rel = next
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
