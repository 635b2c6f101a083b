package erofs_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/erofs"
	"mios/format/fsimage/imagetest"
)

// TestVectors reads images of the small tree that mkfs.erofs 1.9.3 made with
// options that Debian's has not: "lzma" is -zlzma -C65536 -Eztailpacking.
func TestVectors(t *testing.T) {
	tree := imagetest.Small(t)
	tree.SkipXattrs = true // the host may not take those that the images have
	for name, b := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			f, err := erofs.Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			tree.Compare(t, f.FS)
		})
	}
}

// vectors are the images in testdata.
func vectors(tb testing.TB) map[string][]byte {
	names, err := filepath.Glob("testdata/*.gz")
	if err != nil || len(names) == 0 {
		tb.Fatalf("no testdata/*.gz: %v", err)
	}
	out := map[string][]byte{}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			tb.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			tb.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		f.Close()
		out[strings.TrimSuffix(filepath.Base(name), ".erofs.gz")] = b
	}
	return out
}

// TestMake makes the images again, if told where a newer mkfs.erofs is.
func TestMake(t *testing.T) {
	mkfs := os.Getenv("MIOS_MKFS_EROFS")
	if mkfs == "" {
		t.Skip("MIOS_MKFS_EROFS names no mkfs.erofs of 1.9 that has all compressors")
	}
	tree := imagetest.Small(t)
	if err := imagetest.Setxattr(filepath.Join(tree.Dir, "folder/log"), "user.mios.comment", []byte("a long prefix")); err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]string{
		"lz4-fragments":  "-zlz4hc -Efragments",
		"lz4-legacy":     "-zlz4 -Eall-fragments,dedupe,legacy-compress",
		"lz4-dedupe":     "-zlz4hc -Ededupe",
		"prefixes":       "--xattr-prefix=user.mios. -zlz4 -Efragments",
		"lzma":           "-zlzma -C65536 -Eztailpacking",
		"lzma-fragments": "-zlzma -C65536 -Eall-fragments,dedupe",
		"deflate":        "-zdeflate -C65536 -Eztailpacking",
		"deflate-dedupe": "-zdeflate -C16384 -Efragments,dedupe",
		"zstd":           "-zzstd -C65536 -Eztailpacking",
		"zstd-dedupe":    "-zzstd -C16384 -Efragments,dedupe",
		"48bit":          "-zzstd -C65536 -E48bit,fragments",
		"48bit-plain":    "-zlz4 -E48bit",
		"metabox":        "-zlz4hc -C16384 -m4096",
		"blocks-512":     "-zlz4 -b512",
	} {
		image := filepath.Join(t.TempDir(), name)
		args := append(strings.Fields(options), "--quiet", "--all-root", "--preserve-mtime", "-Uclear", image, tree.Dir)
		imagetest.Run(t, mkfs, args...)
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		z.Write(b)
		z.Close()
		if err := os.WriteFile("testdata/"+name+".erofs.gz", out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
