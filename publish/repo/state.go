package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"mios"
	"mios/internal/atomicfile"
)

// A State keeps what a repository has beside its tree, which nobody else reads:
// its configuration, and what waits for signatures. Names are slash-separated.
// Its methods may be called concurrently.
type State interface {
	// Read returns what a name holds. The error wraps [mios.ErrNotFound] where it
	// holds nothing.
	Read(ctx context.Context, name string) ([]byte, error)
	// Write makes a name hold b, durably. Readers see the old bytes or the new.
	Write(ctx context.Context, name string, b []byte) error
	// Remove makes it hold nothing; that it does not is no error.
	Remove(ctx context.Context, name string) error
	// List returns the names directly below a folder that hold something, sorted.
	List(ctx context.Context, folder string) ([]string, error)
	// Lock keeps others from changing the repository, until the function it
	// returns is called, or this process ends. Whoever changes a tree compares
	// its pointer all the same.
	Lock(ctx context.Context) (unlock func(), err error)
}

// Folder returns the state in a folder, as [Open] has it.
func Folder(dir string) State { return folder(dir) }

type folder string

// Read implements [State].
func (f folder) Read(ctx context.Context, name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(string(f), filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, mios.ErrNotFound)
	}
	return b, err
}

// Write implements [State].
func (f folder) Write(ctx context.Context, name string, b []byte) error {
	file := filepath.Join(string(f), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteBytes(file, b, 0o644)
}

// Remove implements [State].
func (f folder) Remove(ctx context.Context, name string) error {
	if err := os.Remove(filepath.Join(string(f), filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements [State].
func (f folder) List(ctx context.Context, dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(f), filepath.FromSlash(dir)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name()[0] != '.' {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Lock implements [State].
func (f folder) Lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(string(f), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(string(f), lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", string(f), err)
	}
	return func() { file.Close() }, nil
}
