package repo

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/key"
	"mios/storage/tree"
)

// Refresh signs freshness again, and the other online roles when half of their
// life is over. A repository wants it several times in the life of its
// timestamp.
func (r *Repo) Refresh(ctx context.Context) (*Result, error) {
	return r.change(ctx, func(t *tx) error {
		t.force = true
		for _, role := range t.view.standing() {
			d := t.view.doc(role)
			if kr, err := key.FindRole(keyRole(role)); err != nil || kr.Offline || d == nil {
				continue
			}
			if d.expires().Sub(t.signed) < r.cfg.Lifetimes.of(role)/2 {
				if _, err := t.next(role); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// AddProduct lets the os keys of a set sign the releases of a product. A
// product that is there gets these keys instead of its own.
func (r *Repo) AddProduct(ctx context.Context, product string, keys PublicKeys, threshold int) (*Result, error) {
	if err := repo.CheckName(product); err != nil {
		return nil, fmt.Errorf("product %w", err)
	}
	var thresholds map[string]int
	if threshold > 0 {
		thresholds = map[string]int{key.OS: threshold}
	}
	role := repo.OSRole(product)
	g, err := groupOf(keys, role, thresholds)
	if err != nil {
		return nil, err
	}
	return r.change(ctx, func(t *tx) error {
		targets, err := t.edit(tuf.RoleTargets)
		if err != nil {
			return err
		}
		delegate(targets, role, []string{"os/" + product + "/*/*/*"}, g)
		if t.has(role) {
			_, err := t.next(role)
			return err
		}
		d := &document{role: role, targets: tuf.New[tuf.Targets]()}
		t.docs[role] = d
		return t.stamp(d)
	})
}

// HasProduct tells whether a product's releases may be published.
func (r *Repo) HasProduct(ctx context.Context, product string) (bool, error) {
	v, err := r.view(ctx)
	if err != nil {
		return false, err
	}
	staged, err := r.loadStaged(v)
	return v.version(repo.OSRole(product)) > 0 || staged[repo.OSRole(product)] != nil, err
}

// store copies the bytes of a target into the tree, and fails if they are not
// those that it names.
func (r *Repo) store(ctx context.Context, target repo.Target, b io.Reader) error {
	if f, err := r.tree.Open(ctx, target.File()); err == nil && f.Size() == target.Length {
		return f.Close() // its name has its hash
	} else if err == nil {
		f.Close()
	} else if !errors.Is(err, mios.ErrNotFound) {
		return err
	}
	return r.tree.Create(ctx, target.File(), &checkedReader{r: b, target: target, h: sha256.New()})
}

// A checkedReader fails at the end if it was not the target's bytes.
type checkedReader struct {
	r      io.Reader
	target repo.Target
	h      hash.Hash
	n      int64
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.h.Write(p[:n])
	if err == io.EOF && (c.n != c.target.Length || mios.Digest(c.h.Sum(nil)) != c.target.SHA256) {
		return n, fmt.Errorf("%s: it changed while it was read: %w", c.target.Path, mios.ErrConflict)
	}
	return n, err
}

// SameShare stands for the share that a release has already, and for its limit
// if it is new.
const SameShare repo.Share = -1

// A File is one that is stored beside a payload.
type File struct {
	Target  repo.Target
	Content io.Reader
}

// PublishOS stores a payload, and the files of its deltas and chunks that are
// new, and makes it a release of its product with the given share of today. A
// release that is published already keeps its deltas and chunks, which are added
// to rel, and stays halted if it is.
func (r *Repo) PublishOS(ctx context.Context, rel *repo.OSRelease, payload io.Reader, share repo.Share, files ...File) (*Result, error) {
	if err := rel.Check(); err != nil {
		return nil, err
	}
	if want := repo.OSPath(rel.Product, rel.Arch, rel.Version, rel.BuildTime); rel.Target.Path != want {
		return nil, fmt.Errorf("os release %s: its path is %q: %w: want %s", rel.Version, rel.Target.Path, mios.ErrInvalid, want)
	}
	if share > rel.MaxShare {
		return nil, fmt.Errorf("os release %s: a share of %s is above its limit of %s: %w", rel.Version, share, rel.MaxShare, mios.ErrInvalid)
	}
	return r.change(ctx, func(t *tx) error {
		role := repo.OSRole(rel.Product)
		if !t.has(role) {
			return fmt.Errorf("product %s: %w in this repository: mios repo product adds it", rel.Product, mios.ErrNotFound)
		}
		if old := t.current(role).targets.Signed.Targets[rel.Target.Path]; old != nil {
			var was repo.OSRelease
			if target, err := repo.TargetOf(rel.Target.Path, old, &was); err != nil || target != rel.Target {
				return fmt.Errorf("os release %s of %d: %w: another payload of that version and build time is published", rel.Version, rel.BuildTime, mios.ErrConflict)
			}
			keepWays(rel, &was)
			if err := rel.Check(); err != nil {
				return err
			}
		}
		for _, f := range append([]File{{rel.Target, payload}}, files...) {
			if err := t.r.store(t.ctx, f.Target, f.Content); err != nil {
				return err
			}
		}
		m, err := t.edit(role)
		if err != nil {
			return err
		}
		if err := setTarget(m, rel.Target, rel); err != nil {
			return err
		}
		return t.share(rel, share)
	})
}

// SetRollout says how far a release goes today, by the SHA-256 of its payload.
func (r *Repo) SetRollout(ctx context.Context, product string, payload mios.Digest, n repo.Narrow) (*Result, error) {
	if n.Share < 0 || n.Share > repo.Everyone {
		return nil, fmt.Errorf("share %s: %w", n.Share, mios.ErrInvalid)
	}
	return r.change(ctx, func(t *tx) error { return t.narrow(product, payload, n) })
}

// keepWays adds the deltas and chunks that a release had.
func keepWays(rel, was *repo.OSRelease) {
	for _, d := range was.Deltas {
		if !slices.ContainsFunc(rel.Deltas, func(n repo.Delta) bool { return n.From == d.From }) {
			rel.Deltas = append(rel.Deltas, d)
		}
	}
	if rel.Adaptive == nil {
		rel.Adaptive = was.Adaptive
	}
}

// share gives a release its share of today.
func (t *tx) share(rel *repo.OSRelease, share repo.Share) error {
	rollout := new(repo.Rollout)
	if err := t.content(repo.RoleRollout, repo.RolloutPath(rel.Product), rollout); err != nil && !errors.Is(err, mios.ErrNotFound) {
		return err
	}
	n, there := rollout.Releases[rel.Target.SHA256]
	switch {
	case share != SameShare:
		n.Share = share
	case !there:
		n.Share = rel.MaxShare
	}
	n.Withdrawn = false // which narrow refuses, if it was
	return t.narrow(rel.Product, rel.Target.SHA256, n)
}

func (t *tx) narrow(product string, payload mios.Digest, n repo.Narrow) error {
	rollout := &repo.Rollout{Product: product, Releases: map[mios.Digest]repo.Narrow{}}
	name := repo.RolloutPath(product)
	if err := t.content(repo.RoleRollout, name, rollout); err != nil && !errors.Is(err, mios.ErrNotFound) {
		return err
	}
	if rollout.Releases[payload].Withdrawn && !n.Withdrawn {
		return fmt.Errorf("release %s of %s: it was withdrawn, for good: %w: build and publish a new one", payload, product, mios.ErrConflict)
	}
	rollout.Releases[payload] = n
	m, err := t.edit(repo.RoleRollout)
	if err != nil {
		return err
	}
	return t.putTarget(m, name, rollout, nil)
}

// content reads a small target of a role's newest version.
func (t *tx) content(role, name string, v any) error {
	d := t.current(role)
	if d == nil || d.targets.Signed.Targets[name] == nil {
		return fmt.Errorf("%s: %w", name, mios.ErrNotFound)
	}
	f := d.targets.Signed.Targets[name]
	if target, err := repo.TargetOf(name, f, nil); err == nil && t.files[target.File()] != nil {
		return json.Unmarshal(t.files[target.File()], v)
	}
	return t.r.read(t.ctx, name, f, v)
}

// read reads a small target.
func (r *Repo) read(ctx context.Context, name string, f *tuf.TargetFile, v any) error {
	target, err := repo.TargetOf(name, f, nil)
	if err != nil {
		return err
	}
	b, err := tree.ReadAll(ctx, r.tree, target.File(), repo.MaxMetadata)
	if err != nil {
		return err
	}
	if err := target.Check(b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
