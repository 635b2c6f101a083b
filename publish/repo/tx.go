package repo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/storage/tree"
)

// A tx is one change of the repository, under its lock.
type tx struct {
	r      *Repo
	ctx    context.Context
	view   *view
	signed time.Time
	docs   map[string]*document // new versions of roles
	staged map[string]*document // those of them that waited for signatures before
	edited map[string]bool      // roles whose next version has its number
	force  bool                 // sign freshness again, whatever else there is
	counts map[counted]int      // of documents that are signed to the end
	shop   *catalogue           // nil until somebody asks for it
	files  map[string][]byte    // small ones that are stored at the end
}

// counted is a document and a set of keys, by their identifiers.
type counted struct {
	d   *document
	ids string
}

// A Result says what became of a change.
type Result struct {
	// Published is set when the public tree changed: Timestamp is its version
	// now, Roles those with a new version.
	Published bool     `json:"published"`
	Timestamp int64    `json:"timestamp"`
	Roles     []string `json:"roles"`
	// Waiting are the roles that need signatures from elsewhere.
	Waiting []Waiting `json:"waiting"`
	// Warnings are sentences to the operator.
	Warnings []string `json:"warnings"`
}

// Waiting is a role's new version that too few keys have signed.
type Waiting struct {
	Role    string `json:"role"`
	Version int64  `json:"version"`
	Have    int    `json:"have"`
	Need    int    `json:"need"`
}

// raced is the error of who found that another process changed the tree at the
// same time.
type raced struct{ error }

func (e raced) Unwrap() error { return e.error }

// races is how often a change is tried again after a lost race.
const races = 20

// change runs f on a transaction and commits what it did. f runs again, on what
// is there then, if somebody else changed the tree in the meantime.
func (r *Repo) change(ctx context.Context, f func(t *tx) error) (*Result, error) {
	for try := 0; ; try++ {
		res, err := r.changeOnce(ctx, f)
		var lost raced
		if !errors.As(err, &lost) {
			return res, err
		}
		if try == races {
			return nil, fmt.Errorf("the repository was changed by others %d times meanwhile: %w", races, err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(rand.N(time.Millisecond << min(try, 8))):
		}
	}
}

func (r *Repo) changeOnce(ctx context.Context, f func(t *tx) error) (*Result, error) {
	t, unlock, err := r.beginLocked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	maps.Copy(t.docs, t.staged)
	err = f(t)
	if err == nil {
		err = t.finish()
	}
	if err == nil {
		err = t.flush()
	}
	if err != nil {
		return nil, cmp.Or(t.view.err, err)
	}
	if t.view.err != nil {
		return nil, t.view.err
	}
	return t.commit()
}

// beginLocked is begin for who must be alone until unlock.
func (r *Repo) beginLocked(ctx context.Context) (t *tx, unlock func(), err error) {
	if unlock, err = r.state.Lock(ctx); err != nil {
		return nil, nil, err
	}
	if t, err = r.begin(ctx); err != nil {
		unlock()
		return nil, nil, err
	}
	return t, unlock, nil
}

// begin returns a transaction on what is there now. What waits for signatures is
// not among its documents yet.
func (r *Repo) begin(ctx context.Context) (*tx, error) {
	v, err := r.view(ctx)
	if err != nil {
		return nil, err
	}
	t := &tx{r: r, ctx: ctx, view: v, docs: map[string]*document{}, edited: map[string]bool{}, signed: r.now().UTC().Truncate(time.Second)}
	t.staged, err = r.loadStaged(v)
	return t, err
}

// edit returns the next version of a targets role, to be changed.
func (t *tx) edit(role string) (*targetsMeta, error) {
	d, err := t.next(role)
	if err != nil {
		return nil, err
	}
	return d.targets, nil
}

// next returns the next version of a role: the one that waits for signatures,
// which it loses, or a copy of the tree's. A bin that has never held anything
// begins empty.
func (t *tx) next(role string) (*document, error) {
	d := t.docs[role]
	if d == nil {
		there := t.view.doc(role) != nil
		switch {
		case t.view.err != nil:
			return nil, t.view.err
		case there:
			var err error
			if d, err = parseDocument(role, t.view.raw[role]); err != nil {
				return nil, err
			}
		case parent(role) != "":
			d = &document{role: role, targets: tuf.New[tuf.Targets]()}
		default:
			return nil, fmt.Errorf("role %s: %w in this repository", role, mios.ErrNotFound)
		}
		t.docs[role] = d
	}
	delete(t.staged, role)
	if t.edited[role] {
		return d, nil
	}
	t.edited[role] = true
	return d, t.stamp(d)
}

// stamp gives a document the next free version. A root's is always one up.
func (t *tx) stamp(d *document) error {
	version, err := t.view.free(d.role)
	if err != nil {
		return err
	}
	d.stamp(version, t.signed, t.signed.Add(t.r.cfg.Lifetimes.of(d.role)))
	return nil
}

// has tells whether a role exists, or will.
func (t *tx) has(role string) bool { return t.docs[role] != nil || t.view.version(role) > 0 }

// current is the newest version of a role to read: one that waits, or the
// tree's.
func (t *tx) current(role string) *document {
	if d := t.docs[role]; d != nil {
		return d
	}
	return t.view.doc(role)
}

// putTarget stores a small file, and makes it a target of a role's metadata.
func (t *tx) putTarget(m *targetsMeta, name string, content, custom any) error {
	b, err := json.Marshal(content)
	if err != nil {
		return err
	}
	target := repo.Target{Path: name, Length: int64(len(b)), SHA256: sha256.Sum256(b)}
	t.create(target, b)
	return setTarget(m, target, custom)
}

// create stores a small file when the change is complete, before what names it
// is published.
func (t *tx) create(target repo.Target, b []byte) {
	if t.files == nil {
		t.files = map[string][]byte{}
	}
	t.files[target.File()] = b
}

// flush stores the small files of a change.
func (t *tx) flush() error { return tree.CreateAll(t.ctx, t.r.tree, t.files) }

// setTarget makes a stored file a target of a role's metadata.
func setTarget(m *targetsMeta, target repo.Target, custom any) error {
	f := &tuf.TargetFile{Length: target.Length, Hashes: tuf.Hashes{"sha256": target.SHA256[:]}}
	if custom != nil {
		b, err := json.Marshal(custom)
		if err != nil {
			return err
		}
		f.Custom = b
	}
	m.Signed.Targets[target.Path] = f
	return nil
}

// rank orders roles: who delegates comes first.
func rank(role string) int {
	switch {
	case role == tuf.RoleRoot:
		return 0
	case role == tuf.RoleTargets:
		return 1
	case parent(role) != "":
		return 3
	}
	return 2
}

func byRank(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b)) }

// groups returns the sets of keys that must each sign a role's new version: by
// is what the delegators are.
func (t *tx) groups(d *document, by func(role string) *document) ([]group, error) {
	switch {
	case d.role == tuf.RoleRoot:
		g := []group{rootGroup(d.root, tuf.RoleRoot)}
		if old := t.view.root(); old != nil {
			g = append(g, rootGroup(old, tuf.RoleRoot))
		}
		return g, nil
	case d.role == tuf.RoleTargets:
		if by(tuf.RoleRoot) == nil {
			return nil, fmt.Errorf("role targets: there is no root: %w", mios.ErrNotFound)
		}
		return []group{rootGroup(by(tuf.RoleRoot).root, tuf.RoleTargets)}, nil
	}
	from := cmp.Or(parent(d.role), tuf.RoleTargets)
	if by(from) == nil {
		return nil, fmt.Errorf("role %s: there is no %s: %w", d.role, from, mios.ErrNotFound)
	}
	g, err := delegatedGroup(by(from).targets, d.role)
	return []group{g}, err
}

// good tells whether enough keys of each set have signed.
func (t *tx) good(d *document, by func(role string) *document) bool {
	groups, err := t.groups(d, by)
	if err != nil {
		return false
	}
	for _, g := range groups {
		if t.count(g, d) < g.Threshold {
			return false
		}
	}
	return true
}

// count is [group.count] with a memory: every commit asks the same again and
// again.
func (t *tx) count(g group, d *document) int {
	k := counted{d, strings.Join(sortedIDs(g), " ")}
	n, ok := t.counts[k]
	if !ok {
		n = g.count(d)
		if t.counts == nil {
			t.counts = map[counted]int{}
		}
		t.counts[k] = n
	}
	return n
}

// sign signs what was edited with the keys at hand, for the delegators there
// are and for those that there may be.
func (t *tx) sign() error {
	for _, role := range slices.SortedFunc(maps.Keys(t.docs), byRank) {
		d := t.docs[role]
		signers, err := t.r.signers(role)
		if err != nil {
			return err
		}
		ids := map[string]bool{}
		for _, by := range []func(string) *document{t.current, t.view.doc} {
			groups, err := t.groups(d, by)
			if err != nil {
				continue
			}
			for _, g := range groups {
				maps.Copy(ids, g.ids())
			}
		}
		if err := d.sign(signers, ids); err != nil {
			return err
		}
	}
	return nil
}

// accept returns the new versions that may be published now: signed by enough
// keys, and leaving nothing in the tree that its delegator no longer stands
// for.
func (t *tx) accept() map[string]*document {
	accepted := map[string]*document{}
	by := func(role string) *document {
		if d := accepted[role]; d != nil {
			return d
		}
		return t.view.doc(role)
	}
	for _, role := range slices.SortedFunc(maps.Keys(t.docs), byRank) {
		d := t.docs[role]
		if !t.good(d, by) {
			continue
		}
		accepted[role] = d
		if rank(role) < 3 && !t.whole(d, by) {
			delete(accepted, role)
		}
	}
	return accepted
}

// whole tells whether what a delegator speaks of in the tree, or what could take
// its place, stands under these delegators.
func (t *tx) whole(delegator *document, by func(role string) *document) bool {
	for _, role := range t.view.delegated(delegator) {
		if next := t.docs[role]; next != nil && t.good(next, by) {
			continue
		}
		old := t.view.doc(role)
		if old == nil || !t.good(old, by) {
			return false
		}
	}
	return true
}
