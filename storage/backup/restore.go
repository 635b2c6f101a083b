package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"mios"
	"mios/internal/progress"
	"mios/storage/tree"
)

// An Archive is a backup that has been read and verified wholly.
type Archive struct {
	r    io.ReaderAt
	data map[mios.Digest]place
	m    manifest
	size int64
}

type place struct{ off, size int64 }

// Open reads a backup of size bytes and verifies it. The error wraps
// [mios.ErrInvalid] if anything of it is damaged or missing.
func Open(ctx context.Context, r io.ReaderAt, size int64, task *progress.Task) (*Archive, error) {
	a := &Archive{r: r, data: map[mios.Digest]place{}, size: size}
	if err := a.read(ctx, task); err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("read backup: %w: %w", mios.ErrInvalid, err)
	}
	return a, nil
}

// Summary says what the backup has.
func (a *Archive) Summary() *Summary { return a.m.summary(a.size) }

// State returns a file of the repository's own state. The error wraps
// [mios.ErrNotFound] if the backup has none of that name.
func (a *Archive) State(name string) ([]byte, error) {
	for _, f := range a.m.State {
		if f.Name == name {
			return io.ReadAll(a.open(f.content))
		}
	}
	return nil, fmt.Errorf("backup: %s: %w", name, mios.ErrNotFound)
}

func (a *Archive) read(ctx context.Context, task *progress.Task) error {
	section := io.NewSectionReader(a.r, 0, a.size)
	in := tar.NewReader(section)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %v", mios.ErrInvalid, err)
		}
		off, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		task.Bytes(off, a.size)
		if a.m.Format != "" {
			return fmt.Errorf("%w: %.80q follows the manifest", mios.ErrInvalid, h.Name)
		}
		if h.Name == manifestName {
			err = a.readManifest(in)
		} else {
			err = a.readData(ctx, in, h, off)
		}
		if err != nil {
			return fmt.Errorf("offset %d: %w", off, err)
		}
	}
	if a.m.Format == "" {
		return fmt.Errorf("%w: it has no manifest: it is not complete", mios.ErrInvalid)
	}
	return nil
}

func (a *Archive) readManifest(in io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, maxManifest))
	if err != nil {
		return fmt.Errorf("%w: %v", mios.ErrInvalid, err)
	}
	if err := json.Unmarshal(text, &a.m); err != nil {
		return fmt.Errorf("%w: manifest: %v", mios.ErrInvalid, err)
	}
	if a.m.Format != format {
		return fmt.Errorf("%w: the format %.40q, want %q: restore it with the mios that made it", mios.ErrInvalid, a.m.Format, format)
	}
	return nil
}

func (a *Archive) readData(ctx context.Context, in io.Reader, h *tar.Header, off int64) error {
	name, ok := strings.CutPrefix(h.Name, dataPrefix)
	want, err := mios.ParseDigest(name)
	if !ok || err != nil || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%w: %.80q is nothing of a backup", mios.ErrInvalid, h.Name)
	}
	c, err := digest(ctx, in)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%w: %v", mios.ErrInvalid, err)
	case c.SHA256 != want:
		return fmt.Errorf("%w: %s is damaged", mios.ErrInvalid, h.Name)
	}
	a.data[want] = place{off, c.Size}
	return nil
}

// check finds all that the manifest names.
func (a *Archive) check() error {
	need := append([]content{}, a.m.Blobs...)
	if a.m.Records != nil {
		need = append(need, *a.m.Records)
	}
	for _, list := range [][]fileItem{a.m.Tree, a.m.State} {
		last := ""
		for _, f := range list {
			if err := tree.CheckName(f.Name); err != nil {
				return err
			}
			if f.Name <= last {
				return fmt.Errorf("%q is not in order", f.Name)
			}
			last = f.Name
			need = append(need, f.content)
		}
	}
	for _, c := range need {
		if p, ok := a.data[c.SHA256]; !ok || p.size != c.Size {
			return fmt.Errorf("the data %s of %d bytes is missing", c.SHA256, c.Size)
		}
	}
	return nil
}

// open returns data for reading.
func (a *Archive) open(c content) *io.SectionReader {
	return io.NewSectionReader(a.r, a.data[c.SHA256].off, c.Size)
}

// Restore brings a backup into an empty set, the public tree's pointers last,
// and reads all of it again to compare. The error wraps [mios.ErrConflict] if
// the set is not empty, before anything is changed. Nobody may be using the set.
func (a *Archive) Restore(ctx context.Context, to Set, task *progress.Task) error {
	r := &restorer{ctx, a, to, task, 0}
	if err := r.refuse(); err != nil {
		return fmt.Errorf("restore into what is there: %w", err)
	}
	for _, step := range []func() error{r.blobs, r.files, r.records, r.pointers, r.compare} {
		if err := step(); err != nil {
			return fmt.Errorf("restore: %w: what is restored until here is not complete: empty it, and try again", err)
		}
	}
	return nil
}

type restorer struct {
	ctx  context.Context
	a    *Archive
	to   Set
	task *progress.Task
	n    int64 // bytes written
}

// refuse tells why the backup cannot go there.
func (r *restorer) refuse() error {
	m := &r.a.m
	for _, p := range []struct {
		what     string
		has, got bool
	}{
		{"records", m.Records != nil, r.to.Records != nil}, {"blobs", len(m.Blobs) > 0, r.to.Blobs != nil},
		{"a public tree", len(m.Tree) > 0, r.to.Tree != nil}, {"a repository's state", len(m.State) > 0, r.to.State != nil},
	} {
		if p.has && !p.got {
			return fmt.Errorf("%w: the backup has %s: say where they go", mios.ErrInvalid, p.what)
		}
	}
	full := func(what, name string) error {
		return fmt.Errorf("%w: the %s not empty (it has %s): a backup is restored into an empty store", mios.ErrConflict, what, name)
	}
	if r.to.Records != nil {
		empty, err := r.to.Records.Empty(r.ctx)
		if err != nil {
			return err
		}
		if !empty {
			return full("database is", "tables")
		}
	}
	if r.to.Blobs != nil {
		for info, err := range r.to.Blobs.List(r.ctx) {
			if err != nil {
				return err
			}
			return full("folder or bucket of blobs is", info.Digest.String())
		}
	}
	for what, t := range map[string]tree.Tree{"public tree is": r.to.Tree, "repository is": r.to.State} {
		if t == nil {
			continue
		}
		list, err := t.List(r.ctx, ".")
		if err != nil {
			return err
		}
		for _, name := range list {
			if t == r.to.Tree || r.to.has(name) {
				return full(what, name)
			}
		}
	}
	return nil
}

// wrote counts for the progress.
func (r *restorer) wrote(c content) {
	r.n += c.Size
	r.task.Bytes(r.n, 0)
}

func (r *restorer) blobs() error {
	for _, c := range r.a.m.Blobs {
		if _, _, err := r.to.Blobs.Put(r.ctx, r.a.open(c), c.SHA256); err != nil {
			return err
		}
		r.wrote(c)
	}
	return nil
}

// moves tells whether a file of the public tree is one of its pointers.
func (r *restorer) moves(f fileItem) bool { return r.to.Moves != nil && r.to.Moves(f.Name) }

func (r *restorer) files() error {
	for _, f := range r.a.m.State {
		if !r.to.has(f.Name) {
			continue
		}
		if err := r.to.State.Create(r.ctx, f.Name, r.a.open(f.content)); err != nil {
			return err
		}
	}
	for _, f := range r.a.m.Tree {
		if r.moves(f) {
			continue
		}
		if err := r.to.Tree.Create(r.ctx, f.Name, r.a.open(f.content)); err != nil {
			return err
		}
		r.wrote(f.content)
	}
	return nil
}

func (r *restorer) records() error {
	if r.a.m.Records == nil {
		return nil
	}
	rows, err := r.to.Records.Load(r.ctx, r.a.open(*r.a.m.Records))
	if err == nil && rows != r.a.m.Rows {
		err = fmt.Errorf("%w: %d rows, and the manifest says %d", mios.ErrInvalid, rows, r.a.m.Rows)
	}
	return err
}

func (r *restorer) pointers() error {
	for _, f := range r.a.m.Tree {
		if !r.moves(f) {
			continue
		}
		b, err := io.ReadAll(r.a.open(f.content))
		if err == nil {
			err = r.to.Tree.Point(r.ctx, f.Name, nil, b)
		}
		if err != nil {
			return err
		}
		r.wrote(f.content)
	}
	return nil
}

// compare reads again what was restored.
func (r *restorer) compare() error {
	r.task.Note("compare")
	for _, f := range r.a.m.Tree {
		if err := r.compareFile(r.to.Tree, f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	for _, f := range r.a.m.State {
		if !r.to.has(f.Name) {
			continue
		}
		if err := r.compareFile(r.to.State, f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	for _, c := range r.a.m.Blobs {
		f, err := r.to.Blobs.Open(r.ctx, c.SHA256)
		if err != nil {
			return err
		}
		got, err := digest(r.ctx, f)
		if err := errors.Join(err, f.Close(), same(got, c)); err != nil {
			return fmt.Errorf("blob %s: %w", c.SHA256, err)
		}
	}
	if r.a.m.Records == nil {
		return nil
	}
	pr, pw := io.Pipe()
	go func() {
		_, err := r.to.Records.Dump(r.ctx, pw)
		pw.CloseWithError(err)
	}()
	got, err := digest(r.ctx, pr)
	pr.Close()
	if err := errors.Join(err, same(got, *r.a.m.Records)); err != nil {
		return fmt.Errorf("records: %w", err)
	}
	return nil
}

func (r *restorer) compareFile(t tree.Tree, item fileItem) error {
	f, err := t.Open(r.ctx, item.Name)
	if err != nil {
		return err
	}
	got, err := digest(r.ctx, f)
	return errors.Join(err, f.Close(), same(got, item.content))
}

func same(got, want content) error {
	if got != want {
		return fmt.Errorf("%d bytes with the digest %s came back, want %d with %s", got.Size, got.SHA256, want.Size, want.SHA256)
	}
	return nil
}
