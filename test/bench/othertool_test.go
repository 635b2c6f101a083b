package bench_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/internal/atomicfile"
	"mios/internal/tool"
)

// A patch is what another tool made of two images.
type patch struct {
	Tool   string        `json:"tool"`
	Size   int64         `json:"size"`   // bytes
	Took   time.Duration `json:"took"`   // nanoseconds
	Memory int64         `json:"memory"` // KiB, at its highest
}

// otherTool has a tool make a patch from old to new, whose name is added to its
// arguments, or remembers what it made of the same two images before: in
// mios/bench below the user's cache folder, by the digest of both, the tool's
// package and its arguments.
func otherTool(b *testing.B, old, new, name string, args ...string) patch {
	b.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(cache, "mios", "bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	h := sha256.New()
	fmt.Fprintln(h, name, toolVersion(b, name), flagsOf(args))
	for _, image := range []string{old, new} {
		f, err := os.Open(image)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(h, f)
		f.Close()
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintln(h, n)
	}
	file := filepath.Join(dir, fmt.Sprintf("%x.json", h.Sum(nil)))
	var p patch
	known, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(known, &p)
	}
	if err == nil {
		return p
	}
	if !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
	out := filepath.Join(b.TempDir(), "patch")
	p.Tool = strings.Join(append([]string{name}, flagsOf(args)...), " ")
	p.Took, p.Memory = measured(b, name, append(args, out)...)
	p.Size = fileSize(b, out)
	known, err = json.Marshal(p)
	if err != nil {
		b.Fatal(err)
	}
	if err := atomicfile.WriteBytes(file, append(known, '\n'), 0o644); err != nil {
		b.Fatal(err)
	}
	return p
}

// toolVersion is that of the Debian package that a tool is in, or its path.
func toolVersion(b *testing.B, name string) string {
	b.Helper()
	path, err := tool.Look(name)
	if err != nil {
		b.Fatal(err)
	}
	version, err := exec.CommandContext(b.Context(), "dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		return path
	}
	return string(version)
}
