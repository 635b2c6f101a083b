// Package repo compiles the repository that devices trust: it keeps the tree
// of package api/repo, signs what changes with the keys at hand, and stages
// what has to be signed elsewhere. Whatever happens in between, the public tree
// is the old one or the new one.
package repo

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/internal/atomicfile"
	"mios/key"
	"mios/storage/tree"
	"mios/storage/tree/dir"
)

// What lies in a repository's folder.
const (
	PublicDir  = "public"    // the tree, for any web server
	stagedDir  = "staged"    // metadata that waits for signatures
	configFile = "repo.json" // a Config
	lockFile   = ".lock"
)

// Keys are the private keys at hand, by role; [key.Set] is one.
type Keys interface {
	Signers(role string) ([]crypto.Signer, error)
}

// Lifetimes say for how long metadata of each role is good. In JSON they are
// seconds.
type Lifetimes struct {
	Root      Seconds `json:"root"`
	Offline   Seconds `json:"offline"` // targets, os, claims
	Apps      Seconds `json:"apps"`
	Rollout   Seconds `json:"rollout"`
	Snapshot  Seconds `json:"snapshot"`
	Timestamp Seconds `json:"timestamp"`
}

// Seconds is a duration in seconds.
type Seconds int64

// Duration returns it as a [time.Duration].
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

const day = Seconds(24 * 60 * 60)

// DefaultLifetimes are those of a new repository.
var DefaultLifetimes = Lifetimes{Root: 2 * 365 * day, Offline: 365 * day, Apps: 30 * day, Rollout: day, Snapshot: 7 * day, Timestamp: day}

// of returns the lifetime of a role's metadata.
func (l Lifetimes) of(role string) time.Duration {
	switch keyRole(role) {
	case key.Root:
		return l.Root.Duration()
	case key.Apps:
		return l.Apps.Duration()
	case key.Rollout:
		return l.Rollout.Duration()
	case key.Snapshot:
		return l.Snapshot.Duration()
	case key.Timestamp:
		return l.Timestamp.Duration()
	}
	return l.Offline.Duration()
}

// Config is what a repository is set up with.
type Config struct {
	Lifetimes Lifetimes `json:"lifetimes"`
}

// A Repo is a repository's folder. Everything that changes it takes the lock of
// the folder, so that several processes may.
type Repo struct {
	dir  string
	cfg  Config
	tree tree.Tree
	keys []Keys
	now  func() time.Time
}

// An Option changes how a [Repo] works.
type Option func(*Repo)

// WithKeys gives the repository keys to sign with; several are tried in turn.
func WithKeys(k ...Keys) Option { return func(r *Repo) { r.keys = append(r.keys, k...) } }

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(r *Repo) { r.now = now } }

// WithTree replaces the public tree.
func WithTree(t tree.Tree) Option { return func(r *Repo) { r.tree = t } }

// Open returns the repository in the folder dir.
func Open(dir string, opts ...Option) (*Repo, error) {
	r := newRepo(dir, opts)
	b, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("repository %s: %w: make one with mios repo init", dir, mios.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &r.cfg); err != nil {
		return nil, fmt.Errorf("repository %s: %s: %v: %w", dir, configFile, err, mios.ErrInvalid)
	}
	return r, nil
}

func newRepo(path string, opts []Option) *Repo {
	r := &Repo{dir: path, now: time.Now, tree: dir.New(filepath.Join(path, PublicDir))}
	for _, o := range opts {
		o(r)
	}
	return r
}

// Tree returns the public tree.
func (r *Repo) Tree() tree.Tree { return r.tree }

// Dir returns the repository's folder.
func (r *Repo) Dir() string { return r.dir }

// RootMetadata returns the newest root metadata: what a new build trusts
// first.
func (r *Repo) RootMetadata(ctx context.Context) ([]byte, error) {
	v, err := r.view(ctx)
	if err != nil {
		return nil, err
	}
	return v.raw[tuf.RoleRoot], nil
}

// signers returns all keys at hand for a metadata role.
func (r *Repo) signers(role string) ([]crypto.Signer, error) {
	var all []crypto.Signer
	for _, k := range r.keys {
		s, err := k.Signers(keyRole(role))
		if err != nil {
			return nil, err
		}
		all = append(all, s...)
	}
	return all, nil
}

// lock keeps other processes from changing the repository, and cleans up after
// one that was killed.
func (r *Repo) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(r.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", r.dir, err)
	}
	if t, ok := r.tree.(interface{ Sweep() error }); ok {
		if err := t.Sweep(); err != nil {
			f.Close()
			return nil, err
		}
	}
	return func() { f.Close() }, nil
}

// InitOptions say how a repository is set up.
type InitOptions struct {
	Lifetimes Lifetimes // zero ones are the default's
	// AppBits is how many bits of a hash choose an app's bin: 4 are 16 bins.
	// 0 means 4.
	AppBits int
	// Thresholds are how many keys of a role must sign, by the key's role;
	// what is missing is as in [key.Roles].
	Thresholds map[string]int
}

// Init sets a repository up in the folder dir, which must not be one yet. It
// takes the public keys of all roles but os, and enough private ones of them to
// sign. It can be run again after a kill.
func Init(ctx context.Context, path string, keys *key.Set, o InitOptions, opts ...Option) (*Repo, error) {
	if _, err := os.Stat(filepath.Join(path, configFile)); err == nil {
		return nil, fmt.Errorf("repository %s: %w: it is there already", path, mios.ErrConflict)
	}
	r := newRepo(path, append(opts, WithKeys(keys)))
	r.cfg.Lifetimes = withDefaults(o.Lifetimes)
	if o.AppBits == 0 {
		o.AppBits = 4
	}
	if o.AppBits < 0 || o.AppBits > 14 {
		return nil, fmt.Errorf("bins for apps: %d bits: %w: want 1 to 14", o.AppBits, mios.ErrInvalid)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	v, err := r.view(ctx)
	if err != nil {
		return nil, err
	}
	if v.root() == nil { // else only the configuration is missing
		t := &tx{r: r, ctx: ctx, view: v, signed: r.now().UTC().Truncate(time.Second)}
		if t.docs, err = r.first(keys, o); err != nil {
			return nil, err
		}
		for _, d := range t.docs {
			t.stamp(d)
		}
		if _, err := t.commit(); err != nil {
			return nil, fmt.Errorf("repository %s: %w", path, err)
		}
	}
	b, err := json.MarshalIndent(r.cfg, "", "  ")
	if err != nil {
		return nil, err
	}
	// The configuration makes it a repository.
	return r, atomicfile.WriteBytes(filepath.Join(path, configFile), append(b, '\n'), 0o644)
}

func withDefaults(l Lifetimes) Lifetimes {
	d := DefaultLifetimes
	for _, p := range []struct{ to, from *Seconds }{
		{&d.Root, &l.Root}, {&d.Offline, &l.Offline}, {&d.Apps, &l.Apps},
		{&d.Rollout, &l.Rollout}, {&d.Snapshot, &l.Snapshot}, {&d.Timestamp, &l.Timestamp},
	} {
		if *p.from > 0 {
			*p.to = *p.from
		}
	}
	return d
}

// first makes the documents of a new repository.
func (r *Repo) first(keys *key.Set, o InitOptions) (map[string]*document, error) {
	docs := map[string]*document{}
	add := func(d *document) { docs[d.role] = d }
	root := tuf.New[tuf.Root]()
	for _, role := range tuf.TopLevel {
		g, err := groupOf(keys, role, o.Thresholds)
		if err != nil {
			return nil, err
		}
		setRootGroup(root, role, g)
	}
	add(&document{role: tuf.RoleRoot, root: root})
	targets := tuf.New[tuf.Targets]()
	for _, d := range []struct{ role, paths string }{
		{repo.RoleClaims, "claims/*.json"},
		{repo.RoleApps, "apps/*.json"},
		{repo.RoleRollout, "rollout/*.json"},
	} {
		g, err := groupOf(keys, d.role, o.Thresholds)
		if err != nil {
			return nil, err
		}
		delegate(targets, d.role, []string{d.paths}, g)
	}
	add(&document{role: tuf.RoleTargets, targets: targets})
	add(&document{role: repo.RoleClaims, targets: tuf.New[tuf.Targets]()})
	add(&document{role: repo.RoleRollout, targets: tuf.New[tuf.Targets]()})
	apps := tuf.New[tuf.Targets]()
	g, err := groupOf(keys, repo.RoleApps, o.Thresholds)
	if err != nil {
		return nil, err
	}
	bins := &tuf.SuccinctRoles{KeyIDs: sortedIDs(g), Threshold: g.Threshold, BitLength: o.AppBits, NamePrefix: repo.RoleApps}
	apps.Signed.Delegations = &tuf.Delegations{Keys: g.Keys, SuccinctRoles: bins}
	add(&document{role: repo.RoleApps, targets: apps})
	for role := range bins.Bins() {
		add(&document{role: role, targets: tuf.New[tuf.Targets]()})
	}
	return docs, nil
}
