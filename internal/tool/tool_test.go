package tool_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/internal/tool"
)

func TestToolsAreSorted(t *testing.T) {
	sorted := slices.IsSortedFunc(tool.Tools, func(a, b tool.Tool) int { return strings.Compare(a.Name, b.Name) })
	if len(tool.Tools) == 0 || !sorted {
		t.Errorf("%d tools, sorted %v", len(tool.Tools), sorted)
	}
	for _, l := range tool.Tools {
		if l.Package == "" || l.For == "" {
			t.Errorf("%s: no package, or nothing that it is for", l.Name)
		}
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := os.WriteFile(filepath.Join(dir, "adb"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if p, err := tool.Look("adb"); err != nil || p != filepath.Join(dir, "adb") {
		t.Errorf("Look(adb) = %q, %v", p, err)
	}
	_, err := tool.Look("qemu-system-x86_64")
	want := "qemu-system-x86_64 (emulating amd64 devices) is not installed: run apt-get install qemu-system-x86"
	if err == nil || err.Error() != want {
		t.Errorf("Look(qemu-system-x86_64) = %v, want %s", err, want)
	}
	if _, err := tool.Look("no-such-thing"); err == nil || !strings.Contains(err.Error(), "put it on PATH") {
		t.Errorf("Look(no-such-thing) = %v", err)
	}
	if got := tool.Missing(false); slices.Contains(got, "adb") || !slices.Contains(got, "qemu-system-arm") || slices.Contains(got, "aapt") {
		t.Errorf("Missing(false) = %v, want qemu-system-arm, not adb, not aapt", got)
	}
	if got := tool.Missing(true); !slices.Contains(got, "aapt") {
		t.Errorf("Missing(true) = %v, want aapt", got)
	}
	if !strings.Contains(tool.Table(), "missing: apt-get install qemu-utils") {
		t.Errorf("Table:\n%s", tool.Table())
	}
}
