package debian_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/internal/debian"
	"mios/internal/debian/debiantest"
)

// TestDebianMovedOn pins a package that Debian does not have: the newest of the
// line is taken, with a notice, and stays taken without apt.
func TestDebianMovedOn(t *testing.T) {
	if testing.Short() {
		t.Skip("asks Debian's mirror")
	}
	newest := debiantest.Kernel(t, "arm64") // in the shared cache
	cache := t.TempDir()
	for _, ext := range []string{".deb", ".tar", ".tar.sum"} { // do not fetch 20 MB again
		if err := os.Link(filepath.Join(debiantest.Cache(t), newest.SHA256+ext), filepath.Join(cache, newest.SHA256+ext)); err != nil {
			t.Skipf("link: %v", err)
		}
	}
	gone := newest.Pin
	gone.Package, gone.Version, gone.SHA256 = "linux-image-6.1.0-1-cloud-arm64", "6.1.4-1", strings.Repeat("0", 64)
	var notices []string
	k := &debian.Kernels{Cache: cache, Pins: []debian.Pin{gone}, Notice: func(m string) { notices = append(notices, m) }}
	got, err := k.Open(t.Context(), debian.Line, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
	t.Setenv("PATH", t.TempDir()) // no apt any more
	again, err := k.Open(t.Context(), debian.Line, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if got.Pin != again.Pin {
		t.Errorf("took %v, then %v", got.Pin, again.Pin)
	}
	if len(notices) != 2 || !strings.Contains(notices[0], "6.1.4-1 no more; taking linux-image-6.1.0-") {
		t.Errorf("notices: %q", notices)
	}
}

func TestOpenRefuses(t *testing.T) {
	k := &debian.Kernels{Cache: t.TempDir()}
	if _, err := k.Open(t.Context(), debian.Line, "mips"); err == nil || !strings.Contains(err.Error(), "not pinned: pin it with mios kernel pin") {
		t.Errorf("Open for mips = %v", err)
	}
	if _, err := new(debian.Kernels).Open(t.Context(), debian.Line, "amd64"); err == nil || !strings.Contains(err.Error(), "no folder given") {
		t.Errorf("Open without a cache = %v", err)
	}
}
