package fstree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mios/build/fstree"
	"mios/format/fsimage"
	"mios/format/fsimage/imagetest"
	"mios/format/sparse"
	"mios/internal/readat"
)

// open opens an image in a file.
func open(t *testing.T, name string) *fstree.Image {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := fstree.Open(f, fi.Size())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// images makes images of a folder, by kind.
func images(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, args := range map[string][]string{
		"erofs-lz4":   {"mkfs.erofs", "-zlz4hc", "-C65536", "--quiet", "--preserve-mtime"},
		"erofs-parts": {"mkfs.erofs", "-zlz4", "-Eztailpacking", "--quiet", "--preserve-mtime"},
		"erofs-plain": {"mkfs.erofs", "--quiet", "--preserve-mtime"},
	} {
		out[name] = filepath.Join(t.TempDir(), name)
		imagetest.Run(t, args[0], append(args[1:], out[name], dir)...)
	}
	out["ext4"] = filepath.Join(t.TempDir(), "ext4")
	imagetest.Run(t, "mke2fs", "-t", "ext4", "-q", "-F", "-d", dir, out["ext4"], "64M")
	return out
}

// TestExtract compares what is extracted with the image, and with what
// fsck.erofs extracts.
func TestExtract(t *testing.T) {
	tree := imagetest.New(t)
	for name, image := range images(t, tree.Dir) {
		t.Run(name, func(t *testing.T) {
			m := open(t, image)
			out := filepath.Join(t.TempDir(), "out")
			o := fstree.Options{Owner: os.Getuid() == 0, Xattrs: os.Getuid() == 0}
			r, err := fstree.Extract(t.Context(), m.FS, "/", out, o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Files < 250 || r.Bytes < 5<<20 {
				t.Errorf("%+v", r)
			}
			got := &imagetest.Tree{Dir: out, AnyOwner: !o.Owner}
			if os.Getuid() == 0 {
				got.Compare(t, m.FS)
			}
			sameFiles(t, tree.Dir, out)
			if m.Kind == "erofs" {
				theirs := filepath.Join(t.TempDir(), "theirs")
				imagetest.Run(t, "fsck.erofs", "--extract="+theirs, image)
				sameFiles(t, theirs, out)
			}
			if n := used(t, out+"/system/sparse"); n > 512<<10 {
				t.Errorf("the file with holes has %d bytes", n)
			}
		})
	}
}

func used(t *testing.T, name string) int64 {
	t.Helper()
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Blocks * 512
}

// sameFiles compares the data of all files of want with got.
func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(want, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		a, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(got + strings.TrimPrefix(name, want))
		if err == nil && !bytes.Equal(a, b) {
			err = fmt.Errorf("%s: other data", name)
		}
		return err
	})
	if err != nil || files < 250 {
		t.Errorf("%d files, %v", files, err)
	}
}

// TestExtractPart extracts a folder, and a file, without anybody's rights.
func TestExtractPart(t *testing.T) {
	tree := imagetest.Small(t)
	tree.File("folder/su", 0o755|fs.ModeSetuid, []byte("x"))
	m := open(t, images(t, tree.Dir)["erofs-lz4"])
	out := filepath.Join(t.TempDir(), "out")
	r, err := fstree.Extract(t.Context(), m.FS, "folder/inner", out, fstree.Options{})
	if err != nil || r.Files != 2 || r.Folders != 1 || r.Links != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if target, err := os.Readlink(out + "/link"); target != "../log" {
		t.Errorf("link to %q, %v", target, err)
	}
	if _, err := fstree.Extract(t.Context(), m.FS, "folder", out, fstree.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into a folder that is there: %v", err)
	}
	if _, err := fstree.Extract(t.Context(), m.FS, "nothing", out+"2", fstree.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := fstree.Extract(t.Context(), m.FS, "folder/su", out+"3", fstree.Options{}); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(out + "3"); err != nil || fi.Mode() != 0o755 {
		t.Errorf("a setuid file of somebody else: %v, %v", fi.Mode(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fstree.Extract(ctx, m.FS, "folder", out+"4", fstree.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestEscape extracts links that lead out of the folder, and a folder where
// they are: nothing follows them.
func TestEscape(t *testing.T) {
	tree := imagetest.Small(t)
	victim := t.TempDir()
	tree.Symlink(victim, "out")
	tree.Symlink("../../..", "up")
	m := open(t, images(t, tree.Dir)["ext4"])
	if _, err := fstree.Extract(t.Context(), m.FS, "/", filepath.Join(t.TempDir(), "x"), fstree.Options{}); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(victim); err != nil || len(list) > 0 {
		t.Errorf("%v in another folder, %v", list, err)
	}
}

// TestOpen opens plain and sparse images of both kinds, and what is none.
func TestOpen(t *testing.T) {
	tree := imagetest.Small(t)
	for name, image := range images(t, tree.Dir) {
		f, err := os.Open(image)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		m, err := sparse.Scan(t.Context(), f, fi.Size(), 4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		packed := filepath.Join(t.TempDir(), "sparse")
		out, err := os.Create(packed)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := m.WriteTo(out); err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(name, "-")
		if m := open(t, packed); m.Kind != kind {
			t.Errorf("%s: kind %s", name, m.Kind)
		} else {
			tree.Compare(t, m.FS, "lost+found")
		}
	}
	for _, b := range [][]byte{nil, []byte("x"), make([]byte, 4096), bytes.Repeat([]byte{0x3a, 0xff, 0x26, 0xed}, 1000)} {
		if m, err := fstree.Open(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%d bytes that are no image are of kind %s", len(b), m.Kind)
		}
	}
}

// TestCompare compares an image with others of the same files, and of other ones.
func TestCompare(t *testing.T) {
	tree := imagetest.Small(t)
	tree.File("folder/gone", 0o644, []byte("gone"))
	tree.Mkdir("was/folder", 0o755)
	tree.Symlink("there", "moved")
	old := images(t, tree.Dir)
	check := func(b string, want ...string) {
		t.Helper()
		var got []string
		err := fstree.Compare(t.Context(), open(t, old["erofs-lz4"]).FS, open(t, b).FS, func(d fstree.Difference) error {
			got = append(got, describe(d))
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	check(old["erofs-parts"])
	check(old["ext4"], "+/lost+found")
	if err := errors.Join(os.RemoveAll(tree.Dir+"/was"), os.Remove(tree.Dir+"/folder/gone"), os.Remove(tree.Dir+"/moved")); err != nil {
		t.Fatal(err)
	}
	tree.File("was", 0o600, []byte("a file"))
	tree.File("folder/short", 0o700, []byte("other"))
	tree.File("folder/zeros", 0o444, append(make([]byte, 29_999), 1))
	tree.Mkdir("folder/new", 0o755)
	tree.File("folder/new/x", 0o644, nil)
	tree.Symlink("here", "moved")
	check(images(t, tree.Dir)["erofs-plain"],
		"-/folder/gone", "+/folder/new", "+/folder/new/x",
		"~/folder/short mode -rwxr-xr-x>-rwx------ size 5000>5", "~/folder/zeros data >",
		"~/moved target there>here", "~/was type folder>file", "-/was/folder")
}

func describe(d fstree.Difference) string {
	switch {
	case d.Old == nil:
		return "+" + d.Path
	case d.New == nil:
		return "-" + d.Path
	}
	s := "~" + d.Path
	for _, c := range d.Changes {
		s += fmt.Sprintf(" %s %s>%s", c.Name, c.Old, c.New)
	}
	return s
}

// TestLarge extracts more than 1 GiB, most of it holes.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("an image of a GiB")
	}
	const size = 1<<30 + 4321
	tree := imagetest.Small(t)
	tree.Sparse("large", size)
	image := filepath.Join(t.TempDir(), "image")
	imagetest.Run(t, "mke2fs", "-t", "ext4", "-b", "4096", "-q", "-F", "-d", tree.Dir, image, "1500M")
	packed := filepath.Join(t.TempDir(), "packed")
	imagetest.Run(t, "mkfs.erofs", "-zlz4", "-C1048576", "--quiet", "--preserve-mtime", packed, tree.Dir)
	for _, name := range []string{image, packed} {
		m := open(t, name)
		out := filepath.Join(t.TempDir(), "out")
		if _, err := fstree.Extract(t.Context(), m.FS, "/", out, fstree.Options{}); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(out + "/large")
		if err != nil || fi.Size() != size {
			t.Fatalf("%v, %v", fi, err)
		}
		if used(t, out+"/large") > 1<<20 {
			t.Errorf("%d bytes of holes", used(t, out+"/large"))
		}
		for _, off := range []int64{0, 1 << 20, 3<<20 + 7, size - 10} {
			checkAt(t, m.FS, "large", out, off)
		}
	}
}

// checkAt looks for the text that a sparse file has at off, in the image and
// in what was extracted.
func checkAt(t *testing.T, f *fsimage.FS, name, dir string, off int64) {
	t.Helper()
	n, err := f.Lookup(name, true)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var a, b [10]byte
	if err := errors.Join(readat.Full(f.Data(n), a[:], off), readat.Full(file, b[:], off)); err != nil {
		t.Fatal(err)
	}
	if string(a[:]) != "not a hole" || a != b {
		t.Errorf("at %d: %q in the image, %q extracted", off, a, b)
	}
}
