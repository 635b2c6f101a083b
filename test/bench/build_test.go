package bench_test

import (
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mios"
	"mios/build/ota"
	"mios/format/avb"
	"mios/key"
)

// BenchmarkHashtree measures a hash tree over 64 MiB against cryptsetup's
// "veritysetup format" of the same file.
func BenchmarkHashtree(b *testing.B) {
	const size = 64 << 20
	dir := b.TempDir()
	name := filepath.Join(dir, "image")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{}), size); err != nil {
		b.Fatal(err)
	}
	var ours, theirs sample
	for i := range runs(b) {
		out, err := os.Create(filepath.Join(dir, "tree"))
		if err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		if _, err := avb.WriteHashtree(out, f, size, "sha256", make([]byte, 32)); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(begin))
		out.Close()
		theirs = append(theirs, command(b, "veritysetup", "format", "--salt=-", "--uuid=00000000-0000-0000-0000-00000000000"+string(rune('0'+i%10)), name, filepath.Join(dir, "verity")))
	}
	compare(b, "hash tree of 64 MiB", "veritysetup format", ours, theirs)
}

// BenchmarkPayload measures a full payload against "xz -T2" of the same images.
func BenchmarkPayload(b *testing.B) {
	dir := build(b, mios.AMD64, "1", 0)
	signer, err := the.desk.Keys().Signers(key.OTA)
	if err != nil {
		b.Fatal(err)
	}
	var ours, theirs sample
	for range runs(b) {
		to := b.TempDir()
		begin := time.Now()
		if _, err := ota.WriteBuild(b.Context(), dir, to, ota.Options{Signers: signer}); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(begin))
		theirs = append(theirs, command(b, "sh", "-c", "cat "+filepath.Join(dir, "system.img")+" "+filepath.Join(dir, "boot.img")+" | xz -T2 > /dev/null"))
	}
	compare(b, "full payload", "xz -T2", ours, theirs)
}

// command returns how long a program takes.
func command(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), name, args...)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", name, err, out)
	}
	return time.Since(begin)
}

func compare(b *testing.B, what, other string, ours, theirs sample) {
	b.Helper()
	print(what, [][]string{{"", "median", "min"},
		{"ours", seconds(ours.median()), seconds(ours.min())}, {other, seconds(theirs.median()), seconds(theirs.min())}})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours.min().Seconds()/theirs.min().Seconds(), "ratio(min)")
}
