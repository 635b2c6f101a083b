package erofs_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mios/format/erofs"
	"mios/format/fsimage"
	"mios/format/fsimage/imagetest"
)

// dumped finds an extent in what dump.erofs prints.
var dumped = regexp.MustCompile(`(?m)^ *\d+: *(\d+)\.\. *(\d+) \| *\d+ : *(\d+)\.\. *(\d+) \|`)

// TestExtents compares where the bytes of files lie with what dump.erofs says.
func TestExtents(t *testing.T) {
	tree := imagetest.Small(t)
	for _, options := range []string{"-zlz4", "-zlz4hc -C16384", "-zlz4 -Elegacy-compress", "-x-1", "--chunksize=4096"} {
		t.Run(options, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			imagetest.Run(t, "mkfs.erofs", append(strings.Fields(options), "--quiet", image, tree.Dir)...)
			f := open(t, image)
			for _, name := range []string{"folder/log", "folder/again", "folder/zeros", "folder/random"} {
				n, err := f.Lookup(name, true)
				if err != nil {
					t.Fatal(err)
				}
				text := imagetest.Run(t, "dump.erofs", "-e", "--path=/"+name, image)
				found := dumped.FindAllStringSubmatch(text, -1)
				if len(found) == 0 {
					t.Fatalf("dump.erofs says nothing of extents:\n%s", text)
				}
				for _, m := range found {
					var x [4]int64
					for i := range x {
						x[i], _ = strconv.ParseInt(m[i+1], 10, 64)
					}
					checkExtent(t, n, x)
				}
			}
		})
	}
}

// checkExtent looks for an extent [from, to) of a file that is at [at, end) of the
// image. Chunks that follow each other are one here.
func checkExtent(t *testing.T, n fsimage.Node, x [4]int64) {
	t.Helper()
	for e, err := range n.Extents(x[0]) {
		if err != nil {
			t.Fatal(err)
		}
		ok := e.At == x[2] && e.Off == x[0] && e.Off+e.Len == x[1] && e.At+e.Size == x[3]
		if e.Codec == fsimage.Plain {
			ok = e.At+x[0]-e.Off == x[2] && e.Off+e.Len >= min(x[1], n.Info().Size)
		}
		if !ok {
			t.Errorf("inode %d: extent %+v, dump.erofs says %v", n.Info().Num, e, x)
		}
		break
	}
}

// TestVectorFeatures holds that the vectors have what they are for.
func TestVectorFeatures(t *testing.T) {
	all := vectors(t)
	for name, want := range map[string]string{
		"lz4-fragments": "lz4 fragments skip", "lz4-legacy": "lz4 dedupe skip", "lz4-dedupe": "lz4 dedupe", "prefixes": "xattr_prefixes",
		"lzma": "lzma ztailpacking", "lzma-fragments": "lzma fragments skip", "deflate": "deflate", "deflate-dedupe": "deflate dedupe",
		"zstd": "zstd ztailpacking", "zstd-dedupe": "zstd dedupe", "48bit": "48bit zstd", "48bit-plain": "48bit lz4",
		"metabox": "metabox lz4", "blocks-512": "lz4",
	} {
		b, ok := all[name]
		if !ok {
			t.Errorf("no vector %s", name)
			continue
		}
		f, err := erofs.Open(strings.NewReader(string(b)), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		has := strings.Join(f.Features(), " ")
		root, err := f.Root()
		if err != nil {
			t.Fatal(err)
		}
		err = f.Walk("", root, func(_ string, n fsimage.Node) error {
			for e, err := range n.Extents(0) {
				if err != nil {
					return err
				}
				if has += " " + e.Codec.String(); e.Skip > 0 {
					has += " skip"
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		for word := range strings.FieldsSeq(want) {
			if !strings.Contains(has, word) {
				t.Errorf("%s: no %s in %s", name, word, has)
			}
		}
	}
}

// TestPrefixes reads an attribute whose name begins as the image defines.
func TestPrefixes(t *testing.T) {
	for name, b := range vectors(t) {
		f, err := erofs.Open(strings.NewReader(string(b)), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		n, err := f.Lookup("folder/log", true)
		if err != nil {
			t.Fatal(err)
		}
		list, err := n.Xattrs()
		if err != nil || len(list) != 1 || list[0].Name != "user.mios.comment" || string(list[0].Value) != "a long prefix" {
			t.Errorf("%s: %q, %v", name, list, err)
		}
	}
}

// TestCycle puts a folder into itself.
func TestCycle(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	imagetest.Run(t, "mkfs.erofs", "--quiet", image, imagetest.Small(t).Dir)
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, image)
	folder, err := f.Lookup("folder", true)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := f.Lookup("folder/inner", true)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range folder.Extents(0) {
		if err != nil {
			t.Fatal(err)
		}
		for at := e.At; at < e.At+e.Size; at++ {
			if binary.LittleEndian.Uint64(b[at:]) == inner.Info().Num && b[at+10] == 2 {
				binary.LittleEndian.PutUint64(b[at:], folder.Info().Num)
				break
			}
		}
	}
	if err := readAll(withSum(b)); err == nil || !strings.Contains(err.Error(), "a folder in two places, or in itself") {
		t.Errorf("a folder in itself: %v", err)
	}
}

// TestBomb claims that a compressed file unpacks to a TiB.
func TestBomb(t *testing.T) {
	for _, options := range []string{"-Elegacy-compress", "-Eforce-inode-extended"} {
		image := filepath.Join(t.TempDir(), "image")
		imagetest.Run(t, "mkfs.erofs", "-zlz4", options, "-Eforce-inode-extended", "--quiet", image, imagetest.Small(t).Dir)
		n, err := open(t, image).Lookup("folder/zeros", true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint64(b[n.Info().Off+8:], 1<<40)
		err = readAll(withSum(b))
		imagetest.Refused(t, err)
		if err == nil {
			t.Errorf("%s: a file of a TiB is read", options)
		}
	}
}

// TestLookup follows symbolic links within the image, and not for ever.
func TestLookup(t *testing.T) {
	tree := imagetest.Small(t)
	tree.Symlink("b", "a")
	tree.Symlink("folder/../a", "b")
	tree.Symlink("/folder/inner/../log", "absolute")
	tree.Symlink("../../../../folder", "up")
	image := filepath.Join(t.TempDir(), "image")
	imagetest.Run(t, "mkfs.erofs", "--quiet", image, tree.Dir)
	f := open(t, image)
	for name, want := range map[string]string{
		"a": "too many symbolic links", "absolute": "90000", "up/log": "90000", "folder/inner/link": "90000", "/folder//log": "90000",
		"folder/log/x": fs.ErrNotExist.Error(), "nothing": fs.ErrNotExist.Error(), "up/nothing": fs.ErrNotExist.Error(),
	} {
		n, err := f.Lookup(name, true)
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(n.Info().Size)
		}
		if got != want {
			t.Errorf("Lookup(%s) = %s, want %s", name, got, want)
		}
	}
	if _, err := f.Open("nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open(nothing): %v", err)
	}
}

// TestFS has testing/fstest look at the view.
func TestFS(t *testing.T) {
	tree := imagetest.Small(t)
	image := filepath.Join(t.TempDir(), "image")
	imagetest.Run(t, "mkfs.erofs", "-zlz4hc", "--quiet", image, tree.Dir)
	tree.CompareFS(t, open(t, image).FS)
}
