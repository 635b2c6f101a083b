// Package store brings apps from the repository to a device, and keeps those
// that it brought up to date: by a delta where there is one, with the splits that
// fit, within a data budget, and with a report of what was updated and what was
// not, and why. It changes only packages whose installer of record it is.
//
// What is true of an app the repository's client says (mios/api/repo), what may
// replace what the package manager (mios/device/app).
package store

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"mios/api/repo"
	"mios/device/app"
	"mios/device/app/download"
	"mios/device/fetch"
)

// A Repository is what the device trusts. *repo.Client is one.
type Repository interface {
	Refresh(ctx context.Context) error
	CheckFresh() error
	AppOffer(ctx context.Context, pkg string, d *repo.AppDevice, has repo.AppInstalled) (*repo.AppRelease, error)
	Listing(ctx context.Context, pkg string) (*repo.Listing, error)
	Search(ctx context.Context, query, locale string) ([]repo.Entry, error)
}

// Packages is what is installed. *app.Manager is one.
type Packages interface {
	List() []app.Status
	Get(pkg string) (*app.Status, error)
	MayReplace(set *app.Set) error
	InstallSet(ctx context.Context, set *app.Set) (*app.Status, error)
	Keep(pkg string, release int64) error
}

// A Config is what a [Store] needs. Dir, Repository, Packages, Fetch, Device and
// Log must be set.
type Config struct {
	Dir        string // what it keeps
	Repository Repository
	Packages   Packages
	Fetch      download.Fetcher
	Meter      *fetch.Meter // of Fetch and of the repository's client; nil: no budget
	Device     repo.AppDevice
	Locales    []string // of the person, the preferred one first
	Density    int      // of the screen, in dots per inch; 0: none
	// Interval is the time between two looks for newer releases; 0 means that it
	// looks only when asked.
	Interval time.Duration
	Now      func() time.Time // nil means time.Now
	// Free returns how many bytes may still be written; nil: any number.
	Free func() (int64, error)
	Log  *slog.Logger
}

// A Store does one thing at a time. Its methods may be called concurrently.
type Store struct {
	cfg   Config
	files download.Dir
	work  chan struct{} // holds one thing while something is done
	mu    sync.Mutex    // state and report
	state state
	rep   Report
}

// Open reads what the store knew when it last ran. What it cannot read is as if
// it had never been.
func Open(cfg Config) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Store{cfg: cfg, work: make(chan struct{}, 1)}
	s.files = download.Dir{Path: filepath.Join(cfg.Dir, "files"), Fetch: cfg.Fetch}
	return s, s.load()
}

// begin waits until nothing else is done, and returns what to call after it.
func (s *Store) begin(ctx context.Context, say Say, pkg string) (end func(), err error) {
	select {
	case s.work <- struct{}{}:
	default:
		say(Progress{Package: pkg, Step: Waiting})
		select {
		case s.work <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return func() {
		s.cfg.Meter.Save()
		<-s.work
	}, nil
}

// refresh brings what is known of the repository up to date.
func (s *Store) refresh(ctx context.Context, say Say) error {
	say(Progress{Step: Looking})
	err := s.cfg.Repository.Refresh(ctx)
	if err == nil {
		err = s.cfg.Repository.CheckFresh()
	}
	if err != nil {
		return app.Refuse(app.CodeAborted, "%v", err)
	}
	return nil
}

// A Say hears how far something is.
type Say func(Progress)

// The steps of a [Progress].
const (
	Waiting    = "waiting" // for what is being done
	Looking    = "looking" // into the repository
	Fetching   = "fetching"
	Patching   = "patching" // making the new version of the old one and a delta
	Installing = "installing"
)

// A Progress is how far something is.
type Progress struct {
	Package string `json:"package,omitempty"`
	Step    string `json:"step"`
	Way     Way    `json:"way,omitempty"`
	Have    int64  `json:"have,omitempty"`  // bytes
	Total   int64  `json:"total,omitempty"` // of Have
}

// A Way is what is fetched of a release.
type Way string

// The ways to a release.
const (
	Full  Way = "full"
	Delta Way = "delta"
)

// sometimes returns a function that reports how many of total bytes there are,
// but not more often than a person can read.
func sometimes(say Say, p Progress) func(have int64) {
	var last time.Time
	return func(have int64) {
		if now := time.Now(); have >= p.Total || now.Sub(last) >= 200*time.Millisecond {
			last, p.Have = now, have
			say(p)
		}
	}
}
