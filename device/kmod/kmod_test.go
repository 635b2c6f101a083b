package kmod

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func folder(t *testing.T, list string, modules ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, m := range append(modules, ListName) {
		data := m
		if m == ListName {
			data = list
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, m)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, m), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadAll(t *testing.T) {
	dir := folder(t, "# first\nvirtio.ko\n\n  kernel/dm-mod.ko\nerofs.ko\n", "virtio.ko", "kernel/dm-mod.ko", "erofs.ko")
	var got []string
	err := loadAll(dir, func(f *os.File) error {
		b, err := io.ReadAll(f)
		got = append(got, string(b))
		if string(b) == "virtio.ko" {
			return unix.EEXIST // built in, or loaded before
		}
		return err
	})
	if want := []string{"virtio.ko", "kernel/dm-mod.ko", "erofs.ko"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("loadAll = %v, loaded %q, want %q", err, got, want)
	}
}

// TestLongLine reads on behind a line that is longer than a scanner takes.
func TestLongLine(t *testing.T) {
	got := parseList([]byte("# " + strings.Repeat("x", 100_000) + "\na.ko\r\nb.ko"))
	if want := []string{"a.ko", "b.ko"}; !slices.Equal(got, want) {
		t.Errorf("parseList = %q, want %q", got, want)
	}
}

// TestLoadAllBesideEachOther has two modules of which each waits until both are
// being loaded, and others that need them.
func TestLoadAllBesideEachOther(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	dir := folder(t, "a.ko\nb.ko\nbad.ko\nc.ko\nd.ko\n", "a.ko", "b.ko", "bad.ko", "c.ko", "d.ko")
	dep := "a.ko: d.ko\nb.ko:\nbad.ko: a.ko\nc.ko: b.ko bad.ko other.ko\nd.ko: c.ko\n"
	if err := os.WriteFile(filepath.Join(dir, DepName), []byte(dep), 0o644); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	both := make(chan struct{}, 1)
	err := loadAll(dir, func(f *os.File) error {
		name := filepath.Base(f.Name())
		if name == "a.ko" || name == "b.ko" { // the first to come waits for the second
			select {
			case both <- struct{}{}:
				for len(both) > 0 {
					runtime.Gosched()
				}
			default:
				<-both
			}
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, name)
		if name == "bad.ko" {
			return unix.ENOEXEC
		}
		return nil
	})
	if err == nil || err.Error() != "kernel module bad.ko: exec format error" {
		t.Errorf("loadAll = %v, want that bad.ko is of no known format", err)
	}
	if s := slices.Sorted(slices.Values(got[:2])); !slices.Equal(s, []string{"a.ko", "b.ko"}) && !slices.Equal(s, []string{"a.ko", "bad.ko"}) {
		t.Errorf("loaded first: %q, want a.ko and what does not need it", s)
	}
	if !slices.Equal(got[3:], []string{"c.ko", "d.ko"}) {
		t.Errorf("loaded last: %q, want c.ko and then d.ko", got[3:])
	}
}

func TestLoadAllErrors(t *testing.T) {
	for _, tt := range []struct {
		name, list, want string
		err              error
	}{
		{"no such file", "gone.ko\n", "kernel module gone.ko: ", os.ErrNotExist},
		{"outside", "../../etc/passwd\n", "kernel module ../../etc/passwd: not in", nil},
		{"refused", "bad.ko\n", "kernel module bad.ko: ", unix.ENOEXEC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			others := 0
			err := loadAll(folder(t, tt.list+"a.ko\n", "a.ko", "bad.ko"), func(f *os.File) error {
				if filepath.Base(f.Name()) == "bad.ko" {
					return unix.ENOEXEC
				}
				others++
				return nil
			})
			if others == 0 {
				t.Error("a module behind it is not loaded")
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("loadAll = %v, want %q", err, tt.want)
			}
		})
	}
	if err := loadAll(t.TempDir(), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("loadAll without a list = %v, want %v", err, os.ErrNotExist)
	}
}
