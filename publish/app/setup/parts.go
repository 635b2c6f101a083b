package setup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"mios"
	"mios/internal/atomicfile"
	"mios/publish/repo"
	"mios/storage"
	"mios/storage/backup"
	treedir "mios/storage/tree/dir"
)

// Folders of the state in a store's backup.
const (
	stateStore = "store" // its configuration
	stateRepo  = "repo"  // what the repository has beside its public tree
)

// Parts returns all that the store in a folder consists of, for a backup of it
// or from one. The keys are no part of it. Its database is the caller's to
// close.
func Parts(ctx context.Context, dir string) (*backup.Set, error) {
	c, err := Read(dir)
	if err != nil {
		return nil, err
	}
	repository := path(dir, c.Repository)
	set := RepoParts(repository)
	set.State = backup.Join{stateStore: treedir.New(dir), stateRepo: treedir.New(repository)}
	set.StateHas = func(name string) bool {
		folder, rest, _ := strings.Cut(name, "/")
		if folder == stateStore {
			return rest == ChecksFile // the configuration may be another one where a backup is restored
		}
		return ofRepo(rest)
	}
	if c.Tree != "" {
		if set.Tree, err = storage.Tree(ctx, path(dir, c.Tree)); err != nil {
			return nil, err
		}
	}
	if set.Blobs, err = storage.Blobs(ctx, path(dir, c.Blobs)); err != nil {
		return nil, err
	}
	set.Records, err = storage.Records(ctx, path(dir, c.Records))
	return set, err
}

// RepoParts returns what a repository in a folder consists of.
func RepoParts(dir string) *backup.Set {
	return &backup.Set{
		Tree: treedir.New(filepath.Join(dir, repo.PublicDir)), State: treedir.New(dir), StateHas: ofRepo,
	}
}

func ofRepo(name string) bool { return !strings.HasPrefix(name, repo.PublicDir+"/") }

// WithConfig makes the configuration a part too, of what is backed up.
func WithConfig(set *backup.Set) {
	has := set.StateHas
	set.StateHas = func(name string) bool { return name == stateStore+"/"+File || has(name) }
}

// Prepare makes the folder of a store that is restored: with the configuration
// that the backup has, unless one is there that says where the store goes.
func Prepare(dir string, a *backup.Archive) error {
	file := filepath.Join(dir, File)
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	b, err := a.State(stateStore + "/" + File)
	if errors.Is(err, mios.ErrNotFound) {
		return errors.New("the backup is of a repository without a store: restore it with --repo")
	}
	if err == nil {
		err = atomicfile.MkdirAll(dir)
	}
	if err == nil {
		err = atomicfile.WriteBytes(file, b, 0o644)
	}
	return err
}
