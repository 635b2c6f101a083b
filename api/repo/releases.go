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

// AppRelease returns the highest release of a package, whoever it is for. Its signer owns the
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
// [Client.AppRelease], the highest first.
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
		all, err := bins(apps, RoleApps)
		if err != nil {
			return err
		}
		for role := range all.Bins() {
			if s.snapshot.Signed.Meta[role+".json"] == nil {
				continue // nothing is in it yet
			}
			m, err := c.role(ctx, s, &apps.Signed, role)
			if err != nil {
				return err
			}
			for name := range m.Signed.Targets {
				pkg := strings.TrimSuffix(strings.TrimPrefix(name, "apps/"), ".json")
				if CheckPackage(pkg) != nil {
					continue // a file of the catalogue
				}
				p, err := c.appPackage(ctx, s, pkg)
				if err != nil {
					return err
				}
				list = append(list, p.Releases[0])
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
		p, err := c.appPackage(ctx, s, pkg)
		if err == nil {
			list = p.Releases
		}
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

// binOf returns the metadata of the bin, among those of a role, that may speak of
// a path: nil if nothing is in that bin yet.
func (c *Client) binOf(ctx context.Context, s *state, role, name string) (*targetsMeta, error) {
	targets := s.roles[tuf.RoleTargets]
	if err := mayName(targets, role, name); err != nil {
		return nil, err
	}
	by, err := c.role(ctx, s, &targets.Signed, role)
	if err != nil {
		return nil, err
	}
	all, err := bins(by, role)
	if err != nil {
		return nil, err
	}
	bin := all.Bin(name)
	if s.snapshot.Signed.Meta[bin+".json"] == nil {
		return nil, nil
	}
	return c.role(ctx, s, &by.Signed, bin)
}

// appTarget returns a target of the apps role's bins, and nil if there is none
// of that name.
func (c *Client) appTarget(ctx context.Context, s *state, name string) (*tuf.TargetFile, error) {
	m, err := c.binOf(ctx, s, RoleApps, name)
	if err != nil || m == nil {
		return nil, err
	}
	return m.Signed.Targets[name], nil
}

// appPackage returns what is said of a package: its releases, at least one, the
// highest first.
func (c *Client) appPackage(ctx context.Context, s *state, pkg string) (*Package, error) {
	name := PackagePath(pkg)
	f, err := c.appTarget(ctx, s, name)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("app %s: %w in this repository", pkg, mios.ErrNotFound)
	}
	b, err := c.content(ctx, s, name, f)
	if err != nil {
		return nil, err
	}
	claim, err := c.claim(ctx, s, pkg)
	if err != nil {
		return nil, err
	}
	return parsePackage(pkg, name, b, claim)
}

// parsePackage reads what is said of a package and compares the signers of its
// releases with the claim.
func parsePackage(pkg, name string, b []byte, claim *Claim) (*Package, error) {
	p := new(Package)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", name, err, mios.ErrInvalid)
	}
	if p.Package != pkg || len(p.Releases) == 0 || len(p.Releases) > MaxReleases {
		return nil, fmt.Errorf("%s: it is about %q, with %d releases: %w", name, p.Package, len(p.Releases), mios.ErrInvalid)
	}
	for i := range p.Releases {
		r := &p.Releases[i]
		if err := r.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if r.Package != pkg {
			return nil, fmt.Errorf("%s: a release of %s: %w", name, r.Package, ErrRole)
		}
		if !claim.Owns(r) {
			return nil, fmt.Errorf("app %s version %d: its signer %.16s… does not own the package: %w", pkg, r.VersionCode, r.Signers[0], ErrRole)
		}
	}
	if p.Listing != nil && p.Listing.Path != ListingPath(pkg) {
		return nil, fmt.Errorf("%s: a listing at %q: %w", name, p.Listing.Path, ErrRole)
	}
	p.Sort()
	return p, nil
}

// claim returns who owns a package.
func (c *Client) claim(ctx context.Context, s *state, pkg string) (*Claim, error) {
	m, err := c.binOf(ctx, s, RoleClaims, ClaimsPath(pkg))
	if err != nil {
		return nil, err
	}
	if m != nil {
		claims, err := ReadClaims(m.Signed.Unrecognized)
		if err != nil {
			return nil, err
		}
		if claim, ok := claims[pkg]; ok {
			return &claim, nil
		}
	}
	return nil, fmt.Errorf("app %s: no claim says who owns the package: %w", pkg, ErrRole)
}
