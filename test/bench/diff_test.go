package bench_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mios/format/bsdiff"
)

// BenchmarkBsdiff measures patches of a program against Debian's bsdiff and
// bspatch: time and size. The files are those that MIOS_BENCH_DIFF names, old
// and new, or mios built with and without -trimpath, where nearly all addresses
// are others.
func BenchmarkBsdiff(b *testing.B) {
	oldName, newName := diffPair(b)
	old, err := os.ReadFile(oldName)
	if err != nil {
		b.Fatal(err)
	}
	want, err := os.ReadFile(newName)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	theirs, made := filepath.Join(dir, "patch"), filepath.Join(dir, "made")
	var patches [2][]byte // BSDIFF40, BSDF2
	var diffed, applied [3]sample
	for range runs(b) {
		for i, o := range []bsdiff.Options{{Legacy: true}, {}} {
			begin := time.Now()
			if patches[i], err = bsdiff.Diff(b.Context(), old, want, o); err != nil {
				b.Fatal(err)
			}
			diffed[i] = append(diffed[i], time.Since(begin))
			begin = time.Now()
			applyPatch(b, patches[i], old, want)
			applied[i] = append(applied[i], time.Since(begin))
		}
		diffed[2] = append(diffed[2], command(b, "bsdiff", oldName, newName, theirs))
		applied[2] = append(applied[2], command(b, "bspatch", oldName, made, theirs))
	}
	fi, err := os.Stat(theirs)
	if err != nil {
		b.Fatal(err)
	}
	sizes := []int{len(patches[0]), len(patches[1]), int(fi.Size())}
	rows := [][]string{{"", "bytes", "made (min)", "applied (min)"}}
	for i, name := range []string{"BSDIFF40", "BSDF2", "bsdiff, bspatch"} {
		rows = append(rows, []string{name, strconv.Itoa(sizes[i]), seconds(diffed[i].min()), seconds(applied[i].min())})
	}
	print("patch of a program of "+strconv.Itoa(len(want))+" bytes", rows)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(sizes[0])/float64(sizes[2]), "BSDIFF40/bsdiff")
	b.ReportMetric(float64(sizes[1])/float64(sizes[2]), "BSDF2/bsdiff")
	b.ReportMetric(diffed[0].min().Seconds()/diffed[2].min().Seconds(), "time/bsdiff")
	b.ReportMetric(applied[0].min().Seconds()/applied[2].min().Seconds(), "time/bspatch")
}

// applyPatch fails unless the patch makes want.
func applyPatch(b *testing.B, patch, old, want []byte) {
	b.Helper()
	p, err := bsdiff.Parse(bytes.NewReader(patch), int64(len(patch)))
	if err != nil {
		b.Fatal(err)
	}
	var got bytes.Buffer
	got.Grow(len(want))
	if err := p.Apply(b.Context(), io.Writer(&got), bytes.NewReader(old), int64(len(old))); err != nil || !bytes.Equal(got.Bytes(), want) {
		b.Fatalf("%d bytes, want %d: %v", got.Len(), len(want), err)
	}
}

// diffPair returns the names of the files to compare.
func diffPair(b *testing.B) (old, new string) {
	b.Helper()
	if names := strings.Fields(os.Getenv("MIOS_BENCH_DIFF")); len(names) == 2 {
		return names[0], names[1]
	}
	dir := b.TempDir()
	old, new = filepath.Join(dir, "old"), filepath.Join(dir, "new")
	for _, args := range [][]string{{"-o", old}, {"-trimpath", "-o", new}} {
		cmd := exec.CommandContext(b.Context(), "go", append(append([]string{"build"}, args...), "mios/cmd/mios")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("go build: %v: %s", err, out)
		}
	}
	return old, new
}
