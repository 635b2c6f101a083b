package bench_test

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkAVBHashtree measures "mios avb add-hashtree" of an image of 2 GiB, an
// eighth of it holes, from the start of the program to the durable tree, against
// "veritysetup format" of the same image and "openssl dgst -sha256" of it. FEC is
// left out, which veritysetup does not make either here.
func BenchmarkAVBHashtree(b *testing.B) {
	const size, piece = 2 << 30, 64 << 20
	dir := b.TempDir()
	name := filepath.Join(dir, "system.img")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{})
	for off := int64(0); off < size; off += piece {
		if off/piece%8 == 7 {
			continue
		}
		if _, err := io.CopyN(io.NewOffsetWriter(f, off), random, piece); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	out := filepath.Join(dir, "out.img")
	args := []string{"avb", "add-hashtree", "--do_not_generate_fec", "--partition_name", "system"}
	var ours, theirs, openssl sample
	for range runs(b) {
		ours = append(ours, command(b, miosProgram(), append(args, "--in_place", name)...))
		if err := os.Truncate(name, size); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, command(b, "veritysetup", "format", name, filepath.Join(dir, "verity")))
		openssl = append(openssl, command(b, "openssl", "dgst", "-sha256", name))
	}
	copied, most := program(b, append(args, "--output", out, name)...)
	b.ReportMetric(copied.Seconds(), "s-with-a-copy")
	compare(b, "hash tree of 2 GiB", "openssl dgst -sha256", ours, openssl)
	b.ReportMetric(openssl.min().Seconds()/ours.min().Seconds(), "openssl/ours")
	compare(b, "hash tree of 2 GiB", "veritysetup format", ours, theirs)
	b.ReportMetric(theirs.min().Seconds()/ours.min().Seconds(), "times-as-fast(min)")
	b.ReportMetric(theirs.median().Seconds()/ours.median().Seconds(), "times-as-fast(median)")
	b.ReportMetric(float64(most)/1024, "peak-MiB")
}
