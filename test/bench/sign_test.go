package bench_test

import (
	"archive/zip"
	"compress/flate"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"mios/build/sign"
	"mios/build/sign/signtest"
)

// BenchmarkSignTargetFiles measures "mios sign target-files" of a zip of 2 GiB (or
// MIOS_SIGN_MIB of them), from the start of the program to the durable, verified
// result, against what no signing can do without, one after another: each entry
// of the result is read, unpacked where it is deflated, digested with SHA-256, and
// written; those that signing makes anew and that are deflated are deflated, by
// the same codec.
func BenchmarkSignTargetFiles(b *testing.B) {
	mib := int64(2 << 10)
	if s := os.Getenv("MIOS_SIGN_MIB"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 64 {
			b.Fatalf("MIOS_SIGN_MIB=%s: want a number of 64 or more", s)
		}
		mib = n
	}
	dir := b.TempDir()
	// Files lie in the image and in a tree, of which deflate takes half.
	in := signtest.New(b, signtest.Options{Padding: mib << 20 * 4 / 7}).Zip(b)
	keys, out := filepath.Join(dir, "keys"), filepath.Join(dir, "signed.zip")
	r, err := sign.Plan(b.Context(), in, dir, sign.Options{Keys: sign.Folder{Path: keys}})
	if err != nil {
		b.Fatal(err)
	}
	if err := sign.MakeKeys(keys, r.Missing, "", true, nil); err != nil {
		b.Fatal(err)
	}
	args := []string{"sign", "target-files", "--keys", keys, in, out}
	command(b, miosProgram(), args...) // so that there is a result to read, hash and write
	var ours, floor sample
	for range runs(b) {
		floor = append(floor, readHashWrite(b, in, out, filepath.Join(dir, "copy.zip")))
		remove(b, out) // nothing is overwritten
		ours = append(ours, command(b, miosProgram(), args...))
	}
	remove(b, out)
	compare(b, fmt.Sprintf("signing target-files of %d MiB", size(b, in)>>20), "read, sha256, write", ours, floor)
	b.ReportMetric(float64(peak(b, args...))/1024, "peak-MiB")
}

func remove(b *testing.B, name string) {
	b.Helper()
	if err := os.Remove(name); err != nil {
		b.Fatal(err)
	}
}

// readHashWrite does that with the entries of result, and tells how long it took.
func readHashWrite(b *testing.B, source, result, out string) time.Duration {
	b.Helper()
	old, err := zip.OpenReader(source)
	if err != nil {
		b.Fatal(err)
	}
	defer old.Close()
	same := map[string]uint32{}
	for _, f := range old.File {
		same[f.Name] = f.CRC32
	}
	begin := time.Now()
	z, err := zip.OpenReader(result)
	if err != nil {
		b.Fatal(err)
	}
	defer z.Close()
	w, err := os.Create(out)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	sum := sha256.New()
	for _, f := range z.File {
		if err := readHashWriteEntry(w, sum, f, same[f.Name] == f.CRC32); err != nil {
			b.Fatalf("%s: %v", f.Name, err)
		}
	}
	if err := w.Sync(); err != nil {
		b.Fatal(err)
	}
	return time.Since(begin)
}

func readHashWriteEntry(w, sum io.Writer, f *zip.File, same bool) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	switch {
	case f.Method == zip.Store:
		_, err = io.Copy(io.MultiWriter(sum, w), r)
		return err
	case !same:
		d, err := flate.NewWriter(w, flate.DefaultCompression)
		if err == nil {
			_, err = io.Copy(io.MultiWriter(sum, d), r)
		}
		if err == nil {
			err = d.Close()
		}
		return err
	}
	if _, err := io.Copy(sum, r); err != nil {
		return err
	}
	raw, err := f.OpenRaw()
	if err == nil {
		_, err = io.Copy(w, raw)
	}
	return err
}

func size(b *testing.B, name string) int64 {
	b.Helper()
	fi, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	return fi.Size()
}
