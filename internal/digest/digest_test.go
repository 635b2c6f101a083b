package digest_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"mios"
	"mios/internal/digest"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if _, err := digest.File(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("File of nothing = %v", err)
	}
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := digest.File(path); err != nil || got != mios.Sum([]byte("abc")) {
		t.Errorf("File = %v, %v", got, err)
	}
	if _, err := digest.File(filepath.Dir(path)); err == nil {
		t.Error("File of a folder worked")
	}
}
