package app

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mios"
	"mios/publish/app/check"
	"mios/publish/app/fdroid"
	"mios/publish/app/listing"
	"mios/publish/app/worker"
	"mios/publish/repo"
	"mios/storage/blob"
	"mios/storage/record"
)

// A Prover asks the domain in a package's name whether signers, by the SHA-256
// of their certificates, may publish it. The error says why not;
// [mios/publish/app/domain.Web] is one.
type Prover interface {
	Prove(ctx context.Context, pkg string, signers []mios.Digest) error
}

// A Parser reads what strangers made; [worker.Worker] does it in a process that
// holds no key.
type Parser interface {
	Inspect(ctx context.Context, files []worker.File) (*check.Facts, error)
	Convert(ctx context.Context, in []byte, kind listing.Kind) ([]listing.Picture, error)
}

// Config is what a store works on. DB, Blobs and Repo must be set.
type Config struct {
	DB     *record.DB
	Blobs  blob.Store // uploads, and what is published of them
	Repo   *repo.Repo // with the online keys
	Policy Policy
	FDroid *fdroid.Config   // without Tree and Time, which are the store's; nil: no F-Droid repository
	Parser Parser           // nil: a [worker.Worker]
	Prover Prover           // nil: domains are not asked
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: nothing is logged
}

// A Policy says what the operator wants of apps. The zero value asks for
// nothing beyond the rules of a store.
type Policy struct {
	// ProveDomain wants proof of the domain in a package's name before its first
	// version is approved.
	ProveDomain bool `yaml:"prove_domain"`
	// OtherReviewer wants somebody else than who submitted to approve.
	OtherReviewer bool `yaml:"other_reviewer"`
	// MaxUpload bounds all files of an upload, in bytes; 0 means 4 GiB.
	MaxUpload int64 `yaml:"max_upload"`
	// Checks is what the findings are to submissions; nil means
	// [check.DefaultPolicy].
	Checks *check.Policy `yaml:"-"`
}

const defaultMaxUpload = 4 << 30

// A Store is the life of apps: submissions, reviews, releases and their
// history, as rows of a database, from which the repository is compiled. Its
// methods may be called concurrently, and several processes may work on one
// database. Who does a thing is a name for the history; the caller has made
// sure that it is theirs. Errors of what a person asked for wrap
// [mios.ErrNotFound], [mios.ErrInvalid], [mios.ErrDenied] or [mios.ErrConflict].
type Store struct {
	cfg    Config
	checks check.Policy
	mu     sync.Mutex    // this process's changes come one after the other
	wake   chan struct{} // something has to be compiled
	deltas chan struct{} // or compared

	fdroidThere atomic.Bool // F-Droid's indexes have been seen in the tree
}

//go:embed migrations/*.sql
var migrations embed.FS

// Open returns the store in a database, whose tables it makes or brings up to
// date.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Parser == nil {
		c.Parser = new(worker.Worker)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Policy.MaxUpload == 0 {
		c.Policy.MaxUpload = defaultMaxUpload
	}
	s := &Store{cfg: c, checks: check.DefaultPolicy(), wake: make(chan struct{}, 1), deltas: make(chan struct{}, 1)}
	if c.Policy.Checks != nil {
		s.checks = *c.Policy.Checks
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := c.DB.Migrate(ctx, "store", files); err != nil {
		return nil, err
	}
	return s, nil
}

// Repo returns the repository that the store compiles.
func (s *Store) Repo() *repo.Repo { return s.cfg.Repo }

// Blobs returns where the store keeps files: uploads begin there.
func (s *Store) Blobs() blob.Store { return s.cfg.Blobs }

// now is the time that rows keep, in whole seconds.
func (s *Store) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Second) }

// encode writes a row's JSON.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// decode reads a row's JSON.
func decode(what, text string, v any) error {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fmt.Errorf("database: %s: %v", what, err)
	}
	return nil
}
