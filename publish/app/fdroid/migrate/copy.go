package migrate

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"mios/format/apk"
	"mios/publish/app/fdroid"
	"mios/storage/tree"
)

// Copy stores all files that the apps name in a tree, for [fdroid.Publish] to
// point at.
func (r *Repository) Copy(ctx context.Context, t tree.Tree) error {
	for _, name := range slices.Sorted(maps.Keys(r.Files)) {
		f, err := r.Open(name)
		if err != nil {
			return fmt.Errorf("migrate: %s: %w", name, err)
		}
		err = t.Create(ctx, fdroid.Folder+"/"+name, f)
		f.Close()
		if err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	return nil
}

// Open returns a file that the apps name.
func (r *Repository) Open(name string) (io.ReadCloser, error) {
	src := r.Files[name]
	if src.Entry == "" {
		return r.fs.Open(src.Path)
	}
	at, size, closeFile, err := (&reader{fs: r.fs}).open(src.Path)
	if err != nil {
		return nil, err
	}
	f, err := apk.Open(at, size)
	if err == nil {
		var e io.ReadCloser
		if e, err = f.OpenEntry(f.Entry(src.Entry)); err == nil {
			return entryReader{e, closeFile}, nil
		}
	}
	closeFile()
	return nil, err
}

// An entryReader closes the package with its entry.
type entryReader struct {
	io.ReadCloser
	closeFile func() error
}

// Close implements [io.Closer].
func (e entryReader) Close() error {
	err := e.ReadCloser.Close()
	if err2 := e.closeFile(); err == nil {
		err = err2
	}
	return err
}
