package repo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/storage/tree"
)

// Status is what a repository has published, for a person.
type Status struct {
	Timestamp int64             `json:"timestamp"` // its version
	Expires   time.Time         `json:"expires"`   // the timestamp's
	Root      int64             `json:"root"`
	Products  []string          `json:"products"`
	Releases  []repo.OSRelease  `json:"-"` // of all products, each one's newest first
	Apps      []repo.AppRelease `json:"apps"`
	Waiting   []Waiting         `json:"waiting"`
}

// MarshalJSON adds the releases, with what the rollout says of each, which is
// no part of their own JSON.
func (s *Status) MarshalJSON() ([]byte, error) {
	type release struct {
		repo.OSRelease
		Target    repo.Target `json:"target"`
		Share     repo.Share  `json:"share"`
		Halted    bool        `json:"halted"`
		Withdrawn bool        `json:"withdrawn"`
	}
	type plain Status
	all := struct {
		*plain
		Releases []release `json:"releases"`
	}{plain: (*plain)(s), Releases: []release{}}
	for _, r := range s.Releases {
		all.Releases = append(all.Releases, release{r, r.Target, r.Share, r.Halted, r.Withdrawn})
	}
	return json.Marshal(all)
}

// Revision is another one whenever what [Repo.Status] tells has changed. It
// reads the pointer, and what waits for signatures.
func (r *Repo) Revision(ctx context.Context) (mios.Digest, error) {
	pointer, err := tree.ReadAll(ctx, r.tree, repo.MetadataPath(tuf.RoleTimestamp, 0), repo.MaxTimestamp)
	if err != nil {
		return mios.Digest{}, err
	}
	h := sha256.New()
	h.Write(pointer)
	names, err := r.state.List(ctx, stagedDir)
	if err != nil {
		return mios.Digest{}, err
	}
	for _, name := range names {
		b, err := r.state.Read(ctx, name)
		if errors.Is(err, mios.ErrNotFound) {
			continue
		}
		if err != nil {
			return mios.Digest{}, err
		}
		fmt.Fprintf(h, "\x00%s\x00%d\x00", name, len(b))
		h.Write(b)
	}
	return mios.Digest(h.Sum(nil)), nil
}

// Status reads what the repository has published. It verifies nothing: clients
// do.
func (r *Repo) Status(ctx context.Context) (*Status, error) { return r.status(ctx, true) }

// Expires is when devices stop taking what is published, unless freshness is
// signed again before: when the timestamp expires.
func (r *Repo) Expires(ctx context.Context) (time.Time, error) {
	s, err := r.status(ctx, false)
	if err != nil {
		return time.Time{}, err
	}
	return s.Expires, nil
}

func (r *Repo) status(ctx context.Context, apps bool) (*Status, error) {
	t, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	v := t.view
	if v.root() == nil {
		return nil, fmt.Errorf("repository %s: %w: it was never published", r.dir, mios.ErrNotFound)
	}
	s := &Status{
		Root: v.root().Signed.Version, Timestamp: v.timestamp.Signed.Version, Expires: v.timestamp.Signed.Expires,
		Products: []string{}, Apps: []repo.AppRelease{}, Waiting: []Waiting{}, // lists in JSON too
	}
	for _, role := range v.standing() {
		switch {
		case strings.HasPrefix(role, repo.OSRole("")):
			s.Products = append(s.Products, strings.TrimPrefix(role, repo.OSRole("")))
			err = r.statusOS(ctx, v, s, v.doc(role))
		case parent(role) == repo.RoleApps && apps:
			err = r.statusApps(ctx, s, v.doc(role))
		}
		if err = cmp.Or(v.err, err); err != nil {
			return nil, err
		}
	}
	slices.Sort(s.Products)
	slices.SortFunc(s.Releases, func(a, b repo.OSRelease) int {
		return cmp.Or(strings.Compare(a.Product, b.Product), cmp.Compare(b.BuildTime, a.BuildTime), cmp.Compare(a.Arch, b.Arch))
	})
	slices.SortFunc(s.Apps, func(a, b repo.AppRelease) int { return strings.Compare(a.Package, b.Package) })
	t.docs = t.staged
	for _, d := range t.docs {
		s.Waiting = append(s.Waiting, t.waiting(d))
	}
	slices.SortFunc(s.Waiting, func(a, b Waiting) int { return byRank(a.Role, b.Role) })
	return s, nil
}

func (r *Repo) statusOS(ctx context.Context, v *view, s *Status, d *document) error {
	all := v.doc(repo.RoleRollout)
	if d == nil || all == nil {
		return fmt.Errorf("role %s: %w in this repository", repo.RoleRollout, mios.ErrNotFound)
	}
	product := strings.TrimPrefix(d.role, repo.OSRole(""))
	var rollout repo.Rollout
	if f := all.targets.Signed.Targets[repo.RolloutPath(product)]; f != nil {
		if err := r.read(ctx, repo.RolloutPath(product), f, &rollout); err != nil {
			return err
		}
	}
	for name, f := range d.targets.Signed.Targets {
		var rel repo.OSRelease
		var err error
		if rel.Target, err = repo.TargetOf(name, f, &rel); err != nil {
			return err
		}
		n := rollout.Releases[rel.Target.SHA256]
		rel.Share, rel.Halted, rel.Withdrawn = min(n.Share, rel.MaxShare), n.Halted, n.Withdrawn
		s.Releases = append(s.Releases, rel)
	}
	return nil
}

func (r *Repo) statusApps(ctx context.Context, s *Status, d *document) error {
	if d == nil {
		return nil // said by the view
	}
	for name, f := range d.targets.Signed.Targets {
		if repo.CheckPackage(strings.TrimSuffix(path.Base(name), ".json")) != nil {
			continue // a file of the catalogue
		}
		rel, err := r.newestOf(ctx, name, f)
		if err != nil {
			return err
		}
		s.Apps = append(s.Apps, rel)
	}
	return nil
}

// maxPackages is how many packages' highest releases are remembered.
const maxPackages = 50_000

// newestOf returns the highest release in a package's file. What was read once is
// not read again.
func (r *Repo) newestOf(ctx context.Context, name string, f *tuf.TargetFile) (repo.AppRelease, error) {
	target, err := repo.TargetOf(name, f, nil)
	if err != nil {
		return repo.AppRelease{}, err
	}
	r.mu.Lock()
	rel, ok := r.packages[target.SHA256]
	r.mu.Unlock()
	if ok {
		return rel, nil
	}
	var p repo.Package
	if err := r.read(ctx, name, f, &p); err != nil {
		return rel, err
	}
	if len(p.Releases) == 0 {
		return rel, fmt.Errorf("%s: no release: %w", name, mios.ErrInvalid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.packages) == maxPackages {
		clear(r.packages)
	}
	r.packages[target.SHA256] = p.Releases[0]
	return p.Releases[0], nil
}
