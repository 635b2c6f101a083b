package tree

import (
	"bytes"
	"context"

	"golang.org/x/sync/errgroup"
)

// Creators is how many files are worth storing at the same time.
const Creators = 8

// CreateAll is [Tree.Create] of several files in memory, by name, which are durable
// when it returns. After an error some may be there. Trees that have a method of
// that name do it at a smaller cost a file.
func CreateAll(ctx context.Context, t Tree, files map[string][]byte) error {
	if t, ok := t.(interface {
		CreateAll(ctx context.Context, files map[string][]byte) error
	}); ok {
		return t.CreateAll(ctx, files)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(Creators)
	for name, b := range files {
		g.Go(func() error { return t.Create(ctx, name, bytes.NewReader(b)) })
	}
	return g.Wait()
}
