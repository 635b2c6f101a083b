package bench_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mios/format/chunks"
	"mios/internal/tool"
)

// BenchmarkDelta measures updates between two point releases as system images of
// more than 300 MiB: what "mios ota delta" makes against what tools make that
// take images for bytes, and what a device fetches of the chunks. Those tools
// take up to an hour, once: what they made of an image is remembered (otherTool).
// Delta/memory makes and applies a delta of 2 GiB.
func BenchmarkDelta(b *testing.B) {
	for _, p := range []releasePair{
		{kind: "ext4", packages: somePackages, size: "326M"},
		{kind: "erofs", packages: somePackages},
		{kind: "lz4hc", packages: morePackages},
	} {
		b.Run(p.kind, func(b *testing.B) {
			old, new := p.images(b, b.TempDir())
			t := &deltaTable{b: b, old: old, new: new}
			t.delta()
			t.other("xdelta3", "-9", "-e", "-f", "-s", old, new)
			t.other("bsdiff", old, new)
			t.other("zstd", "-q", "-f", "-19", "--long=31", "--patch-from", old, new, "-o")
			t.full = fullSize(b, new)
			t.adaptive()
			t.print(p.kind)
		})
	}
	b.Run("memory", func(b *testing.B) {
		p := releasePair{kind: "ext4", packages: somePackages, size: "2G", filled: true}
		old, new := p.images(b, b.TempDir())
		t := &deltaTable{b: b, old: old, new: new}
		t.delta()
		t.print("ext4 of 2 GiB")
		b.ReportMetric(float64(t.peak)/1024, "peak-MiB")
	})
}

// A deltaTable shows what leads from one image to another.
type deltaTable struct {
	b        *testing.B
	old, new string
	full     int64 // bytes of the full payload
	size     int64 // bytes of our delta
	peak     int64 // KiB of memory that our programs took at most
	rows     [][]string
}

func (t *deltaTable) add(name string, size int64, took time.Duration, memory int64) {
	row := []string{name, "", seconds(took), fmt.Sprintf("%d MiB", memory/1024)}
	if size > 0 {
		row[1] = fmt.Sprintf("%.2f MB", float64(size)/1e6)
		row = append(row, fmt.Sprintf("%.2f of the delta", float64(size)/float64(t.size)))
	}
	t.rows = append(t.rows, row)
	fmt.Println(strings.Join(row, ", ")) // the others take long
}

// delta makes a payload, unsigned (a signature is 267 bytes, twice), and applies
// it to the old image by another command.
func (t *deltaTable) delta() {
	b, dir := t.b, t.b.TempDir()
	took, memory := measured(b, miosProgram(), "ota", "delta", "--json", "--unsigned", "--no-verify", "--minor-version", "9", "--partition", "system", "--out", dir, t.old, t.new)
	payload := filepath.Join(dir, "payload.bin")
	t.size = fileSize(b, payload)
	t.add("mios ota delta", t.size, took, memory)
	applied := filepath.Join(dir, "new")
	took, applyMemory := measured(b, miosProgram(), "ota", "apply", "--out", applied, payload, filepath.Dir(t.old))
	command(b, "cmp", filepath.Join(applied, "system.img"), t.new)
	t.add("mios ota apply", 0, took, applyMemory)
	t.peak = max(memory, applyMemory)
}

// adaptive cuts the new image into chunks and makes it again of them and of the
// old one, as a device does.
func (t *deltaTable) adaptive() {
	b, dir := t.b, t.b.TempDir()
	took, memory := measured(b, miosProgram(), "ota", "adaptive", "--json", "--out", dir, filepath.Dir(t.new))
	t.add("mios ota adaptive: made", fileSize(b, filepath.Join(dir, chunks.PackFile)), took, memory)
	made := filepath.Join(dir, "system.img")
	b.Setenv(assembleEnv, strings.Join([]string{dir, t.old, made}, "\n"))
	var fetched int64
	took, memory = measured(b, os.Args[0], "-test.run=^$")
	command(b, "cmp", made, t.new)
	out, err := os.ReadFile(filepath.Join(dir, "fetched"))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(string(out), &fetched); err != nil {
		b.Fatal(err)
	}
	t.add("chunks and index that a device fetches", fetched, took, memory)
	t.b.ReportMetric(float64(fetched)/float64(t.size), "adaptive/delta")
	t.b.ReportMetric(float64(fetched)/float64(t.full), "adaptive/full")
}

// other has another tool make a patch; its last argument is the patch's name.
func (t *deltaTable) other(name string, args ...string) {
	made := otherTool(t.b, t.old, t.new, name, args...)
	t.add(strings.Join(append([]string{name}, flagsOf(args)...), " "), made.Size, made.Took, made.Memory)
	t.b.ReportMetric(float64(made.Size)/float64(t.size), name+"/delta")
}

// flagsOf leaves out files.
func flagsOf(args []string) (out []string) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			out = append(out, a)
		}
	}
	return out
}

func (t *deltaTable) print(kind string) {
	if t.full > 0 {
		t.rows = append(t.rows, []string{"mios ota full", fmt.Sprintf("%.2f MB", float64(t.full)/1e6), "", "", fmt.Sprintf("%.2f of the delta", float64(t.full)/float64(t.size))})
	}
	print(fmt.Sprintf("two releases as %s, %.0f MiB and %.0f MiB", kind, float64(fileSize(t.b, t.old))/(1<<20), float64(fileSize(t.b, t.new))/(1<<20)), t.rows)
}

func fullSize(b *testing.B, image string) int64 {
	b.Helper()
	dir := b.TempDir()
	command(b, miosProgram(), "ota", "full", "--unsigned", "--timestamp", "1700000000", "--out", dir, "--image", "system="+image)
	return fileSize(b, filepath.Join(dir, "payload.bin"))
}

func fileSize(b *testing.B, name string) int64 {
	b.Helper()
	fi, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	return fi.Size()
}

// measured runs a program, and returns how long it took and the most memory
// that it had, in KiB.
func measured(b *testing.B, name string, args ...string) (time.Duration, int64) {
	b.Helper()
	if !strings.Contains(name, "/") {
		path, err := tool.Look(name)
		if err != nil {
			b.Fatal(err)
		}
		name = path
	}
	cmd := exec.CommandContext(b.Context(), name, args...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return time.Since(start), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
}

// assembleEnv makes this program do what a device does with chunks and nothing
// else, so that its memory can be measured: a folder with a release's chunks, the
// old image, and the file for the new one, one a line.
const assembleEnv = "MIOS_BENCH_ASSEMBLE"

// assemble makes an image and notes in the folder how many bytes were fetched.
func assemble(job string) error {
	words := strings.Split(job, "\n")
	if len(words) != 3 {
		return fmt.Errorf("%s: %q, want three lines", assembleEnv, job)
	}
	dir, ctx := words[0], context.Background()
	index, err := os.ReadFile(filepath.Join(dir, chunks.IndexFile))
	if err != nil {
		return err
	}
	root, rootSize, err := chunks.ReadRoot(index)
	if err != nil {
		return err
	}
	old, err := os.Open(words[1])
	if err != nil {
		return err
	}
	defer old.Close()
	pack, err := os.Open(filepath.Join(dir, chunks.PackFile))
	if err != nil {
		return err
	}
	defer pack.Close()
	made, err := os.Create(words[2])
	if err != nil {
		return err
	}
	defer made.Close()
	seeds, err := root.Scan(ctx, []chunks.Seed{{Name: "system", Content: old, Size: sizeOf(old)}})
	if err != nil {
		return err
	}
	plan, err := root.Plan(ctx, seeds, nil, func(_ context.Context, off, n int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(index[off : off+n]))), nil
	})
	if err != nil {
		return err
	}
	var fetched int64
	a := &chunks.Assembler{Plan: plan, Target: func(string) (chunks.Target, error) { return made, nil },
		Pack: func(_ context.Context, off, n int64) (io.ReadCloser, error) {
			fetched += n
			return io.NopCloser(io.NewSectionReader(pack, off, n)), nil
		}}
	if err := a.Run(ctx); err != nil {
		return err
	}
	fetched += plan.Index + int64(rootSize)
	return os.WriteFile(filepath.Join(dir, "fetched"), fmt.Append(nil, fetched), 0o644)
}

func sizeOf(f *os.File) int64 {
	fi, err := f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}
