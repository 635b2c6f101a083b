package firststage

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEmpty deletes a tree as the ramdisk's, and nothing that a link in it
// points at.
func TestEmpty(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "lib", "modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"init", "lib/modules/a.ko", "lib/modules/b.ko"} {
		if err := os.WriteFile(filepath.Join(root, f), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"link": outside, "dir": filepath.Dir(outside)} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	if err := empty(fd, uint64(st.Dev)+1); err != nil { // another file system's: nothing is deleted
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(root); len(names) != 4 {
		t.Errorf("%d names left of another file system, want 4", len(names))
	}
	if err := empty(fd, uint64(st.Dev)); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(root); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("what a link points at is gone: %v", err)
	}
}

func TestFreeRamdiskLeavesADisk(t *testing.T) {
	fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY, 0) // neither ramfs nor tmpfs
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := freeRamdisk(fd); err != nil {
		t.Errorf("freeRamdisk(/proc) = %v, want that it does nothing", err)
	}
}
