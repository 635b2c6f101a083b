package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/storage/tree"
)

// A view is what the tree says now. It reads a role's metadata when somebody
// asks for it.
type view struct {
	r         *Repo
	ctx       context.Context
	docs      map[string]*document // those that were read
	raw       map[string][]byte    // the files of docs and the snapshot's, by role
	snapshot  *snapshotMeta
	timestamp *timestampMeta
	pointer   []byte // timestamp.json as it is
	// err is the first failure to read a role: what was done since on the belief
	// that there is none must not be published.
	err error
}

func (v *view) root() *rootMeta {
	if d := v.docs[tuf.RoleRoot]; d != nil {
		return d.root
	}
	return nil
}

// view reads the tree's pointer, the newest root, and the snapshot. A tree
// without a root is empty.
func (r *Repo) view(ctx context.Context) (*view, error) {
	v := &view{r: r, ctx: ctx, docs: map[string]*document{}, raw: map[string][]byte{}}
	var err error
	if v.pointer, err = tree.ReadAll(ctx, r.tree, repo.MetadataPath(tuf.RoleTimestamp, 0), repo.MaxTimestamp); err == nil {
		if v.timestamp, err = tuf.Parse[tuf.Timestamp](v.pointer); err != nil {
			return nil, fmt.Errorf("timestamp: %v: %w", err, mios.ErrInvalid)
		}
	} else if !errors.Is(err, mios.ErrNotFound) {
		return nil, err
	}
	n, err := r.newestRoot(ctx)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return v, nil
	}
	if v.timestamp == nil {
		return nil, fmt.Errorf("the repository has a root and no timestamp: %w", mios.ErrInvalid)
	}
	if err := v.load(tuf.RoleRoot, n); err != nil {
		return nil, err
	}
	f := v.timestamp.Signed.Meta["snapshot.json"]
	if f == nil {
		return nil, fmt.Errorf("timestamp: it names no snapshot: %w", mios.ErrInvalid)
	}
	b, err := tree.ReadAll(ctx, r.tree, repo.MetadataPath(tuf.RoleSnapshot, f.Version), repo.MaxMetadata)
	if err != nil {
		return nil, err
	}
	if v.snapshot, err = tuf.Parse[tuf.Snapshot](b); err != nil {
		return nil, fmt.Errorf("snapshot: %v: %w", err, mios.ErrInvalid)
	}
	v.raw[tuf.RoleSnapshot] = b
	return v, nil
}

// newestRoot returns the version of the newest root, 0 if there is none. Roots
// are numbered without a gap: it looks at powers of two beyond the one it knows,
// and then between.
func (r *Repo) newestRoot(ctx context.Context) (int64, error) {
	has := func(n int64) (bool, error) { return r.exists(ctx, repo.MetadataPath(tuf.RoleRoot, n)) }
	low := r.rootVersion.Load() // is there, or 0
	step := int64(1)
	for {
		ok, err := has(low + step)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low, step = low+step, step*2
	}
	for high := low + step; high-low > 1; {
		mid := low + (high-low)/2
		ok, err := has(mid)
		switch {
		case err != nil:
			return 0, err
		case ok:
			low = mid
		default:
			high = mid
		}
	}
	r.rootVersion.Store(low)
	return low, nil
}

// exists tells whether the tree has a file.
func (r *Repo) exists(ctx context.Context, name string) (bool, error) {
	f, err := r.tree.Open(ctx, name)
	if errors.Is(err, mios.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// published is a role's metadata in the tree, and its file. Neither is ever changed.
type published struct {
	doc *document
	raw []byte
}

func (v *view) load(role string, number int64) error {
	p, ok := v.r.published.get(version{role, number})
	if !ok {
		var err error
		if p.raw, err = tree.ReadAll(v.ctx, v.r.tree, repo.MetadataPath(role, number), repo.MaxMetadata); err != nil {
			return err
		}
		if p.doc, err = parseDocument(role, p.raw); err != nil {
			return err
		}
		v.r.published.put(version{role, number}, p, int64(len(p.raw)))
	}
	v.docs[role], v.raw[role] = p.doc, p.raw
	return nil
}

// doc returns a role's published metadata, or nil if it has none.
func (v *view) doc(role string) *document {
	if d := v.docs[role]; d != nil {
		return d
	}
	n := v.version(role)
	if n == 0 || v.err != nil || role == tuf.RoleRoot {
		return nil
	}
	if err := v.load(role, n); err != nil {
		v.err = err
		return nil
	}
	return v.docs[role]
}

// version returns the version of a role that is published, or 0.
func (v *view) version(role string) int64 {
	switch {
	case role == tuf.RoleRoot && v.root() != nil:
		return v.root().Signed.Version
	case v.snapshot == nil:
		return 0
	case role == tuf.RoleSnapshot:
		return v.snapshot.Signed.Version
	}
	if f := v.snapshot.Signed.Meta[role+".json"]; f != nil {
		return f.Version
	}
	return 0
}

// free returns the version after the published one whose name nobody has taken:
// a publisher that was killed, or lost a race, may have left files.
func (v *view) free(role string) (int64, error) {
	for n := v.version(role) + 1; ; n++ {
		taken, err := v.r.exists(v.ctx, repo.MetadataPath(role, n))
		if err != nil || !taken {
			return n, err
		}
	}
}

// names returns the targets roles that have metadata, delegators first.
func (v *view) names() []string {
	if v.snapshot == nil {
		return nil
	}
	var list []string
	for name := range maps.Keys(v.snapshot.Signed.Meta) {
		list = append(list, strings.TrimSuffix(name, ".json"))
	}
	slices.SortFunc(list, byRank)
	return list
}

// delegated returns the roles with metadata that a document delegates to. Bins
// of an old number of bins are in the snapshot for ever, and are not among them.
func (v *view) delegated(d *document) []string {
	if d.root != nil {
		return []string{tuf.RoleTargets}
	}
	g := d.targets.Signed.Delegations
	if g == nil {
		return nil
	}
	var list []string
	for _, role := range v.names() {
		named := slices.ContainsFunc(g.Roles, func(r tuf.DelegatedRole) bool { return r.Name == role })
		if named || g.SuccinctRoles != nil && g.SuccinctRoles.Has(role) {
			list = append(list, role)
		}
	}
	return list
}

// standing returns all roles with metadata that somebody delegates to, root
// among them.
func (v *view) standing() []string {
	list := []string{tuf.RoleRoot}
	for i := 0; i < len(list); i++ {
		if d := v.doc(list[i]); d != nil && (rank(list[i]) < 3) {
			list = append(list, v.delegated(d)...)
		}
	}
	return list
}
