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
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
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

// A Repo is a repository: its tree, and its state beside it. Several processes
// may change it: they take turns by the state's lock, and who finds that the
// tree's pointer has moved all the same does its work again.
type Repo struct {
	dir   string
	state State
	cfg   Config
	tree  tree.Tree
	keys  []Keys
	now   func() time.Time

	rootVersion atomic.Int64                    // the newest that was seen
	mu          sync.Mutex                      // guards what follows
	packages    map[mios.Digest]repo.AppRelease // the highest release, by the package's file

	words     memory[mios.Digest, *wordFile] // files of the tree of words
	published memory[version, published]     // roles' metadata
}

// remembers is how many bytes of files a [Repo] holds of each kind, twice.
const remembers = 16 << 20

// An Option changes how a [Repo] works.
type Option func(*Repo)

// WithKeys gives the repository keys to sign with; several are tried in turn.
func WithKeys(k ...Keys) Option { return func(r *Repo) { r.keys = append(r.keys, k...) } }

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(r *Repo) { r.now = now } }

// WithTree replaces the public tree.
func WithTree(t tree.Tree) Option { return func(r *Repo) { r.tree = t } }

// WithState replaces the folder for all but the tree: for one that processes on
// several machines share, with [WithTree].
func WithState(s State) Option { return func(r *Repo) { r.state = s } }

// Open returns the repository in the folder dir, which is but its name where
// neither tree nor state are folders.
func Open(dir string, opts ...Option) (*Repo, error) {
	r := newRepo(dir, opts)
	b, err := r.state.Read(context.Background(), configFile)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, fmt.Errorf("repository %s: %w: make one with mios repo init", dir, mios.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", dir, err)
	}
	if err := json.Unmarshal(b, &r.cfg); err != nil {
		return nil, fmt.Errorf("repository %s: %s: %v: %w", dir, configFile, err, mios.ErrInvalid)
	}
	return r, nil
}

func newRepo(path string, opts []Option) *Repo {
	r := &Repo{
		dir: path, now: time.Now, tree: dir.New(filepath.Join(path, PublicDir)), state: folder(path),
		packages: map[mios.Digest]repo.AppRelease{},
		words:    memory[mios.Digest, *wordFile]{max: remembers}, published: memory[version, published]{max: remembers},
	}
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

// InitOptions say how a repository is set up.
type InitOptions struct {
	Lifetimes Lifetimes // zero ones are the default's
	// AppBits is how many bits of a hash choose an app's bin, and ClaimBits a
	// claim's: 7 are 128 bins, which is right for some thousands of apps; for
	// 20,000, take 9. 0 means 7. A bin takes no space before something is in it,
	// and [Repo.Rotate] can give another number.
	AppBits, ClaimBits int
	// Thresholds are how many keys of a role must sign, by the key's role;
	// what is missing is as in [key.Roles].
	Thresholds map[string]int
}

// Init sets a repository up in the folder dir, which must not be one yet. It
// takes the public keys of all roles but os, and enough private ones of them to
// sign. It can be run again after a kill.
func Init(ctx context.Context, path string, keys *key.Set, o InitOptions, opts ...Option) (*Repo, error) {
	r := newRepo(path, append(opts, WithKeys(keys)))
	if _, err := r.state.Read(ctx, configFile); err == nil {
		return nil, fmt.Errorf("repository %s: %w: it is there already", path, mios.ErrConflict)
	} else if !errors.Is(err, mios.ErrNotFound) {
		return nil, err
	}
	r.cfg.Lifetimes = withDefaults(o.Lifetimes)
	for _, bits := range []*int{&o.AppBits, &o.ClaimBits} {
		if *bits == 0 {
			*bits = defaultBits
		}
		if err := checkBits(*bits); err != nil {
			return nil, err
		}
	}
	unlock, err := r.state.Lock(ctx)
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
			if err := t.stamp(d); err != nil {
				return nil, err
			}
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
	return r, r.state.Write(ctx, configFile, append(b, '\n'))
}

// defaultBits are those that choose a bin in a new repository.
const defaultBits = 7

func checkBits(n int) error {
	if n < 1 || n > 14 {
		return fmt.Errorf("bins of %d bits: %w: want 1 to 14", n, mios.ErrInvalid)
	}
	return nil
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
	add(&document{role: repo.RoleRollout, targets: tuf.New[tuf.Targets]()})
	for role, bits := range map[string]int{repo.RoleApps: o.AppBits, repo.RoleClaims: o.ClaimBits} {
		g, err := groupOf(keys, role, o.Thresholds)
		if err != nil {
			return nil, err
		}
		d := &document{role: role, targets: tuf.New[tuf.Targets]()}
		setBins(d.targets, role, g, bits)
		add(d)
	}
	return docs, nil
}
