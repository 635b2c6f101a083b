package kmod

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
