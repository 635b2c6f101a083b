package treetest

import (
	"errors"
	"strings"
	"testing"

	"mios"
	"mios/storage/tree"
)

func remove(t *testing.T, tr tree.Tree) {
	for _, name := range []string{"a/b", "a/c", "d"} {
		if err := tr.Create(t.Context(), name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Remove(t.Context(), tr, "a/b", "never", "a/b"); err != nil {
		t.Error(err)
	}
	if _, err := tr.Open(t.Context(), "a/b"); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Open after Remove = %v", err)
	}
	if names, err := tr.List(t.Context(), "a"); err != nil || len(names) != 1 || names[0] != "a/c" {
		t.Errorf("left: %q, %v", names, err)
	}
	if err := tree.Remove(t.Context(), tr, "../d"); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Remove(../d) = %v", err)
	}
	if got := read(t, tr, "d"); got != "d" {
		t.Errorf("d: %q", got)
	}
}
