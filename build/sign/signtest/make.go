package signtest

import (
	"os"
	"path/filepath"
	"testing"
)

// file writes a file of the folder.
func (t *Target) file(tb testing.TB, name string, data []byte) {
	tb.Helper()
	p := filepath.Join(t.Dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		tb.Fatal(err)
	}
}

func (t *Target) make(tb testing.TB) {
	tb.Helper()
	t.file(tb, "META/misc_info.txt", []byte("recovery_api_version=3\nfstab_version=2\n"))
}

func (t *Target) zip(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "target_files.zip")
}
