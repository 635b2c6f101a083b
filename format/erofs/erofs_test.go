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
// changes the format, with the folder that it was made of.
func TestTools(t *testing.T) {
	tree := imagetest.New(t)
	for i, options := range []string{
		"",
		"-zlz4",
		"-zlz4 -Elegacy-compress",
		"-zlz4 -Elegacy-compress -C65536",
		"-zlz4 -Eforce-inode-extended",
		"-zlz4hc -C65536",
		"-zlz4hc,12 -C1048576",
		"-zlz4 -Eztailpacking",
		"-zlz4 -Eztailpacking -Elegacy-compress",
		"-zlz4hc -Efragments",
		"-zlz4hc -Efragments -Elegacy-compress",
		"-zlz4hc -Eall-fragments -C262144",
		"-zlz4 -Efragments,ztailpacking -C65536",
		"-zlz4 -Ededupe",
		"-zlz4 -Ededupe,fragments -C131072",
		"-zlz4 --max-extent-bytes=8192",
		"--chunksize=4096",
		"--chunksize=65536",
		"-Enoinline_data",
		"-Eforce-chunk-indexes --chunksize=4096",
		"-x0",
		"-x1",
	} {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(strings.ReplaceAll(options, " ", ""), func(t *testing.T) {
			testTool(t, tree, strings.Fields(options)...)
		})
	}
}

func testTool(t *testing.T, tree *imagetest.Tree, options ...string) {
	name := filepath.Join(t.TempDir(), "image")
	mkfs := "mkfs.erofs"
	if other := os.Getenv("MIOS_MKFS_EROFS"); other != "" { // a newer one
		mkfs = other
	}
	imagetest.Run(t, mkfs, append(options, "--quiet", "--preserve-mtime", name, tree.Dir)...)
	f := open(t, name)
	tree.Compare(t, f.FS)
}

func open(t *testing.T, name string) *erofs.FS {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	fi, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := erofs.Open(file, fi.Size())
	if err != nil {
		t.Fatal(err)
	}
	return f
}
