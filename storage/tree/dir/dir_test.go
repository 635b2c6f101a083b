package dir_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/storage/tree"
	"mios/storage/tree/dir"
	"mios/storage/tree/treetest"
)

func TestTree(t *testing.T) {
	treetest.Run(t, func(t *testing.T) tree.Tree { return dir.New(filepath.Join(t.TempDir(), "new")) })
}

func TestSweep(t *testing.T) {
	root := t.TempDir()
	tr := dir.New(root)
	if err := tr.Create(t.Context(), "a/b", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".x.tmp-1", "a/.b.tmp-234", "a/.keep"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Sweep(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(root, "a", "*"))
	if want := []string{filepath.Join(root, "a/.keep"), filepath.Join(root, "a/b")}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left %v, %v; want %v", left, err, want)
	}
	if err := dir.New(filepath.Join(root, "none")).Sweep(); err != nil {
		t.Errorf("Sweep of a tree that is not there = %v", err)
	}
}
