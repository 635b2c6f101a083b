// Package s3 keeps a tree in a bucket, which any web server or cache can have
// behind it. The server compares and swaps pointers (If-Match, If-None-Match),
// so that processes on several machines can share a tree.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mios"
	"mios/storage/s3"
	"mios/storage/tree"
)

// A Tree is a [tree.Tree] in a bucket.
type Tree struct{ bucket *s3.Bucket }

// New returns the tree in a bucket.
func New(bucket *s3.Bucket) *Tree { return &Tree{bucket} }

// Create implements [tree.Tree].
func (t *Tree) Create(ctx context.Context, name string, r io.Reader) error {
	if err := tree.CheckName(name); err != nil {
		return err
	}
	body, err := s3.Spool(ctx, r)
	if err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	defer body.Close()
	// Most of what is published again is there: that is asked before it is sent.
	same, err := t.same(ctx, name, body)
	if errors.Is(err, mios.ErrNotFound) {
		err = t.bucket.Put(ctx, name, body, s3.Condition{Absent: true}, true)
		if !errors.Is(err, mios.ErrConflict) {
			return wrap("store", name, err)
		}
		same, err = t.same(ctx, name, body) // somebody else was faster, or an answer was lost
	}
	if err == nil && !same {
		err = fmt.Errorf("%w: other bytes have that name", mios.ErrConflict)
	}
	return wrap("store", name, err)
}

// same compares an object with what is to be there.
func (t *Tree) same(ctx context.Context, name string, body *s3.Body) (bool, error) {
	o, err := t.bucket.Head(ctx, name)
	switch {
	case err != nil:
		return false, err
	case o.Size != body.Size:
		return false, nil
	case o.Digest != mios.Digest{}:
		return o.Digest == body.Digest, nil
	}
	f, err := t.bucket.Open(ctx, name) // put there by somebody who does not say its digest
	if err != nil {
		return false, err
	}
	defer f.Close()
	have, err := s3.Spool(ctx, f)
	if err != nil {
		return false, err
	}
	return have.Digest == body.Digest, have.Close()
}

func wrap(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", verb, name, err)
}

// Point implements [tree.Tree].
func (t *Tree) Point(ctx context.Context, name string, old, b []byte) error {
	if err := tree.CheckName(name); err != nil {
		return err
	}
	return wrap("move", name, t.swap(ctx, name, old, b))
}

var errMoved = fmt.Errorf("%w: somebody else moved it", mios.ErrConflict)

func (t *Tree) swap(ctx context.Context, name string, old, b []byte) error {
	is := s3.Condition{Absent: true}
	if old != nil {
		now, etag, err := t.read(ctx, name, int64(len(old)))
		switch {
		case errors.Is(err, mios.ErrNotFound):
			return errMoved
		case err != nil:
			return err
		case !bytes.Equal(now, old):
			return errMoved
		}
		is = s3.Condition{ETag: etag}
	}
	err := t.bucket.Put(ctx, name, s3.Bytes(b), is, false)
	switch {
	case errors.Is(err, mios.ErrNotFound) && old != nil: // it was deleted meanwhile
		return errMoved
	case errors.Is(err, mios.ErrConflict):
		return fmt.Errorf("somebody else moved it: %w", err)
	}
	return err
}

// read returns a pointer and its ETag; of a longer one than max bytes, a byte
// more.
func (t *Tree) read(ctx context.Context, name string, max int64) ([]byte, string, error) {
	f, err := t.bucket.Open(ctx, name)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	return b, f.Object().ETag, err
}

// Open implements [tree.Tree]. The file can be read while ctx lasts.
func (t *Tree) Open(ctx context.Context, name string) (tree.File, error) {
	if err := tree.CheckName(name); err != nil {
		return nil, err
	}
	f, err := t.bucket.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return f, nil
}

// List implements [tree.Tree].
func (t *Tree) List(ctx context.Context, folder string) ([]string, error) {
	infos, err := t.Infos(ctx, folder)
	var names []string
	for _, i := range infos {
		names = append(names, i.Name)
	}
	return names, err
}

// Infos is what [tree.Infos] calls: a thousand files cost one request.
func (t *Tree) Infos(ctx context.Context, folder string) ([]tree.Info, error) {
	prefix := ""
	if folder != "." {
		if err := tree.CheckName(folder); err != nil {
			return nil, err
		}
		prefix = folder + "/"
	}
	var list []tree.Info
	for o, err := range t.bucket.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", folder, err)
		}
		if tree.CheckName(o.Name) == nil {
			list = append(list, tree.Info{Name: o.Name, Size: o.Size, Tag: o.ETag})
		}
	}
	slices.SortFunc(list, func(a, b tree.Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

var _ tree.Tree = (*Tree)(nil)
