package backup_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/storage/backup"
	"mios/storage/tree"
	"mios/storage/tree/dir"
)

func TestJoin(t *testing.T) {
	j := backup.Join{"a": dir.New(t.TempDir()), "b": dir.New(t.TempDir())}
	for _, name := range []string{"b/x", "a/y/z", "a/x"} {
		if err := j.Create(t.Context(), name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Point(t.Context(), "a/p", nil, []byte("p")); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string][]string{".": {"a/p", "a/x", "a/y/z", "b/x"}, "a": {"a/p", "a/x", "a/y/z"}, "a/y": {"a/y/z"}, "c": nil} {
		if got, err := j.List(t.Context(), folder); err != nil || !slices.Equal(got, want) {
			t.Errorf("List(%q) = %v, %v; want %v", folder, got, err, want)
		}
	}
	if b, err := tree.ReadAll(t.Context(), j, "a/y/z", 10); err != nil || string(b) != "a/y/z" {
		t.Errorf("read %q, %v", b, err)
	}
	for _, err := range []error{j.Create(t.Context(), "c/x", strings.NewReader("")), j.Point(t.Context(), "c", nil, nil)} {
		if !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("in no tree: %v", err)
		}
	}
	if _, err := j.Open(t.Context(), "c/x"); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Open in no tree = %v", err)
	}
}
