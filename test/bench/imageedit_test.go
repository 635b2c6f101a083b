package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/build/fstree"
	"mios/format/fsimage"
	"mios/internal/readat"
)

// BenchmarkImageEdit measures changing 50 of 15000 files in an image, and adding one of
// 4 MiB, against making the image anew with the tool that made it. It reports how
// many bytes a changed image has that the old one has not where they are.
func BenchmarkImageEdit(b *testing.B) {
	dir := b.TempDir()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	tree := strings.TrimSpace(string(out))
	for _, p := range []struct {
		name string
		make func(image string) time.Duration
	}{
		{"erofs, plain", func(image string) time.Duration { return command(b, "mkfs.erofs", "--quiet", image, tree) }},
		{"erofs, lz4hc, 64 KiB", func(image string) time.Duration {
			return command(b, "mkfs.erofs", "-zlz4hc", "-C65536", "--quiet", image, tree)
		}},
		{"ext4", func(image string) time.Duration {
			return command(b, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", tree, image, "600M")
		}},
	} {
		b.Run(p.name, func(b *testing.B) {
			image, edited := filepath.Join(dir, "image"), filepath.Join(dir, "edited")
			os.Remove(image)
			p.make(image)
			var ours, theirs sample
			for range runs(b) {
				os.Remove(filepath.Join(dir, "anew"))
				theirs = append(theirs, p.make(filepath.Join(dir, "anew")))
				begin := time.Now()
				if _, err := fstree.Edit(b.Context(), image, edited, editSome, fstree.EditOptions{}); err != nil {
					b.Fatal(err)
				}
				ours = append(ours, time.Since(begin))
			}
			compare(b, "image edit, "+p.name, "made anew", ours, theirs)
			b.ReportMetric(float64(differing(b, image, edited))/(1<<20), "changed-MiB")
		})
	}
}

// editSome replaces 50 files by their data with a line more, and adds one.
func editSome(old *fsimage.FS, e fsimage.Editor) error {
	src, err := old.Lookup("src/go/types", true)
	if err != nil {
		return err
	}
	entries, err := old.Entries(src)
	if err != nil {
		return err
	}
	left := 50
	for _, d := range entries {
		n, err := old.Node(d.Num)
		if err != nil {
			return err
		}
		if !n.Info().Mode.IsRegular() || left == 0 {
			continue
		}
		left--
		data := make([]byte, n.Info().Size)
		if err := readat.Full(old.Data(n), data, 0); err != nil {
			return err
		}
		data = append(data, "// signed\n"...)
		if err := e.Replace("src/go/types/"+d.Name, bytes.NewReader(data), int64(len(data))); err != nil {
			return err
		}
	}
	if left > 0 {
		return fmt.Errorf("%d files too few", left)
	}
	const size = 4 << 20
	return e.Add("app.apk", fsimage.Attr{Mode: 0o644}, bytes.NewReader(bytes.Repeat([]byte("app "), size/4)), size)
}

// differing is how many bytes are in blocks of 4096 that are others in b than in a.
func differing(tb *testing.B, a, b string) int64 {
	tb.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		tb.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		tb.Fatal(err)
	}
	total := int64(0)
	for at := 0; at < max(len(x), len(y)); at += 4096 {
		p, q := x[min(at, len(x)):min(at+4096, len(x))], y[min(at, len(y)):min(at+4096, len(y))]
		if !bytes.Equal(p, q) {
			total += int64(max(len(p), len(q)))
		}
	}
	return total
}
