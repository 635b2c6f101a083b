package backup

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"mios"
	"mios/storage/tree"
)

// Join is several trees as folders of one.
type Join map[string]tree.Tree

func (j Join) find(name string) (tree.Tree, string, error) {
	folder, rest, _ := strings.Cut(name, "/")
	t := j[folder]
	if t == nil {
		return nil, "", fmt.Errorf("%s: %w", name, mios.ErrNotFound)
	}
	return t, rest, nil
}

// Create implements [tree.Tree].
func (j Join) Create(ctx context.Context, name string, r io.Reader) error {
	t, rest, err := j.find(name)
	if err != nil {
		return err
	}
	return t.Create(ctx, rest, r)
}

// Point implements [tree.Tree].
func (j Join) Point(ctx context.Context, name string, old, b []byte) error {
	t, rest, err := j.find(name)
	if err != nil {
		return err
	}
	return t.Point(ctx, rest, old, b)
}

// Open implements [tree.Tree].
func (j Join) Open(ctx context.Context, name string) (tree.File, error) {
	t, rest, err := j.find(name)
	if err != nil {
		return nil, err
	}
	return t.Open(ctx, rest)
}

// List implements [tree.Tree].
func (j Join) List(ctx context.Context, folder string) ([]string, error) {
	infos, err := j.Infos(ctx, folder)
	var names []string
	for _, i := range infos {
		names = append(names, i.Name)
	}
	return names, err
}

// Infos is what [tree.Infos] calls.
func (j Join) Infos(ctx context.Context, folder string) ([]tree.Info, error) {
	if folder != "." {
		t, rest, err := j.find(folder)
		if err != nil {
			return nil, nil // a folder that is not there has no files
		}
		first, _, _ := strings.Cut(folder, "/")
		if rest == "" {
			rest = "."
		}
		return j.below(ctx, first, t, rest)
	}
	var all []tree.Info
	for _, first := range slices.Sorted(maps.Keys(j)) {
		list, err := j.below(ctx, first, j[first], ".")
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b tree.Info) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (j Join) below(ctx context.Context, first string, t tree.Tree, folder string) ([]tree.Info, error) {
	list, err := tree.Infos(ctx, t, folder)
	for i := range list {
		list[i].Name = path.Join(first, list[i].Name)
	}
	return list, err
}

var _ tree.Tree = Join(nil)
