package bench_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkImageExtract measures "mios image extract" against "fsck.erofs
// --extract" of images that Debian's mkfs.erofs makes: of Go's own folder, with
// many small files, and of a few large ones.
func BenchmarkImageExtract(b *testing.B) {
	dir := b.TempDir()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	many, large := strings.TrimSpace(string(out)), filepath.Join(dir, "large")
	writeWords(b, large, 8, 32<<20)
	for _, p := range []struct {
		name, tree string
		options    []string
	}{
		{"15000 files, lz4hc, 64 KiB", many, []string{"-zlz4hc", "-C65536"}},
		{"15000 files, plain", many, nil},
		{"8 files of 32 MiB, lz4hc, 64 KiB", large, []string{"-zlz4hc", "-C65536"}},
		{"8 files of 32 MiB, plain", large, nil},
	} {
		b.Run(p.name, func(b *testing.B) {
			image := filepath.Join(dir, "image")
			os.Remove(image)
			command(b, "mkfs.erofs", append(p.options, "--quiet", image, p.tree)...)
			var ours, theirs sample
			var memory int64
			for i := range runs(b) {
				to := func(who string) string { return filepath.Join(dir, fmt.Sprintf("%s-%d", who, i)) }
				theirs = append(theirs, command(b, "fsck.erofs", "--extract="+to("theirs"), image))
				ours = append(ours, command(b, miosProgram(), "image", "extract", image, to("ours")))
				memory = max(memory, peak(b, "image", "extract", image, to("again")))
				for _, who := range []string{"ours", "theirs", "again"} {
					if err := os.RemoveAll(to(who)); err != nil {
						b.Fatal(err)
					}
				}
			}
			compare(b, "image extract, "+p.name, "fsck.erofs --extract", ours, theirs)
			b.ReportMetric(float64(memory)/1024, "peak-MiB")
		})
	}
}

// writeWords writes files of text with few words, which lz4 halves at least.
func writeWords(b *testing.B, dir string, files, size int) {
	b.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range files {
		data := make([]byte, 0, size+16)
		for len(data) < size {
			data = fmt.Appendf(data, "%x ", r.IntN(1<<12))
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), data[:size], 0o644); err != nil {
			b.Fatal(err)
		}
	}
}
