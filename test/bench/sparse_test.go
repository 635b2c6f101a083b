package bench_test

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkSparse measures "mios sparse pack" and "expand" of an image of 1 GiB,
// a quarter of it holes and a quarter zeros that are written, against img2simg and
// simg2img, which make the same bytes.
func BenchmarkSparse(b *testing.B) {
	const size, piece = 1 << 30, 32 << 20
	dir := b.TempDir()
	name := func(s string) string { return filepath.Join(dir, s) }
	f, err := os.Create(name("raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	random, zeros := rand.NewChaCha8([32]byte{}), make([]byte, piece)
	for off := int64(0); off < size; off += piece {
		switch off / piece % 4 {
		case 0, 1:
			_, err = io.CopyN(io.NewOffsetWriter(f, off), random, piece)
		case 2:
			_, err = f.WriteAt(zeros, off)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	var pack, expand, img2simg, simg2img sample
	for range runs(b) {
		img2simg = append(img2simg, command(b, "img2simg", name("raw"), name("theirs.simg")))
		pack = append(pack, command(b, miosProgram(), "sparse", "pack", name("raw"), name("ours.simg")))
		simg2img = append(simg2img, command(b, "simg2img", name("theirs.simg"), name("theirs")))
		expand = append(expand, command(b, miosProgram(), "sparse", "expand", name("theirs.simg"), name("ours")))
		command(b, "cmp", name("theirs.simg"), name("ours.simg"))
		command(b, "cmp", name("raw"), name("ours"))
		for _, s := range []string{"theirs.simg", "ours.simg", "theirs", "ours"} {
			if err := os.Remove(name(s)); err != nil {
				b.Fatal(err)
			}
		}
	}
	_, most := program(b, "sparse", "pack", name("raw"), name("ours.simg"))
	b.ReportMetric(float64(most)/1024, "peak-MiB")
	compare(b, "sparse pack", "img2simg", pack, img2simg)
	compare(b, "sparse expand", "simg2img", expand, simg2img)
}
