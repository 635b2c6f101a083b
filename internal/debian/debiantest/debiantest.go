// Package debiantest gives tests the pinned kernels, from a cache that test
// runs share.
package debiantest

import (
	"os"
	"path/filepath"
	"testing"

	"mios/internal/debian"
)

// Kernel opens the pinned kernel of base core for an architecture. The first
// call on a machine downloads it.
func Kernel(tb testing.TB, arch string) *debian.Kernel {
	tb.Helper()
	k := &debian.Kernels{Cache: Cache(tb), Notice: func(msg string) { tb.Log(msg) }}
	kernel, err := k.Open(tb.Context(), debian.Line, arch)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { kernel.Close() })
	return kernel
}

// Cache returns the folder out/cache/debian of the module that the test is of,
// which mios up uses as well.
func Cache(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "out", "cache", "debian")
		}
	}
	tb.Fatal("no go.mod above the test's folder")
	return ""
}
