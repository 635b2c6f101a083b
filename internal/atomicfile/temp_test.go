package atomicfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"mios/internal/atomicfile"
)

// names returns what is in the folder.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestTemp(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"first", "second"} { // the second replaces a file
		f, err := atomicfile.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		// What a program that is killed here leaves: on a file system of Linux's
		// own, nothing.
		if list := names(t, dir); text == "first" && len(list) != 0 {
			t.Errorf("before Commit the folder holds %q", list)
		}
		if err := errors.Join(f.Commit(0o640), f.Close()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if fi, _ := os.Stat(path); err != nil || string(b) != text || fi.Mode().Perm() != 0o640 {
			t.Errorf("file holds %q, %v, mode %v; want %q and 0640", b, err, fi.Mode(), text)
		}
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if list := names(t, dir); len(list) != 1 {
		t.Errorf("after a Close without Commit the folder holds %q, want the old file", list)
	}
	if b, _ := os.ReadFile(path); string(b) != "second" {
		t.Errorf("file holds %q after a Close without Commit, want the old bytes", b)
	}
	if _, err := atomicfile.Create(dir); err == nil {
		t.Error("Create in the place of a folder: no error")
	}
	want := "write " + filepath.Join(dir, "no", "file") + ": no such file or directory"
	if _, err := atomicfile.Create(filepath.Join(dir, "no", "file")); err == nil || err.Error() != want {
		t.Errorf("Create in a folder that is not there: %v, want %q", err, want)
	}
}

// TestCommitNew: of several who write to one path at the same time, one does.
func TestCommitNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	var wg sync.WaitGroup
	var done atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			f, err := atomicfile.Create(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			fmt.Fprint(f, i)
			switch err := f.CommitNew(0o644); {
			case err == nil:
				done.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("CommitNew = %v, want %v", err, fs.ErrExist)
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 {
		t.Errorf("%d files were committed, want 1", done.Load())
	}
	if list := names(t, dir); len(list) != 1 {
		t.Errorf("left behind: %q", list)
	}
}
