// Package setup makes a store out of a folder with a configuration: it opens
// the database, the files, the repository and the keys that store.yaml names.
// docs/store.md describes the file.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"mios"
	"mios/internal/atomicfile"
	"mios/internal/strictyaml"
	"mios/key"
	"mios/publish/app"
	"mios/publish/app/check"
	"mios/publish/app/domain"
	"mios/publish/app/fdroid"
	"mios/publish/repo"
	"mios/publish/repo/records"
	"mios/storage"
	"mios/storage/record"
)

// Names in a store's folder.
const (
	File       = "store.yaml"  // a Config
	ChecksFile = "checks.yaml" // a [check.Policy], if it is there
)

// Config is what store.yaml says. Paths are relative to its folder.
type Config struct {
	Records    string   `yaml:"records"`    // URL of the database
	Blobs      string   `yaml:"blobs"`      // URL of the files
	Repository string   `yaml:"repository"` // folder of the repository
	Tree       string   `yaml:"tree"`       // URL of its public tree; "": public/ in its folder, and nothing of it in the database
	Keys       string   `yaml:"keys"`       // folder of the keys at hand
	Name       string   `yaml:"name"`       // of the store, for people
	About      string   `yaml:"about"`
	Address    string   `yaml:"address"` // where devices find the tree
	Mirrors    []string `yaml:"mirrors"` // and where else

	Policy app.Policy `yaml:"policy"`
}

// Defaults are what a store has that says nothing.
var Defaults = Config{Records: "sqlite:store.db", Blobs: "blobs", Repository: "repo", Keys: "keys", Name: "App store"}

// Read reads the configuration in a folder.
func Read(dir string) (*Config, error) {
	b, err := os.ReadFile(filepath.Join(dir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store %s: %w: make one with mios store init", dir, mios.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	c := Defaults
	if err := strictyaml.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%s:%w", filepath.Join(dir, File), err)
	}
	return &c, c.check()
}

func (c *Config) check() error {
	for _, a := range append([]string{c.Address}, c.Mirrors...) {
		u, err := url.Parse(a)
		if a != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("%s: address %q: %w: want http:// or https:// and a name", File, a, mios.ErrInvalid)
		}
	}
	return nil
}

// path makes a path of the configuration one from here, and leaves URLs alone.
func path(dir, p string) string {
	scheme, rest, ok := strings.Cut(p, ":")
	switch {
	case ok && (scheme == "sqlite" || scheme == "file") && !filepath.IsAbs(rest) && !strings.HasPrefix(rest, "//"):
		return scheme + ":" + filepath.Join(dir, rest)
	case ok || filepath.IsAbs(p):
		return p
	}
	return filepath.Join(dir, p)
}

// Options are what the configuration does not say.
type Options struct {
	Keys       string         // folder of the keys; "": the configuration's
	Passphrase key.Passphrase // of keys that have one
	NoKeys     bool           // for looking only
	Log        *slog.Logger
}

// An Opened is a store with what it stands on.
type Opened struct {
	*app.Store
	Config *Config
	Keys   *key.Set // nil with NoKeys
	DB     *record.DB
	FDroid *fdroid.Config // nil: there is no F-Droid repository, or NoKeys
}

// Close closes the database.
func (o *Opened) Close() error { return o.DB.Close() }

// Open opens the store in a folder.
func Open(ctx context.Context, dir string, o Options) (*Opened, error) {
	c, err := Read(dir)
	if err != nil {
		return nil, err
	}
	db, err := storage.Records(ctx, path(dir, c.Records))
	if err != nil {
		return nil, err
	}
	out := &Opened{Config: c, DB: db}
	if err := out.open(ctx, dir, o); err != nil {
		db.Close()
		return nil, err
	}
	return out, nil
}

func (out *Opened) open(ctx context.Context, dir string, o Options) (err error) {
	c := out.Config
	cfg := app.Config{DB: out.DB, Policy: c.Policy, Prover: new(domain.Web), Log: o.Log}
	if cfg.Blobs, err = storage.Blobs(ctx, path(dir, c.Blobs)); err != nil {
		return err
	}
	if cfg.Policy.Checks, err = readChecks(dir); err != nil {
		return err
	}
	var opts []repo.Option
	if !o.NoKeys {
		if out.Keys, err = openKeys(dir, c, o); err != nil {
			return err
		}
		opts = append(opts, repo.WithKeys(out.Keys))
		if cfg.FDroid, err = c.fdroid(out.Keys); err != nil {
			return err
		}
		out.FDroid = cfg.FDroid
	}
	shared, err := c.shared(ctx, dir, out.DB)
	if err != nil {
		return err
	}
	if cfg.Repo, err = repo.Open(path(dir, c.Repository), append(opts, shared...)...); err != nil {
		return err
	}
	out.Store, err = app.Open(ctx, cfg)
	return err
}

func openKeys(dir string, c *Config, o Options) (*key.Set, error) {
	folder := o.Keys
	if folder == "" {
		folder = path(dir, c.Keys)
	}
	return key.Open(folder, o.Passphrase)
}

// shared are the options of a repository that is not in a folder.
func (c *Config) shared(ctx context.Context, dir string, db *record.DB) ([]repo.Option, error) {
	if c.Tree == "" {
		return nil, nil
	}
	t, err := storage.Tree(ctx, path(dir, c.Tree))
	if err != nil {
		return nil, err
	}
	s, err := records.Open(ctx, db, "store")
	return []repo.Option{repo.WithTree(t), repo.WithState(s)}, err
}

func readChecks(dir string) (*check.Policy, error) {
	b, err := os.ReadFile(filepath.Join(dir, ChecksFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := check.ParsePolicy(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ChecksFile, err)
	}
	return &p, nil
}

// fdroid is the F-Droid repository beside ours, or nil without an address or
// its key.
func (c *Config) fdroid(keys *key.Set) (*fdroid.Config, error) {
	names, err := keys.Names(key.FDroid)
	if err != nil || len(names) == 0 || c.Address == "" {
		return nil, err
	}
	signer, err := keys.Signer(names[0])
	if errors.Is(err, mios.ErrNotFound) {
		return nil, nil // the public one alone is here
	}
	if err != nil {
		return nil, err
	}
	cert, err := fdroid.LoadCertificate(keys.Dir(), signer)
	if err != nil {
		return nil, err
	}
	out := &fdroid.Config{
		Key: signer, Certificate: cert, Name: fdroid.Text{fdroid.DefaultLocale: c.Name}, Description: fdroid.Text{fdroid.DefaultLocale: c.About},
		Address: fdroidAddress(c.Address),
	}
	for _, m := range c.Mirrors {
		out.Mirrors = append(out.Mirrors, fdroidAddress(m))
	}
	return out, nil
}

func fdroidAddress(base string) string { return strings.TrimSuffix(base, "/") + "/" + fdroid.Folder }

// InitOptions say how a new store is set up.
type InitOptions struct {
	Config
	AppBits int // of the repository: see [repo.InitOptions]
}

// Init makes a store in the folder dir, its repository unless there is one, and,
// with an address and the key for them, F-Droid's indexes of nothing.
// It can be run again after a kill.
func Init(ctx context.Context, dir string, keys *key.Set, o InitOptions) error {
	file := filepath.Join(dir, File)
	if _, err := os.Stat(file); err == nil {
		return fmt.Errorf("store %s: %w: it is there already", dir, mios.ErrConflict)
	}
	c := &o.Config
	if err := c.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	db, err := storage.Records(ctx, path(dir, c.Records))
	if err != nil {
		return err
	}
	defer db.Close()
	blobs, err := storage.Blobs(ctx, path(dir, c.Blobs))
	if err != nil {
		return err
	}
	shared, err := c.shared(ctx, dir, db)
	if err != nil {
		return err
	}
	r, err := repo.Init(ctx, path(dir, c.Repository), keys, repo.InitOptions{AppBits: o.AppBits}, shared...)
	if errors.Is(err, mios.ErrConflict) {
		r, err = repo.Open(path(dir, c.Repository), shared...)
	}
	if err != nil {
		return err
	}
	followers, err := c.fdroid(keys)
	if err != nil {
		return err
	}
	s, err := app.Open(ctx, app.Config{DB: db, Blobs: blobs, Repo: r, FDroid: followers})
	if err != nil {
		return err
	}
	if _, err := s.Compile(ctx); err != nil { // F-Droid's clients can follow it at once
		return err
	}
	// The configuration makes it a store.
	return atomicfile.WriteBytes(file, c.text(), 0o600) // addresses of databases may have passwords
}

// text is the configuration as a person goes on with it.
func (c *Config) text() []byte {
	var b strings.Builder
	line := func(name, value, about string) {
		text := fmt.Sprintf("%s: %q", name, value)
		if value == "" {
			text = "# " + name + ": \"\""
		}
		fmt.Fprintf(&b, "%-40s # %s\n", text, about)
	}
	fmt.Fprintln(&b, "# A store of apps; docs/store.md tells what may stand here.")
	line("records", c.Records, "the database: sqlite:FILE or postgres://USER@HOST/NAME")
	line("blobs", c.Blobs, "the files: a folder or s3://HOST/BUCKET/PREFIX")
	line("repository", c.Repository, "the repository that devices trust")
	line("tree", c.Tree, "its public files, if they are not in its folder")
	line("keys", c.Keys, "the keys at hand")
	line("name", c.Name, "what people call the store")
	line("about", c.About, "a sentence on it")
	line("address", c.Address, "where devices find the public files; F-Droid's indexes need it")
	fmt.Fprintf(&b, "policy:\n  prove_domain: %v\n  other_reviewer: %v\n", c.Policy.ProveDomain, c.Policy.OtherReviewer)
	return []byte(b.String())
}
