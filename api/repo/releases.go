package repo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mios"
	"mios/format/tuf"
)

// OSReleases returns the product's releases for an architecture and a channel,
// newest first, with what the rollout says of them. It reads what the last
// [Client.Refresh] brought. The error wraps [ErrStale] or [ErrExpired] where
// nothing may be installed on that.
func (c *Client) OSReleases(arch mios.Arch, channel string) ([]OSRelease, error) {
	s := c.current()
	if err := c.fresh(s); err != nil {
		return nil, err
	}
	all, err := s.osReleases(c.cfg.Product)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r OSRelease) bool {
		return r.Arch != arch || !slices.Contains(r.Channels, channel)
	}), nil
}

// osReleases returns all releases of a product, newest first.
func (s *state) osReleases(product string) ([]OSRelease, error) {
	role := OSRole(product)
	m, targets := s.roles[role], s.roles[tuf.RoleTargets]
	if m == nil {
		return nil, nil
	}
	rollout, err := s.rollout(product)
	if err != nil {
		return nil, err
	}
	var list []OSRelease
	for name := range m.Signed.Targets {
		f, err := delegated(targets, role, m, name)
		if err != nil {
			return nil, err
		}
		if path.Base(name) != "payload.bin" {
			continue // of a kind that this client does not know
		}
		r, err := osRelease(product, name, f)
		if err != nil {
			return nil, err
		}
		if n, ok := rollout.Releases[r.Target.SHA256]; ok {
			r.Share, r.Halted, r.Withdrawn = min(max(n.Share, 0), r.MaxShare), n.Halted, n.Withdrawn
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b OSRelease) int {
		return cmp.Or(cmp.Compare(b.BuildTime, a.BuildTime), cmp.Compare(a.Target.Path, b.Target.Path))
	})
	return list, nil
}

func osRelease(product, name string, f *tuf.TargetFile) (r OSRelease, err error) {
	if r.Target, err = TargetOf(name, f, &r); err != nil {
		return r, err
	}
	if r.Product != product || !strings.HasPrefix(name, "os/"+product+"/") {
		return r, fmt.Errorf("%s is for product %q, and this is %q: %w", name, r.Product, product, ErrRole)
	}
	return r, r.Check()
}

// rollout returns what the rollout role says of a product.
func (s *state) rollout(product string) (*Rollout, error) {
	r := new(Rollout)
	m := s.roles[RoleRollout]
	if m == nil {
		return r, nil
	}
	name := RolloutPath(product)
	f, err := delegated(s.roles[tuf.RoleTargets], RoleRollout, m, name)
	if errors.Is(err, mios.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := TargetOf(name, f, nil)
	if err != nil {
		return nil, err
	}
	b, ok := s.raw.Files[t.SHA256]
	if !ok {
		return nil, fmt.Errorf("%s was not fetched: %w: refresh first", name, ErrStale)
	}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", name, err, mios.ErrInvalid)
	}
	if r.Product != product {
		return nil, fmt.Errorf("%s is for product %q: %w", name, r.Product, ErrRole)
	}
	return r, nil
}

// AppRelease returns the newest release of a package. Its signer owns the
// package: who installs it compares the APK's own signer with [AppRelease].
// It fetches what it needs beyond the last [Client.Refresh]. The error wraps
// [mios.ErrNotFound] where there is no such package.
func (c *Client) AppRelease(ctx context.Context, pkg string) (*AppRelease, error) {
	list, err := c.appVersions(ctx, pkg)
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// AppVersions returns all releases of a package in the manner of
// [Client.AppRelease], newest first.
func (c *Client) AppVersions(ctx context.Context, pkg string) ([]AppRelease, error) {
	return c.appVersions(ctx, pkg)
}

// AppReleases returns the newest release of every app in the repository, by
// package. It fetches a small file for each.
func (c *Client) AppReleases(ctx context.Context) ([]AppRelease, error) {
	var list []AppRelease
	err := c.extend(ctx, func(s *state) error {
		apps, err := c.role(ctx, s, &s.roles[tuf.RoleTargets].Signed, RoleApps)
		if err != nil {
			return err
		}
		if d := apps.Signed.Delegations; d == nil || d.SuccinctRoles == nil {
			return fmt.Errorf("role %s has no bins: %w", RoleApps, mios.ErrInvalid)
		}
		for role := range apps.Signed.Delegations.SuccinctRoles.Bins() {
			m, err := c.role(ctx, s, &apps.Signed, role)
			if err != nil {
				return err
			}
			for name := range m.Signed.Targets {
				pkg := strings.TrimSuffix(strings.TrimPrefix(name, "apps/"), ".json")
				versions, err := c.appPackage(ctx, s, pkg)
				if err != nil {
					return err
				}
				list = append(list, versions[0])
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b AppRelease) int { return strings.Compare(a.Package, b.Package) })
	return list, err
}

func (c *Client) appVersions(ctx context.Context, pkg string) (list []AppRelease, err error) {
	if err := CheckPackage(pkg); err != nil {
		return nil, err
	}
	err = c.extend(ctx, func(s *state) error {
		list, err = c.appPackage(ctx, s, pkg)
		return err
	})
	return list, err
}

// extend runs f on the state, which may fetch more into it, and keeps it.
func (c *Client) extend(ctx context.Context, f func(s *state) error) error {
	c.working.Lock()
	defer c.working.Unlock()
	s := c.current().clone()
	if err := c.fresh(s); err != nil {
		return err
	}
	roles, files := len(s.roles), len(s.raw.Files)
	if err := f(s); err != nil {
		return err
	}
	if len(s.roles) == roles && len(s.raw.Files) == files {
		return nil
	}
	return c.commit(s)
}

// appPackage returns the releases of a package, newest first and at least one.
func (c *Client) appPackage(ctx context.Context, s *state, pkg string) ([]AppRelease, error) {
	targets, name := s.roles[tuf.RoleTargets], PackagePath(pkg)
	apps, err := c.role(ctx, s, &targets.Signed, RoleApps)
	if err != nil {
		return nil, err
	}
	role, err := bin(apps, name)
	if err != nil {
		return nil, err
	}
	m, err := c.role(ctx, s, &apps.Signed, role)
	if err != nil {
		return nil, err
	}
	f := m.Signed.Targets[name]
	if f == nil {
		return nil, fmt.Errorf("app %s: %w in this repository", pkg, mios.ErrNotFound)
	}
	if err := mayName(targets, RoleApps, name); err != nil {
		return nil, err
	}
	b, err := c.content(ctx, s, name, f)
	if err != nil {
		return nil, err
	}
	claim, err := c.claim(ctx, s, targets, pkg)
	if err != nil {
		return nil, err
	}
	return parsePackage(pkg, name, b, claim)
}

// parsePackage reads a package's releases and compares each signer with the
// claim.
func parsePackage(pkg, name string, b []byte, claim *Claim) ([]AppRelease, error) {
	var p Package
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", name, err, mios.ErrInvalid)
	}
	if p.Package != pkg || len(p.Releases) == 0 {
		return nil, fmt.Errorf("%s: it is about %q, with %d releases: %w", name, p.Package, len(p.Releases), mios.ErrInvalid)
	}
	for _, r := range p.Releases {
		if err := r.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if r.Package != pkg {
			return nil, fmt.Errorf("%s: a release of %s: %w", name, r.Package, ErrRole)
		}
		if !claim.Owns(&r) {
			return nil, fmt.Errorf("app %s version %d: its signer %.16s… does not own the package: %w", pkg, r.VersionCode, r.Signers[0], ErrRole)
		}
	}
	p.Sort()
	return p.Releases, nil
}

// claim returns who owns a package.
func (c *Client) claim(ctx context.Context, s *state, targets *targetsMeta, pkg string) (*Claim, error) {
	nobody := fmt.Errorf("app %s: no claim says who owns the package: %w", pkg, ErrRole)
	m, err := c.role(ctx, s, &targets.Signed, RoleClaims)
	if err != nil {
		return nil, err
	}
	name := ClaimsPath(pkg)
	if m.Signed.Targets[name] == nil {
		return nil, nobody
	}
	b, err := c.file(ctx, s, targets, RoleClaims, m, name)
	if err != nil {
		return nil, err
	}
	var claims Claims
	if err := json.Unmarshal(b, &claims); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", name, err, mios.ErrInvalid)
	}
	for _, claim := range claims.Claims {
		if claim.Package == pkg {
			return &claim, nil
		}
	}
	return nil, nobody
}
