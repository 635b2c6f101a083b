package dir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/storage/blob"
	"mios/storage/blob/blobtest"
	"mios/storage/blob/dir"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		root := filepath.Join(t.TempDir(), "new")
		return func() blob.Store { return dir.New(root) }
	})
}

// TestSweep wants what killed writers left gone after a day, and nothing else.
func TestSweep(t *testing.T) {
	root := t.TempDir()
	s := dir.New(root)
	d, _, err := s.Put(t.Context(), strings.NewReader("x"), mios.Digest{})
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-25 * time.Hour)
	for _, name := range []string{".tmp/old", ".tmp/new", ".uploads/.new-old/data", ".uploads/.gone-new/data", ".uploads/other/data"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(name, "old") || strings.Contains(name, "other") {
			for _, p := range []string{path, filepath.Dir(path)} {
				if filepath.Base(p) == ".tmp" {
					continue
				}
				if err := os.Chtimes(p, old, old); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n, err := s.Uploads().Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("Sweep = %d, %v; want 2", n, err)
	}
	for name, want := range map[string]bool{
		".tmp/old": false, ".tmp/new": true, ".uploads/.new-old": false, ".uploads/.gone-new": true, ".uploads/other": true, d.String()[:2] + "/" + d.String(): true,
	} {
		if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

// TestNothingIsLeft wants no file of what was refused or removed.
func TestNothingIsLeft(t *testing.T) {
	root := t.TempDir()
	s := dir.New(root)
	if _, _, err := s.Put(t.Context(), strings.NewReader("x"), mios.Sum(nil)); err == nil {
		t.Fatal("other bytes were taken")
	}
	id, err := s.Uploads().Create(t.Context(), blob.UploadOptions{Size: 1, Max: 1, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Uploads().Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{".tmp/*", ".uploads/*", ".uploads/.[a-z]*", "[0-9a-f]*"} {
		if left, err := filepath.Glob(filepath.Join(root, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left are %v, %v", left, err)
		}
	}
}
