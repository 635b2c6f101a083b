// Package tree is where a repository's files live: immutable names, and few
// pointers that move. Whoever serves or mirrors a tree may cache everything
// but the pointers for ever.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"mios"
)

// A Tree keeps files by name. Its methods may be called concurrently.
type Tree interface {
	// Create stores what r yields under a name, for good, and returns once it
	// is durable. A name that is there already with the same bytes is no
	// error; with others, the error wraps [mios.ErrConflict].
	Create(ctx context.Context, name string, r io.Reader) error

	// Point makes a pointer hold b, if it holds old now, where nil means that
	// it is not there; else the error wraps [mios.ErrConflict]. Readers see
	// the old bytes or the new ones. It returns once that is durable.
	Point(ctx context.Context, name string, old, b []byte) error

	// Open returns a file, for the caller to close, and to read while ctx
	// lasts. The error wraps [mios.ErrNotFound] where the tree has no such file.
	Open(ctx context.Context, name string) (File, error)

	// List returns the names of all files below a folder, sorted. A folder
	// that is not there has none.
	List(ctx context.Context, folder string) ([]string, error)
}

// A File is an open file of a tree.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
	Size() int64
	Modified() time.Time
}

// Info is what a tree knows of a file without opening it.
type Info struct {
	Name string
	Size int64
	Tag  string // another one when the bytes are others
}

// Infos returns all files below a folder, sorted by name: at a small cost a
// file where the tree has a method of that name, as those of this module have.
func Infos(ctx context.Context, t Tree, folder string) ([]Info, error) {
	if t, ok := t.(interface {
		Infos(ctx context.Context, folder string) ([]Info, error)
	}); ok {
		return t.Infos(ctx, folder)
	}
	names, err := t.List(ctx, folder)
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, name := range names {
		f, err := t.Open(ctx, name)
		if errors.Is(err, mios.ErrNotFound) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, Info{name, f.Size(), f.Modified().Format(time.RFC3339Nano)})
		f.Close()
	}
	return list, nil
}

// CheckName refuses what is no name in a tree: a slash-separated path without
// empty elements and without one that starts with a dot.
func CheckName(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") || strings.Contains(name, "\\") {
		return fmt.Errorf("name %q: %w", name, mios.ErrInvalid)
	}
	return nil
}

// ReadAll returns the content of a file of at most max bytes.
func ReadAll(ctx context.Context, t Tree, name string, max int64) ([]byte, error) {
	f, err := t.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > max {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d: %w", name, f.Size(), max, mios.ErrInvalid)
	}
	return io.ReadAll(io.LimitReader(f, max))
}
