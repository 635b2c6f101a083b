package ext4_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/ext4"
	"mios/format/fsimage"
	"mios/format/fsimage/imagetest"
)

// aosp are the options with which AOSP's build calls mke2fs for a partition that
// is only read.
const aosp = "-t ext4 -b 4096 -I 256 -O ^has_journal,^metadata_csum,^64bit,^resize_inode,uninit_bg,^orphan_file -m 0"

// made makes an image of a folder.
func made(tb testing.TB, dir, options, size string) *imagetest.Memory {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "image")
	args := append(strings.Fields(options), "-q", "-F", "-U", "11111111-2222-3333-4444-555555555555", "-d", dir, name, size)
	imagetest.Run(tb, "mke2fs", args...)
	return imagetest.Read(tb, name)
}

func edit(tb testing.TB, m *imagetest.Memory, o fsimage.EditOptions) *ext4.Editor {
	tb.Helper()
	e, err := ext4.NewEditor(m, int64(len(m.B)), o)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func commit(tb testing.TB, m *imagetest.Memory, e *ext4.Editor) *ext4.FS {
	tb.Helper()
	if size, err := e.Commit(); err != nil || size != int64(len(m.B)) {
		tb.Fatalf("Commit = %d, %v; the image has %d bytes", size, err, len(m.B))
	}
	f, err := ext4.Open(m, int64(len(m.B)))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// fsck has e2fsck look at an image: it must find nothing.
func fsck(tb testing.TB, m *imagetest.Memory) string {
	tb.Helper()
	image := m.Save(tb)
	imagetest.Run(tb, "e2fsck", "-fn", image)
	return image
}

// TestEdit changes images with several sets of features at random.
func TestEdit(t *testing.T) {
	tree := imagetest.New(t)
	for i, tt := range []struct{ options, size string }{
		{aosp, "12M"},
		{"-t ext4", "24M"},
		{"-t ext4 -b 1024 -O ^resize_inode", "14M"},
		{"-t ext4 -b 1024 -I 128 -g 1024 -N 600 -O ^resize_inode", "14M"},
		{"-t ext4 -b 2048 -I 512", "20M"},
		{"-t ext4 -b 65536", "48M"},
		{"-t ext4 -O ^metadata_csum,uninit_bg,64bit", "20M"},
		{"-t ext4 -O ^metadata_csum,^uninit_bg", "20M"},
		{"-t ext4 -O ea_inode,metadata_csum_seed,large_dir,casefold,encrypt,verity", "20M"},
		{"-t ext4 -O meta_bg,^resize_inode -b 1024", "20M"},
		{"-t ext4 -O sparse_super2,^resize_inode", "20M"},
		{"-t ext4 -O ^flex_bg,^has_journal,^sparse_super,^resize_inode -g 2048", "24M"},
		{"-t ext4 -O ^filetype,^dir_index,^huge_file,^large_file", "20M"},
	} {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(strings.ReplaceAll(tt.options, " ", ""), func(t *testing.T) {
			mutate(t, made(t, tree.Dir, tt.options, tt.size), 4, 15, strings.Contains(tt.options, "65536") || strings.Contains(tt.options, "casefold"))
		})
	}
}

// mutate makes rounds of random changes, and compares after each with the model,
// as our reader and as e2fsck see it; at the end as debugfs and, unless it knows no such images, the kernel do.
func mutate(t *testing.T, m *imagetest.Memory, rounds, each int, noKernel bool) {
	fsck(t, m)
	f, err := ext4.Open(m, int64(len(m.B)))
	if err != nil {
		t.Fatal(err)
	}
	model, err := imagetest.ModelOf(f.FS)
	if err != nil {
		t.Fatal(err)
	}
	u := &imagetest.Mutator{Model: model, R: rand.New(rand.NewPCG(8, uint64(len(m.B)))), Most: 150_000, Skip: []string{"lost+found"}}
	for round := range rounds {
		e := edit(t, m, fsimage.EditOptions{})
		for range each {
			what, err := u.Change(e)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		f := commit(t, m, e)
		u.Model.Compare(t, f.FS)
		image := fsck(t, m)
		if round == rounds-1 {
			if !noKernel {
				u.Model.Mount(t, "ext4", image)
			}
			dump(t, image, u.Model)
		}
	}
}

// dump has debugfs write all that is in an image, and compares that.
func dump(t *testing.T, image string, model imagetest.Model) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	imagetest.Run(t, "debugfs", "-R", "rdump / "+out, image)
	special := map[string]bool{}
	for name, e := range model {
		if e.Mode.Type()&^(os.ModeDir|os.ModeSymlink) != 0 { // which rdump leaves out
			special[name] = true
		}
	}
	for name := range special {
		delete(model, name)
	}
	model.CompareDir(t, out)
}

// TestEditLabel reads the label and capability of a new file with debugfs.
func TestEditLabel(t *testing.T) {
	m := made(t, imagetest.Small(t).Dir, aosp, "4M")
	e := edit(t, m, fsimage.EditOptions{})
	a := fsimage.Attr{Mode: 0o644, UID: 1000, GID: 2000, Xattrs: []fsimage.Xattr{{Name: "security.selinux", Value: []byte("u:object_r:system_file:s0\x00")}}}
	if err := errors.Join(e.Mkdir("app", a), e.Add("app/x.apk", a, strings.NewReader("apk"), 3)); err != nil {
		t.Fatal(err)
	}
	commit(t, m, e)
	out := imagetest.Run(t, "debugfs", "-R", "ea_list /app/x.apk", fsck(t, m))
	if !strings.Contains(out, `security.selinux (26) = "u:object_r:system_file:s0\000"`) {
		t.Error(out)
	}
}

// TestEditLittle replaces a file of 1 MiB by another one: no more changes than
// the file, the inode, and zeros where the old one was longer.
func TestEditLittle(t *testing.T) {
	tree := imagetest.New(t)
	big := func(seed uint64, n int) []byte {
		r := rand.New(rand.NewPCG(9, seed))
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	tree.File("system/big", 0o644, big(1, 1<<20))
	m := made(t, tree.Dir, aosp, "16M")
	for size, most := range map[int]int{1 << 20: 256 + 1, 1<<20 - 9000: 254 + 2 + 4, 1<<20 + 9000: 259 + 4} {
		var first []byte
		for range 2 {
			m := &imagetest.Memory{B: bytes.Clone(m.B)}
			old := bytes.Clone(m.B)
			e := edit(t, m, fsimage.EditOptions{MaxSize: int64(len(m.B))})
			if err := e.Replace("system/big", bytes.NewReader(big(2, size)), int64(size)); err != nil {
				t.Fatal(err)
			}
			commit(t, m, e)
			if n := imagetest.Changed(old, m.B, 4096); n > most {
				t.Errorf("%d bytes: %d blocks changed, want %d at most", size, n, most)
			}
			if first != nil && !bytes.Equal(first, m.B) {
				t.Errorf("%d bytes: other bytes when it is done again", size)
			}
			first = m.B
		}
	}
}

// TestEditGrow fills images until they have grown by several groups and
// inodes, and until they may not.
func TestEditGrow(t *testing.T) {
	tree := imagetest.Small(t)
	for _, options := range []string{
		"-t ext4 -b 1024 -g 2048 -N 64 -O ^resize_inode,^has_journal",
		"-t ext4 -b 1024 -g 2048 -N 64 -O ^resize_inode,^has_journal,^metadata_csum,uninit_bg,^64bit",
		"-t ext4 -b 1024 -g 2048 -N 64 -O ^resize_inode,^has_journal,^metadata_csum,^uninit_bg,^flex_bg",
		"-t ext4 -b 1024 -g 2048 -N 64 -O ^resize_inode,^has_journal,sparse_super2",
	} {
		m := made(t, tree.Dir, options, "500k")
		e := edit(t, m, fsimage.EditOptions{})
		for i := range 200 {
			if err := e.Add(fmt.Sprint("file-", i), fsimage.Attr{}, bytes.NewReader(make([]byte, 50_000)), 50_000); err != nil {
				t.Fatal(err)
			}
		}
		f := commit(t, m, e)
		if f.Inodes < 264 || len(m.B) < 9<<20 || len(m.B) > 12<<20 {
			t.Errorf("%d inodes, %d bytes", f.Inodes, len(m.B))
		}
		fsck(t, m)
		e = edit(t, m, fsimage.EditOptions{MaxSize: int64(len(m.B))})
		if err := e.Add("more", fsimage.Attr{}, bytes.NewReader(make([]byte, 1<<20)), 1<<20); !errors.Is(err, fsimage.ErrNoSpace) {
			t.Errorf("an image that may not grow: %v", err)
		}
	}
	m := made(t, tree.Dir, "-t ext4 -b 1024 -g 2048", "4M")
	e := edit(t, m, fsimage.EditOptions{})
	err := e.Add("more", fsimage.Attr{}, bytes.NewReader(make([]byte, 20<<20)), 20<<20)
	if !errors.Is(err, fsimage.ErrNoSpace) || !strings.Contains(err.Error(), "resize2fs") {
		t.Errorf("with resize_inode: %v", err)
	}
}

// TestEditShared changes an image in which two files share their blocks, as
// e2fsdroid makes them.
func TestEditShared(t *testing.T) {
	m := shared(t)
	f, err := ext4.Open(m, int64(len(m.B)))
	if err != nil {
		t.Fatal(err)
	}
	model, err := imagetest.ModelOf(f.FS)
	if err != nil {
		t.Fatal(err)
	}
	if !f.SharedBlocks() || model["a"].Data != model["b"].Data {
		t.Fatal("nothing is shared")
	}
	e := edit(t, m, fsimage.EditOptions{})
	other := bytes.Repeat([]byte("other"), 5000)
	if err := e.Replace("a", bytes.NewReader(other), int64(len(other))); err != nil {
		t.Fatal(err)
	}
	f = commit(t, m, e)
	got, err := imagetest.ModelOf(f.FS)
	if err != nil {
		t.Fatal(err)
	}
	if got["b"].Data != model["b"].Data || got["a"].Data == model["a"].Data {
		t.Error("the file that shared the blocks is another one now")
	}
	fsck(t, m)
}

// TestEditRefused has an editor refuse what it must.
func TestEditRefused(t *testing.T) {
	tree := imagetest.Small(t)
	imagetest.CheckErrors(t, edit(t, made(t, tree.Dir, aosp, "4M"), fsimage.EditOptions{}))
	for options, want := range map[string]string{
		"-t ext4 -O inline_data": "inline_data", "-t ext4 -O bigalloc": "bigalloc", "-t ext4 -O quota": "quota", "-t ext2": "without extents",
	} {
		m := made(t, tree.Dir, options, "8M")
		if _, err := ext4.NewEditor(m, int64(len(m.B)), fsimage.EditOptions{}); !errors.Is(err, ext4.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}

// shared makes an image of two files with the same data, and has the second take the
// blocks of the first, by debugfs; the second's own are free then.
func shared(t *testing.T) *imagetest.Memory {
	t.Helper()
	tree := imagetest.Small(t)
	data := bytes.Repeat([]byte("shared data "), 3000)
	tree.File("a", 0o644, data)
	tree.File("b", 0o644, data)
	m := made(t, tree.Dir, aosp, "4M")
	image := fsck(t, m)
	own := strings.Fields(imagetest.Run(t, "debugfs", "-R", "blocks /b", image))
	imagetest.Run(t, "debugfs", "-w", "-R", "copy_inode /a /b", image)
	for _, block := range own[len(own)-9:] {
		imagetest.Run(t, "debugfs", "-w", "-R", "freeb "+block, image)
	}
	imagetest.Run(t, "debugfs", "-w", "-R", "feature shared_blocks", image)
	if out, err := imagetest.Command(t, "e2fsck", "-fy", image).CombinedOutput(); !strings.Contains(string(out), "Free blocks count wrong") {
		t.Fatalf("e2fsck, for the counts that debugfs left alone: %v\n%s", err, out) // it ends with 1
	}
	return imagetest.Read(t, image)
}

// editAll makes changes of all kinds.
func editAll(b []byte) error {
	return imagetest.EditAll(b, func(f fsimage.File, size int64, o fsimage.EditOptions) (fsimage.Editor, error) {
		return ext4.NewEditor(f, size, o)
	})
}

func TestEditHostile(t *testing.T) {
	for name, b := range editable(t) {
		if err := editAll(b); err != nil && !errors.Is(err, ext4.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
		t.Run(name, func(t *testing.T) { imagetest.Hostile(t, b, editAll, ext4.ErrUnsupported, ext4.ErrJournal) })
	}
}

func FuzzEdit(f *testing.F) {
	for _, b := range editable(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { imagetest.Refused(t, editAll(b), ext4.ErrUnsupported, ext4.ErrJournal) })
}

// editable are small images: with checksums, and without.
func editable(tb testing.TB) map[string][]byte {
	tree := imagetest.Small(tb)
	out := map[string][]byte{}
	for _, options := range []string{
		"-t ext4 -b 1024 -N 32 -O ^has_journal,^resize_inode",
		"-t ext4 -b 1024 -N 32 -O ^has_journal,^resize_inode,^metadata_csum,^64bit",
	} {
		out[options] = made(tb, tree.Dir, options, "400k").B
	}
	return out
}

// TestEditScattered fills the holes between files: extents are a tree of several
// levels then.
func TestEditScattered(t *testing.T) {
	tree := imagetest.Small(t)
	for _, options := range []string{"-t ext4 -b 1024 -N 2000", "-t ext4 -b 1024 -N 2000 -O ^metadata_csum,^64bit"} {
		m := made(t, tree.Dir, options, "5M")
		o := fsimage.EditOptions{MaxSize: int64(len(m.B))}
		e := edit(t, m, o)
		for i := range 1200 {
			if err := e.Add(fmt.Sprint("file-", i), fsimage.Attr{}, strings.NewReader("x"), 1); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, m, e)
		free := int64(binary.LittleEndian.Uint32(m.B[1024+12:])) - 8
		e = edit(t, m, o)
		if err := e.Add("filler", fsimage.Attr{}, bytes.NewReader(make([]byte, free*1024)), free*1024); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < 1100; i += 2 {
			if err := e.Remove(fmt.Sprint("file-", i)); err != nil {
				t.Fatal(err)
			}
		}
		big := bytes.Repeat([]byte("scattered"), 540*1024/9)
		if err := e.Add("big", fsimage.Attr{}, bytes.NewReader(big), int64(len(big))); err != nil {
			t.Fatal(err)
		}
		commit(t, m, e)
		image := fsck(t, m)
		if out := imagetest.Run(t, "debugfs", "-R", "ex /big", image); !strings.Contains(out, "2/ 2") {
			t.Errorf("no tree of two levels:\n%s", out)
		}
		e = edit(t, m, o)
		if err := errors.Join(e.Remove("filler"), e.Replace("big", bytes.NewReader(big[:5000]), 5000)); err != nil {
			t.Fatal(err)
		}
		commit(t, m, e)
		fsck(t, m)
	}
}

// TestEditIndex changes folders with indexes, which e2fsck makes.
func TestEditIndex(t *testing.T) {
	tree := imagetest.Small(t)
	tree.Mkdir("many", 0o755)
	for i := range 1500 {
		tree.File(fmt.Sprint("many/", strings.Repeat("long-", 30), i), 0o644, nil)
	}
	for _, options := range []string{"-t ext4 -b 1024 -N 3000", "-t ext4 -b 1024 -N 3000 -O ^metadata_csum,uninit_bg", "-t ext4 -b 4096 -N 3000"} {
		m := made(t, tree.Dir, options, "8M")
		image := fsck(t, m)
		imagetest.Command(t, "e2fsck", "-fyD", image).Run() // it ends with 1: it changed something
		if out := imagetest.Run(t, "debugfs", "-R", "htree_dump /many", image); !strings.Contains(out, "Number of entries") {
			t.Fatalf("no index:\n%s", out)
		}
		m = imagetest.Read(t, image)
		f, err := ext4.Open(m, int64(len(m.B)))
		if err != nil {
			t.Fatal(err)
		}
		model, err := imagetest.ModelOf(f.FS)
		if err != nil {
			t.Fatal(err)
		}
		e := edit(t, m, fsimage.EditOptions{})
		for i := 0; i < 1500; i += 70 {
			name := fmt.Sprint("many/", strings.Repeat("long-", 30), i)
			if delete(model, name); e.Remove(name) != nil {
				t.Fatal(name)
			}
		}
		model.Compare(t, commit(t, m, e).FS)
		fsck(t, m)
		u := &imagetest.Mutator{Model: model, R: rand.New(rand.NewPCG(1, 1)), Most: 1000, Only: "many"}
		e = edit(t, m, fsimage.EditOptions{})
		for range 60 {
			if what, err := u.Change(e); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		model.Compare(t, commit(t, m, e).FS)
		model.Mount(t, "ext4", fsck(t, m))
	}
}
