// Package treetest holds what every [tree.Tree] must do.
package treetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"mios"
	"mios/storage/tree"
)

// Run tests trees that open makes, empty ones.
func Run(t *testing.T, open func(t *testing.T) tree.Tree) {
	t.Run("Create", func(t *testing.T) { create(t, open(t)) })
	t.Run("Point", func(t *testing.T) { point(t, open(t)) })
	t.Run("Names", func(t *testing.T) { names(t, open(t)) })
	t.Run("Strange", func(t *testing.T) { strange(t, open(t)) })
	t.Run("Infos", func(t *testing.T) { infos(t, open(t)) })
	t.Run("Large", func(t *testing.T) { large(t, open(t)) })
	t.Run("Remove", func(t *testing.T) { remove(t, open(t)) })
	t.Run("CreateAll", func(t *testing.T) { createAll(t, open(t)) })
	t.Run("CreateAtOnce", func(t *testing.T) { createAtOnce(t, open(t)) })
}

func read(t *testing.T, tr tree.Tree, name string) string {
	t.Helper()
	b, err := tree.ReadAll(t.Context(), tr, name, 1<<20)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func create(t *testing.T, tr tree.Tree) {
	put := func(name, content string) error { return tr.Create(t.Context(), name, strings.NewReader(content)) }
	if err := put("a/b/c.json", "hello"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, tr, "a/b/c.json"); got != "hello" {
		t.Errorf("read %q, want hello", got)
	}
	for content, want := range map[string]error{
		"hello": nil, "hellO": mios.ErrConflict, "hell": mios.ErrConflict, "hello!": mios.ErrConflict, "": mios.ErrConflict,
	} {
		if err := put("a/b/c.json", content); !errors.Is(err, want) {
			t.Errorf("Create again with %q = %v, want %v", content, err, want)
		}
	}
	broken := errors.New("broken")
	if err := tr.Create(t.Context(), "a/torn", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("Create from a broken reader = %v", err)
	}
	if _, err := tr.Open(t.Context(), "a/torn"); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Open of what was torn = %v, want not found", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.Create(ctx, "a/cancelled", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Create when cancelled = %v", err)
	}
	if _, err := tree.ReadAll(t.Context(), tr, "a/b/c.json", 4); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("ReadAll of too long a file = %v, want invalid", err)
	}
	f, err := tr.Open(t.Context(), "a/b/c.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 3)
	if _, err := f.ReadAt(b, 2); err != nil || string(b) != "llo" || f.Size() != 5 || f.Modified().IsZero() {
		t.Errorf("ReadAt = %q, %v; size %d, modified %v", b, err, f.Size(), f.Modified())
	}
}

func point(t *testing.T, tr tree.Tree) {
	move := func(old, b []byte) error { return tr.Point(t.Context(), "m/pointer.json", old, b) }
	for _, tt := range []struct {
		old, b string
		want   error
	}{
		{"x", "1", mios.ErrConflict}, {"", "1", nil}, {"", "2", mios.ErrConflict}, {"0", "2", mios.ErrConflict}, {"1", "2", nil},
	} {
		var old []byte
		if tt.old != "" {
			old = []byte(tt.old)
		}
		if err := move(old, []byte(tt.b)); !errors.Is(err, tt.want) {
			t.Errorf("Point(%q, %q) = %v, want %v", tt.old, tt.b, err, tt.want)
		}
	}
	// Of many that move it from the same place, one does.
	var wg sync.WaitGroup
	var mu sync.Mutex
	moved := 0
	for i := range 16 {
		wg.Go(func() {
			if move([]byte("2"), fmt.Appendf(nil, "by %d", i)) == nil {
				mu.Lock()
				moved++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if moved != 1 {
		t.Errorf("%d moved the pointer, want 1", moved)
	}
}

func names(t *testing.T, tr tree.Tree) {
	if list, err := tr.List(t.Context(), "nothing"); err != nil || len(list) != 0 {
		t.Errorf("List of nothing = %v, %v", list, err)
	}
	for _, name := range []string{"b/2", "b/1", "a", "b/c/3"} {
		if err := tr.Create(t.Context(), name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
	for folder, want := range map[string][]string{".": {"a", "b/1", "b/2", "b/c/3"}, "b": {"b/1", "b/2", "b/c/3"}, "b/c": {"b/c/3"}} {
		if list, err := tr.List(t.Context(), folder); err != nil || !slices.Equal(list, want) {
			t.Errorf("List(%q) = %v, %v; want %v", folder, list, err, want)
		}
	}
	for _, name := range []string{"", ".", "..", "/a", "../a", "a/../b", "a//b", ".a", "b/.tmp", `a\b`} {
		if err := tr.Create(t.Context(), name, strings.NewReader("x")); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Create(%q) = %v, want invalid", name, err)
		}
		if err := tr.Point(t.Context(), name, nil, nil); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Point(%q) = %v, want invalid", name, err)
		}
		if _, err := tr.Open(t.Context(), name); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Open(%q) = %v, want invalid", name, err)
		}
	}
	for _, name := range []string{"b", "b/9", "a/x"} {
		if _, err := tr.Open(t.Context(), name); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("Open(%q) = %v, want not found", name, err)
		}
	}
}
