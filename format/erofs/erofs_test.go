package erofs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/erofs"
	"mios/format/fsimage/imagetest"
)

// TestTools compares what mkfs.erofs made, with each of its options that
// changes the format, with the folder that it was made of. Debian's is 1.5.
func TestTools(t *testing.T) {
	testTools(t, "mkfs.erofs", []string{
		"",
		"-zlz4",
		"-zlz4 -Elegacy-compress",
		"-zlz4 -Elegacy-compress -C65536",
		"-zlz4hc -C65536",
		"-zlz4 -Eztailpacking",
		"--chunksize=4096",
		"-Eforce-chunk-indexes --chunksize=65536",
		"-zlz4hc,12 -C1048576 -Eforce-inode-extended",
		"-zlz4 -Eztailpacking -Elegacy-compress",
		"-zlz4 -Eztailpacking -C65536",
		"-zlz4 --max-extent-bytes=8192",
		"-Eforce-inode-blockmap --chunksize=16384",
		"-Enoinline_data -Enosbcrc",
		"-x0",
		"-x1",
	})
}

// TestNewerTools is TestTools with a mkfs.erofs of 1.9 that has all compressors,
// if told where one is. What Debian's cannot make, TestVectors has examples of.
func TestNewerTools(t *testing.T) {
	mkfs := os.Getenv("MIOS_MKFS_EROFS")
	if mkfs == "" {
		t.Skip("MIOS_MKFS_EROFS names no newer mkfs.erofs")
	}
	testTools(t, mkfs, []string{
		"-zlz4hc -Efragments", "-zlz4hc -Efragments -Elegacy-compress", "-zlz4hc -Eall-fragments -C262144",
		"-zlz4 -Efragments,ztailpacking -C65536", "-zlz4 -Ededupe", "-zlz4 -Ededupe,fragments -C131072",
		"-zlzma", "-zlzma,9 -C65536", "-zlzma -Eztailpacking", "-zlzma -Efragments -C262144", "-zlzma -Eall-fragments,dedupe -C1048576",
		"-zdeflate", "-zdeflate,9 -C65536", "-zdeflate -Eztailpacking", "-zdeflate -Efragments -C262144", "-zdeflate -Eall-fragments,dedupe -C1048576",
		"-zzstd", "-zzstd,19 -C65536", "-zzstd -Eztailpacking", "-zzstd -Efragments -C262144", "-zzstd -Eall-fragments,dedupe -C1048576",
		"-zlz4hc,12 -C65536 -b1024", "-zlz4 -b512", "-zlz4 -b1024 -Efragments,ztailpacking", "-zlz4:lzma -C65536",
		"--xattr-prefix=user.mios. --xattr-prefix=security.sel", "-zlz4 -Efragments --xattr-prefix=user.mios.", "-Exattr-name-filter",
		"-E48bit", "-zlz4 -E48bit", "-zzstd -C65536 -E48bit", "-zlz4hc -E48bit,fragments -C65536", "--chunksize=4096 -E48bit",
		"-zlz4hc -E48bit,dedupe,all-fragments -C65536", "-zzstd -E48bit -C65536 --max-extent-bytes=1000000",
		"-m4096", "-m4096 -zlz4hc -C65536", "-zzstd -C65536 -m65536 -Efragments,dedupe", "-zlz4 -C65536 -m65536 -E48bit,fragments",
		"-Efragdedupe=inode -zlz4", "--chunksize=4096", "-zlz4 -C65536 -Efragments,dedupe,ztailpacking", "-zlz4 --max-extent-bytes=4096",
	})
}

func testTools(t *testing.T, mkfs string, list []string) {
	tree := imagetest.New(t)
	for i, options := range list {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(strings.ReplaceAll(options, " ", ""), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "image")
			imagetest.Run(t, mkfs, append(strings.Fields(options), "--quiet", "--preserve-mtime", name, tree.Dir)...)
			tree.Compare(t, open(t, name).FS)
		})
	}
}

func open(t *testing.T, name string) *erofs.FS {
	t.Helper()
	f, err := erofs.Open(imagetest.Open(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
