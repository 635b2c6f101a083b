package tree_test

import (
	"errors"
	"testing"

	"mios/storage/tree"
	"mios/storage/tree/dir"
)

// TestRemove: a tree without the method keeps its files, and says so.
func TestRemove(t *testing.T) {
	if err := tree.Remove(t.Context(), struct{ tree.Tree }{dir.New(t.TempDir())}, "d"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a tree that cannot remove: %v", err)
	}
}
