package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"mios"
	"mios/format/tuf"
	"mios/internal/atomicfile"
)

// A Fetcher brings files of a repository, from any of its mirrors: nothing
// that it returns is trusted.
type Fetcher interface {
	// Get returns the file at a path below the repository's address. The error
	// wraps [mios.ErrNotFound] where no mirror has it, and [ErrLength] as soon
	// as it has more than max bytes.
	Get(ctx context.Context, path string, max int64) ([]byte, error)
}

// A Config is what a [Client] needs. All fields but Product, MaxAge and Now
// must be set.
type Config struct {
	Dir       string // where it keeps what it trusts; made if missing
	Root      []byte // the root metadata that is trusted first
	Fetcher   Fetcher
	Product   string    // whose OS releases it wants; "" for a client of apps alone
	BuildTime time.Time // the clock's floor
	// MaxAge is for how long after metadata was signed it may install; 0 means
	// until it expires.
	MaxAge time.Duration
	Now    func() time.Time // nil means time.Now
}

// A Client knows a repository's newest trusted state, on disk, and brings it
// up to date. Its methods may be called concurrently.
type Client struct {
	cfg     Config
	working sync.Mutex // held while the state is being brought forward
	mu      sync.Mutex // guards what follows
	state   *state
	files   map[mios.Digest][]byte // of the catalogue
	// filesSize is how many bytes files has.
	filesSize int
}

// Open returns the client with what it trusted when it last ran. What it finds
// in its folder it verifies again.
func Open(cfg Config) (*Client, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	root, err := parseRoot(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("the root that this device trusts first: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := atomicfile.Sweep(cfg.Dir); err != nil {
		return nil, err
	}
	s, err := loadState(cfg.Dir, root)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, state: s}, nil
}

func (c *Client) current() *state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// commit makes s the state, durably.
func (c *Client) commit(s *state) error {
	if err := s.save(c.cfg.Dir); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	return nil
}

// Now is the time as far as the client knows it: the system's clock, but never
// below the build time nor the newest signed time it has seen.
func (c *Client) Now() time.Time { return c.now(c.current()) }

func (c *Client) now(s *state) time.Time {
	now := c.cfg.Now()
	for _, floor := range []time.Time{c.cfg.BuildTime, s.raw.Time} {
		if now.Before(floor) {
			now = floor
		}
	}
	return now
}

// Refresh brings the trusted state up to date: root, timestamp, snapshot,
// targets, and the product's releases and rollout. A device that slept walks
// every root from the one it knows. After an error what was trusted before
// still is, with newer roots and a newer time if there were any. If nothing has
// changed, the timestamp is all that is fetched, and the next root asked for.
func (c *Client) Refresh(ctx context.Context) error {
	c.working.Lock()
	defer c.working.Unlock()
	s := c.current().clone()
	if err := c.walkRoots(ctx, s); err != nil {
		return err
	}
	next := s.clone()
	if err := c.refresh(ctx, next); err != nil {
		// What the roots and the clock taught is kept.
		s.raw.Time = next.raw.Time
		return errors.Join(err, c.commit(s))
	}
	return c.commit(next)
}

// walkRoots goes from the root that is known to the newest, and keeps each.
func (c *Client) walkRoots(ctx context.Context, s *state) error {
	for range MaxRoots {
		b, err := c.cfg.Fetcher.Get(ctx, MetadataPath(tuf.RoleRoot, s.root.Signed.Version+1), MaxRoot)
		if errors.Is(err, mios.ErrNotFound) {
			return nil
		}
		if err == nil && len(b) > MaxRoot {
			err = fmt.Errorf("%d bytes: %w", len(b), ErrLength)
		}
		if err != nil {
			return fmt.Errorf("root after version %d: %w", s.root.Signed.Version, err)
		}
		m, err := nextRoot(s.root, b)
		if err != nil {
			return err
		}
		s.setRoot(m, b)
		if err := c.commit(s.clone()); err != nil {
			return err
		}
	}
	return fmt.Errorf("root: over %d versions at once: %w", MaxRoots, ErrLength)
}

func (c *Client) refresh(ctx context.Context, s *state) error {
	if err := c.refreshTimestamp(ctx, s); err != nil {
		return err
	}
	if err := c.refreshSnapshot(ctx, s); err != nil {
		return err
	}
	targets, err := c.role(ctx, s, &s.root.Signed, tuf.RoleTargets)
	if err != nil {
		return err
	}
	if c.cfg.Product == "" {
		return nil
	}
	if s.snapshot.Signed.Meta[OSRole(c.cfg.Product)+".json"] == nil {
		return nil // no release yet
	}
	if _, err := c.role(ctx, s, &targets.Signed, OSRole(c.cfg.Product)); err != nil {
		return err
	}
	rollout, err := c.role(ctx, s, &targets.Signed, RoleRollout)
	if err != nil {
		return err
	}
	_, err = c.file(ctx, s, targets, RoleRollout, rollout, RolloutPath(c.cfg.Product))
	if errors.Is(err, mios.ErrNotFound) && rollout.Signed.Targets[RolloutPath(c.cfg.Product)] == nil {
		return nil // nothing is offered
	}
	return err
}

func (c *Client) refreshTimestamp(ctx context.Context, s *state) error {
	b, err := c.cfg.Fetcher.Get(ctx, MetadataPath(tuf.RoleTimestamp, 0), MaxTimestamp)
	if err == nil && len(b) > MaxTimestamp {
		err = fmt.Errorf("%d bytes: %w", len(b), ErrLength)
	}
	if errors.Is(err, mios.ErrNotFound) {
		return fmt.Errorf("timestamp: %w: check the repository's address", err)
	}
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	m, err := parseTimestamp(s.root, b)
	if err != nil {
		return err
	}
	if old := s.timestamp; old != nil {
		was, is := old.Signed.Meta["snapshot.json"].Version, m.Signed.Meta["snapshot.json"].Version
		switch {
		case m.Signed.Version < old.Signed.Version:
			return fmt.Errorf("timestamp version %d, and version %d was seen before: %w", m.Signed.Version, old.Signed.Version, ErrRollback)
		case is < was:
			return fmt.Errorf("timestamp version %d names snapshot version %d, and version %d was seen before: %w", m.Signed.Version, is, was, ErrRollback)
		case m.Signed.Version == old.Signed.Version:
			m, b = old, s.raw.Timestamp // a second one of the same version is none
		}
	}
	s.seen(m.Signed.Unrecognized)
	if err := c.unexpired(s, tuf.RoleRoot, s.root.Signed.Expires); err != nil {
		return err
	}
	if err := c.unexpired(s, tuf.RoleTimestamp, m.Signed.Expires); err != nil {
		return err
	}
	s.timestamp, s.raw.Timestamp = m, b
	return nil
}

func (c *Client) unexpired(s *state, role string, expires time.Time) error {
	if now := c.now(s); now.After(expires) {
		return fmt.Errorf("%s metadata of this repository: %w on %s, and it is %s: its operator has to sign it again",
			role, ErrExpired, expires.UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	}
	return nil
}

func (c *Client) refreshSnapshot(ctx context.Context, s *state) error {
	f := s.timestamp.Signed.Meta["snapshot.json"]
	b := s.raw.Snapshot
	if s.snapshot == nil || checkFile("", f, b) != nil {
		var err error
		if b, err = c.metadata(ctx, tuf.RoleSnapshot, f); err != nil {
			return err
		}
	}
	m, err := parseSnapshot(s.root, s.timestamp, b)
	if err != nil {
		return err
	}
	if s.snapshot != nil {
		if err := checkSnapshotRollback(s.snapshot, m); err != nil {
			return err
		}
	}
	if err := c.unexpired(s, tuf.RoleSnapshot, m.Signed.Expires); err != nil {
		return err
	}
	s.setSnapshot(m, b)
	return nil
}

// metadata fetches a role's file, as long as was signed for.
func (c *Client) metadata(ctx context.Context, role string, f *tuf.MetaFile) ([]byte, error) {
	b, err := c.cfg.Fetcher.Get(ctx, MetadataPath(role, f.Version), maxLength(f))
	if err != nil {
		return nil, fmt.Errorf("%s version %d: %w", role, f.Version, err)
	}
	return b, nil
}

// role returns a targets role's metadata, from the state or fetched into it.
func (c *Client) role(ctx context.Context, s *state, by tuf.Delegator, role string) (*targetsMeta, error) {
	m := s.roles[role]
	if m == nil {
		f := s.snapshot.Signed.Meta[role+".json"]
		if f == nil {
			return nil, fmt.Errorf("role %s: the snapshot does not name it: %w", role, ErrMix)
		}
		b, err := c.metadata(ctx, role, f)
		if err != nil {
			return nil, err
		}
		if m, err = parseTargets(by, role, s.snapshot, b); err != nil {
			return nil, err
		}
		s.setRole(role, m, b)
	} else if err := tuf.Verify(by, role, m); err != nil { // its delegator may have changed
		return nil, fmt.Errorf("%s version %d: %w: %v", role, m.Signed.Version, ErrSignature, err)
	}
	return m, c.unexpired(s, role, m.Signed.Expires)
}

// file returns the content of a small target, from the state or fetched into
// it.
func (c *Client) file(ctx context.Context, s *state, targets *targetsMeta, role string, m *targetsMeta, name string) ([]byte, error) {
	f, err := delegated(targets, role, m, name)
	if err != nil {
		return nil, err
	}
	return c.content(ctx, s, name, f)
}

// content is [Client.file] of a target whose role was checked.
func (c *Client) content(ctx context.Context, s *state, name string, f *tuf.TargetFile) ([]byte, error) {
	t, err := TargetOf(name, f, nil)
	if err != nil {
		return nil, err
	}
	if b, ok := s.raw.Files[t.SHA256]; ok {
		return b, nil
	}
	if b, ok := s.raw.Old[t.SHA256]; ok {
		s.raw.Files[t.SHA256] = b
		return b, nil
	}
	if t.Length > MaxMetadata {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d: %w", name, t.Length, MaxMetadata, ErrLength)
	}
	b, err := c.cfg.Fetcher.Get(ctx, t.File(), t.Length)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := t.Check(b); err != nil {
		return nil, err
	}
	s.raw.Files[t.SHA256] = b
	return b, nil
}

// CheckFresh says why nothing may be installed on what is trusted now, or nil.
// The error wraps [ErrStale] or [ErrExpired].
func (c *Client) CheckFresh() error { return c.fresh(c.current()) }

func (c *Client) fresh(s *state) error {
	if s.timestamp == nil || s.snapshot == nil || s.roles[tuf.RoleTargets] == nil {
		return fmt.Errorf("nothing is known of the repository yet: %w: refresh first", ErrStale)
	}
	for role, expires := range map[string]time.Time{
		tuf.RoleRoot:      s.root.Signed.Expires,
		tuf.RoleTimestamp: s.timestamp.Signed.Expires,
		tuf.RoleSnapshot:  s.snapshot.Signed.Expires,
	} {
		if err := c.unexpired(s, role, expires); err != nil {
			return err
		}
	}
	roles := []string{tuf.RoleTargets} // an app's are looked at with the app
	if c.cfg.Product != "" {
		roles = append(roles, OSRole(c.cfg.Product), RoleRollout)
	}
	for _, role := range roles {
		if m := s.roles[role]; m != nil {
			if err := c.unexpired(s, role, m.Signed.Expires); err != nil {
				return err
			}
		}
	}
	signed, err := signedAt(s.timestamp.Signed.Unrecognized)
	if err != nil {
		return err
	}
	if age := c.now(s).Sub(signed); c.cfg.MaxAge > 0 && age > c.cfg.MaxAge {
		return fmt.Errorf("what is known of the repository was signed %v ago, and this product allows %v: %w: refresh first",
			age.Round(time.Second), c.cfg.MaxAge, ErrStale)
	}
	return nil
}
