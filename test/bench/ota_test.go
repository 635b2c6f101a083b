package bench_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mios/build/ota"
	"mios/build/ota/input"
	"mios/format/payload"
)

// otaMiB is how large the image is that BenchmarkOTAFull makes a payload of, in
// MiB: MIOS_BENCH_MIB, or 128.
func otaMiB(b *testing.B) int64 {
	n := int64(128)
	if s := os.Getenv("MIOS_BENCH_MIB"); s != "" {
		var err error
		if n, err = strconv.ParseInt(s, 10, 64); err != nil || n < 1 {
			b.Fatalf("MIOS_BENCH_MIB=%s: want a number of 1 or more", s)
		}
	}
	return n
}

// systemImage makes an image of Go's own folder, plain erofs as a build of AOSP
// that leaves compression to the update has it, and returns its first MiB.
func systemImage(b *testing.B, dir string) string {
	b.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(dir, "system.img")
	command(b, "mkfs.erofs", "--quiet", "-T0", name, strings.TrimSpace(string(out)))
	size := otaMiB(b) << 20
	if fi, err := os.Stat(name); err != nil || fi.Size() < size {
		b.Fatalf("%s: %v: shorter than %d bytes: choose a smaller MIOS_BENCH_MIB", name, err, size)
	}
	if err := os.Truncate(name, size); err != nil {
		b.Fatal(err)
	}
	return name
}

// BenchmarkOTAFull measures a full payload against "xz -T2" of the same image,
// in blocks as long as the payload's operations, and as it comes, in blocks of 24
// MiB, which is what the operations of another payload write.
func BenchmarkOTAFull(b *testing.B) {
	dir := b.TempDir()
	name := systemImage(b, dir)
	blocks := fmt.Sprintf("--block-size=%d", payload.ChunkSize)
	var ours, large, whole, pieces sample
	var memory int64
	sizeOf := func(name string) int64 {
		fi, err := os.Stat(name)
		if err != nil {
			b.Fatal(err)
		}
		return fi.Size()
	}
	full := []string{"ota", "full", "--unsigned", "--timestamp", "1700000000", "--out", filepath.Join(dir, "ota"), "--image", "system=" + name}
	const largeChunk = "24" // MiB
	largeFull := []string{"ota", "full", "--unsigned", "--timestamp", "1700000000", "--chunk-size", largeChunk, "--out", filepath.Join(dir, "large"), "--image", "system=" + name}
	xz := func(to string, args ...string) time.Duration {
		return command(b, "sh", "-c", "xz -T2 "+strings.Join(args, " ")+" -c "+name+" > "+filepath.Join(dir, to))
	}
	for range runs(b) {
		ours = append(ours, command(b, miosProgram(), full...))
		large = append(large, command(b, miosProgram(), largeFull...))
		whole = append(whole, xz("whole.xz"))
		pieces = append(pieces, xz("pieces.xz", blocks))
	}
	memory = peak(b, full...)
	largeSize := sizeOf(filepath.Join(dir, "large", ota.PayloadFile))
	size, wholeSize, piecesSize := sizeOf(filepath.Join(dir, "ota", ota.PayloadFile)), sizeOf(filepath.Join(dir, "whole.xz")), sizeOf(filepath.Join(dir, "pieces.xz"))
	row := func(what string, s sample, n int64) []string {
		return []string{what, seconds(s.median()), seconds(s.min()), fmt.Sprintf("%d bytes", n)}
	}
	print(fmt.Sprintf("full payload of an erofs image of %d MiB, %d runs", otaMiB(b), len(ours)), [][]string{
		{"", "median", "min", ""},
		row("mios ota full", ours, size),
		row("xz -T2 "+blocks, pieces, piecesSize),
		row("mios ota full --chunk-size "+largeChunk, large, largeSize),
		row("xz -T2", whole, wholeSize),
	})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(large.min().Seconds()/whole.min().Seconds(), "time/xz")
	b.ReportMetric(ours.min().Seconds()/pieces.min().Seconds(), "time/xz-in-pieces")
	b.ReportMetric(float64(largeSize)/float64(wholeSize), "size/xz")
	b.ReportMetric(float64(size)/float64(piecesSize), "size/xz-in-pieces")
	b.ReportMetric(float64(memory)/1024, "peak-MiB")
}

// BenchmarkOTAExtract measures the extraction of 1 GiB, eight times the image,
// against xz and bzip2 that decompress the same operations' data into a file
// through dd.
func BenchmarkOTAExtract(b *testing.B) {
	dir := b.TempDir()
	name := systemImage(b, dir)
	update := filepath.Join(dir, "payload.bin")
	const copies = 8
	repeated(b, name, update, copies)
	var ours, theirs sample
	decode := fmt.Sprintf(`cd %s; for i in $(seq %d); do xz -dc ops.xz; bzip2 -dc ops.bz2; cat ops.raw; done | dd of=out bs=1M status=none`, dir, copies)
	extract := []string{"ota", "extract", "--out", filepath.Join(dir, "images"), update}
	for range runs(b) {
		ours = append(ours, command(b, miosProgram(), extract...))
		if err := os.RemoveAll(filepath.Join(dir, "images")); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, command(b, "sh", "-c", decode))
		if err := os.Remove(filepath.Join(dir, "out")); err != nil {
			b.Fatal(err)
		}
	}
	memory := peak(b, extract...)
	compare(b, fmt.Sprintf("extracting %d MiB", copies*otaMiB(b)), "xz -dc, bzip2 -dc and dd", ours, theirs)
	b.ReportMetric(float64(memory)/1024, "peak-MiB")
}

// repeated writes a payload with an image as so many partitions, all with the
// same data, and beside it the data by type of operation.
func repeated(b *testing.B, name, update string, copies int) {
	b.Helper()
	in, err := input.OpenImage(name, "system")
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	p, types := in.Find("system"), map[payload.OpType][]byte{payload.Replace: nil, payload.ReplaceBZ: nil, payload.ReplaceXZ: nil}
	var e payload.Encoder
	var ops []payload.Operation
	var data []byte
	hash := sha256.New()
	plain := make([]byte, payload.ChunkSize)
	for off := int64(0); off < p.Size; off += payload.ChunkSize {
		plain = plain[:min(payload.ChunkSize, p.Size-off)]
		if n, err := p.ReadAt(plain, off); n < len(plain) {
			b.Fatal(err)
		}
		hash.Write(plain)
		t, d, err := e.Encode(plain)
		if err != nil {
			b.Fatal(err)
		}
		sum := sha256.Sum256(d)
		ops = append(ops, payload.Operation{Type: t, DataOffset: uint64(len(data)), DataLength: uint64(len(d)), DataHash: sum[:],
			DstExtents: []payload.Extent{{StartBlock: uint64(off / payload.DefaultBlockSize), NumBlocks: uint64(len(plain) / payload.DefaultBlockSize)}}})
		data, types[t] = append(data, d...), append(types[t], d...)
	}
	m := &payload.Manifest{BlockSize: payload.DefaultBlockSize, MaxTimestamp: 1700000000}
	for i := range copies {
		part := payload.Partition{Name: fmt.Sprintf("p%d", i), NewInfo: &payload.PartitionInfo{Size: uint64(p.Size), Hash: hash.Sum(nil)}}
		for _, op := range ops {
			op.DataOffset += uint64(i * len(data))
			part.Operations = append(part.Operations, op)
		}
		m.Partitions = append(m.Partitions, part)
	}
	f, err := os.Create(update)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := payload.Write(f, m, bytes.NewReader(bytes.Repeat(data, copies)), nil); err != nil {
		b.Fatal(err)
	}
	for file, t := range map[string]payload.OpType{"ops.raw": payload.Replace, "ops.xz": payload.ReplaceXZ, "ops.bz2": payload.ReplaceBZ} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(update), file), types[t], 0o644); err != nil {
			b.Fatal(err)
		}
	}
}
