package app

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/publish/app/history"
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

// Config is what a store works on. DB, Blobs and Repo must be set.
type Config struct {
	DB     *record.DB
	Blobs  blob.Store // uploads, and what is published of them
	Repo   *repo.Repo // with the online keys
	Policy Policy
	Prover Prover           // nil: domains are not asked
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: nothing is logged
}

// A Policy says what the operator wants of apps. The zero value asks for
// nothing beyond the rules of a store.
type Policy struct {
	// ProveDomain wants proof of the domain in a package's name before its first
	// version is approved.
	ProveDomain bool `json:"prove_domain,omitempty"`
	// OtherReviewer wants somebody else than who submitted to approve.
	OtherReviewer bool `json:"other_reviewer,omitempty"`
	// MaxUpload bounds all files of an upload, in bytes; 0 means 4 GiB.
	MaxUpload int64 `json:"max_upload,omitempty"`
}

// A Store is the life of apps: submissions, reviews, releases and their
// history, as rows of a database, from which the repository is compiled. Its
// methods may be called concurrently, and several processes may work on one
// database. Who does a thing is a name for the history; the caller has made
// sure that it is theirs. Errors of what a person asked for wrap
// [mios.ErrNotFound], [mios.ErrInvalid], [mios.ErrDenied] or [mios.ErrConflict].
type Store struct {
	Config
}

// Open returns the store in a database, whose tables it makes or brings up to
// date.
func Open(ctx context.Context, c Config) (*Store, error) { return nil, errors.ErrUnsupported }

// A Submission is an upload that was taken.
type Submission struct {
	ID          string        `json:"id"`
	Package     string        `json:"package"`
	VersionCode int64         `json:"version_code"`
	VersionName string        `json:"version_name"`
	Label       string        `json:"label"`
	State       State         `json:"state"`
	By          string        `json:"by"`
	At          time.Time     `json:"at"`
	Note        string        `json:"note,omitempty"`
	Files       []File        `json:"files"` // the base first
	Signers     []mios.Digest `json:"signers"`
	Lineage     []mios.Digest `json:"lineage,omitempty"` // earlier signers, the oldest first
	First       bool          `json:"first,omitempty"`   // of its package: approval claims it
	Alike       []Alike       `json:"alike,omitempty"`   // apps that it may be taken for
	Verdict     *Verdict      `json:"verdict,omitempty"`
}

// An Alike is another app that a person may take a new one for.
type Alike struct {
	Package string `json:"package"`
	Label   string `json:"label"`
	Why     string `json:"why"`
}

// Submit takes an upload: it looks at the files in a worker, checks them, and
// keeps them for review. What it refuses leaves nothing behind, blobs that were
// named by their digests included. The error of a refusal wraps
// [mios.ErrInvalid], [mios.ErrDenied] or [mios.ErrConflict] and says what to do.
func (s *Store) Submit(ctx context.Context, who string, u Upload) (*Submission, error) {
	return nil, errors.ErrUnsupported
}

// Submission returns one by its ID.
func (s *Store) Submission(ctx context.Context, id string) (*Submission, error) {
	return nil, errors.ErrUnsupported
}

// A Filter chooses submissions. Empty fields choose all.
type Filter struct {
	Package string
	State   State
	By      string
	Before  string // the ID of the last one of the page before
	Limit   int    // 0: 100
}

// Submissions returns submissions, the newest first.
func (s *Store) Submissions(ctx context.Context, f Filter) ([]Submission, error) {
	return nil, errors.ErrUnsupported
}

// Review approves or rejects a submission in review, with why. The first
// approval of a package claims it for the submission's signer. An approved
// submission that is not released can still be rejected.
func (s *Store) Review(ctx context.Context, who, id string, approve bool, why string) (*Submission, error) {
	return nil, errors.ErrUnsupported
}

// Release puts an approved submission on a track. Devices see it once
// [Store.Compile] has run.
func (s *Store) Release(ctx context.Context, who, id string, o ReleaseOptions) (*Release, error) {
	return nil, errors.ErrUnsupported
}

// SetShare says how many devices a release is for.
func (s *Store) SetShare(ctx context.Context, who, pkg string, number int64, share api.Share, why string) (*Release, error) {
	return nil, errors.ErrUnsupported
}

// Halt lets no further device take a release, until told otherwise.
func (s *Store) Halt(ctx context.Context, who, pkg string, number int64, why string) (*Release, error) {
	return nil, errors.ErrUnsupported
}

// Resume undoes [Store.Halt].
func (s *Store) Resume(ctx context.Context, who, pkg string, number int64, why string) (*Release, error) {
	return nil, errors.ErrUnsupported
}

// Rollback releases what the earlier release to was once more, as a new release
// that devices go down to, and withdraws those on its track that came after.
// With to 0 it is the newest one before the track's current release that was
// not withdrawn.
func (s *Store) Rollback(ctx context.Context, who, pkg, track string, to int64, why string) (*Release, error) {
	return nil, errors.ErrUnsupported
}

// SetDevelopers says who may submit versions of a package.
func (s *Store) SetDevelopers(ctx context.Context, who, pkg string, developers []string, why string) (*App, error) {
	return nil, errors.ErrUnsupported
}

// App returns what is known of a package.
func (s *Store) App(ctx context.Context, pkg string) (*App, error) {
	return nil, errors.ErrUnsupported
}

// Apps returns apps sorted by package, those after the given one, at most
// limit; 0 means 100.
func (s *Store) Apps(ctx context.Context, after string, limit int) ([]App, error) {
	return nil, errors.ErrUnsupported
}

// History verifies the whole history and returns a package's events, or all
// with "". The error of a chain that breaks is a [*history.BrokenError].
func (s *Store) History(ctx context.Context, pkg string) ([]history.Event, error) {
	return nil, errors.ErrUnsupported
}

// Compiled says what [Store.Compile] did.
type Compiled struct {
	Packages []string     `json:"packages"` // that were brought up to date
	Waiting  []string     `json:"waiting"`  // that wait for a signed claim
	Result   *repo.Result `json:"result,omitempty"`
}

// Compile brings the tree to what the rows say: claims, releases and listings
// of the packages that changed since, and after them F-Droid's indexes. It can
// be called again after any kill, by any process.
func (s *Store) Compile(ctx context.Context) (*Compiled, error) { return nil, errors.ErrUnsupported }

// Run does the store's work in the background until ctx ends: it compiles what
// changed, takes up what a killed process left, lets scheduled shares grow,
// makes deltas and keeps the repository fresh.
func (s *Store) Run(ctx context.Context) error { return errors.ErrUnsupported }

// Listing replaces what people see of a package in the store, from a folder in
// fastlane's layout.
func (s *Store) SetListing(ctx context.Context, who, pkg string, dir fs.FS, why string) (*App, error) {
	return nil, errors.ErrUnsupported
}
