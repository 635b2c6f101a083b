package erofs_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/erofs"
	"mios/format/fsimage"
	"mios/format/fsimage/imagetest"
)

// made makes an image of a folder.
func made(tb testing.TB, dir, options string) *imagetest.Memory {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "image")
	imagetest.Run(tb, "mkfs.erofs", append(strings.Fields(options), "--quiet", "--preserve-mtime", name, dir)...)
	return imagetest.Read(tb, name)
}

// edit opens an editor of an image.
func edit(tb testing.TB, m *imagetest.Memory, o fsimage.EditOptions) *erofs.Editor {
	tb.Helper()
	e, err := erofs.NewEditor(m, int64(len(m.B)), o)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func commit(tb testing.TB, m *imagetest.Memory, e *erofs.Editor) {
	tb.Helper()
	if size, err := e.Commit(); err != nil || size != int64(len(m.B)) {
		tb.Fatalf("Commit = %d, %v; the image has %d bytes", size, err, len(m.B))
	}
}

// mutate makes rounds of random changes, and compares after each with the model,
// as our reader and as fsck.erofs see it.
func mutate(t *testing.T, m *imagetest.Memory, rounds, each int, theirs bool) {
	f, err := erofs.Open(m, int64(len(m.B)))
	if err != nil {
		t.Fatal(err)
	}
	model, err := imagetest.ModelOf(f.FS)
	if err != nil {
		t.Fatal(err)
	}
	u := &imagetest.Mutator{Model: model, R: rand.New(rand.NewPCG(7, uint64(len(m.B)))), Most: 150_000}
	for round := range rounds {
		e := edit(t, m, fsimage.EditOptions{})
		for range each {
			if what, err := u.Change(e); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		commit(t, m, e)
		f, err := erofs.Open(m, int64(len(m.B)))
		if err != nil {
			t.Fatal(err)
		}
		u.Model.Compare(t, f.FS)
		if theirs {
			fsck(t, m, u.Model, round == rounds-1)
		} else if round == rounds-1 {
			u.Model.Mount(t, "erofs", m.Save(t))
		}
	}
}

// fsck has fsck.erofs look at an image, and at all data in it.
func fsck(t *testing.T, m *imagetest.Memory, model imagetest.Model, extract bool) {
	t.Helper()
	image := m.Save(t)
	if !extract {
		imagetest.Run(t, "fsck.erofs", image)
		return
	}
	model.Mount(t, "erofs", image)
	out := filepath.Join(t.TempDir(), "out")
	imagetest.Run(t, "fsck.erofs", "--extract="+out, "--no-preserve-owner", image)
	model.CompareDir(t, out)
}

// TestEdit changes images of all layouts at random.
func TestEdit(t *testing.T) {
	tree := imagetest.New(t)
	for i, options := range []string{
		"", "-zlz4", "-zlz4hc -C65536", "-zlz4 -Elegacy-compress", "-zlz4 -Eztailpacking -C65536",
		"--chunksize=4096", "-Eforce-inode-blockmap --chunksize=16384", "-Eforce-inode-extended", "-Enoinline_data -Enosbcrc", "-x0", "-T0",
	} {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(options, func(t *testing.T) { mutate(t, made(t, tree.Dir, options), 5, 12, true) })
	}
}

// TestEditVectors changes images that Debian's mkfs.erofs cannot make.
func TestEditVectors(t *testing.T) {
	for name, b := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "metabox") {
				if _, err := erofs.NewEditor(&imagetest.Memory{B: b}, int64(len(b)), fsimage.EditOptions{}); err == nil {
					t.Error("an editor of an image with a metabox")
				}
				return
			}
			mutate(t, &imagetest.Memory{B: bytes.Clone(b)}, 10, 5, false)
		})
	}
}

// TestEditLittle replaces a file of 1 MiB by another one: no more changes than
// the file, its inode and the superblock.
func TestEditLittle(t *testing.T) {
	tree := imagetest.New(t)
	r := rand.New(rand.NewPCG(9, 9))
	big := func() []byte {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	tree.File("system/big", 0o644, big())
	for _, options := range []string{"", "-zlz4hc -C65536", "--chunksize=65536"} {
		m := made(t, tree.Dir, options)
		old := bytes.Clone(m.B)
		again := &imagetest.Memory{B: bytes.Clone(old)}
		data := big()
		for _, m := range []*imagetest.Memory{m, again} {
			e := edit(t, m, fsimage.EditOptions{MaxSize: int64(len(old))})
			if err := e.Replace("system/big", bytes.NewReader(data), int64(len(data))); err != nil {
				t.Fatal(err)
			}
			commit(t, m, e)
		}
		if n := imagetest.Changed(old, m.B, 4096); n > 256+2 {
			t.Errorf("%q: %d blocks changed of a file of 256", options, n)
		}
		if !bytes.Equal(m.B, again.B) {
			t.Errorf("%q: other bytes when it is done again", options)
		}
	}
}

// TestEditPacks replaces and adds files that compress well in images of which the
// files are compressed, or are not.
func TestEditPacks(t *testing.T) {
	tree := imagetest.New(t)
	r := rand.New(rand.NewPCG(4, 4))
	var text bytes.Buffer
	for text.Len() < 3_000_000 {
		fmt.Fprintf(&text, "line %d of %d; ", text.Len(), r.IntN(1000))
	}
	tree.File("system/big", 0o644, text.Bytes()[:1_500_000])
	data := append(bytes.Clone(text.Bytes()), make([]byte, 3<<20)...)
	for options, blocks := range map[string]int{"-zlz4hc": 1, "-zlz4hc -C65536": 16, "-zlz4 -Elegacy-compress": 0, "": 0} {
		m := made(t, tree.Dir, options)
		before := len(m.B)
		e := edit(t, m, fsimage.EditOptions{})
		for _, err := range []error{
			e.Replace("system/big", bytes.NewReader(data), int64(len(data))),
			e.Add("system/new", fsimage.Attr{Mode: 0o600}, bytes.NewReader(data[100_000:]), int64(len(data)-100_000)),
			e.Replace("system/link", bytes.NewReader(data), int64(len(data))), // which has another name
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		commit(t, m, e)
		f, err := erofs.Open(m, int64(len(m.B)))
		if err != nil {
			t.Fatal(err)
		}
		model, err := imagetest.ModelOf(f.FS)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][]byte{"system/big": data, "system/new": data[100_000:], "system/same": data} {
			if model[name].Data != sha256.Sum256(want) {
				t.Errorf("%q: %s holds other data", options, name)
			}
			n, err := f.Lookup(name, false)
			if err != nil {
				t.Fatal(err)
			}
			packed, most := int64(0), int64(0)
			for x, err := range n.Extents(0) {
				if err != nil {
					t.Fatal(err)
				}
				if x.Codec == fsimage.LZ4 {
					packed, most = packed+x.Len, max(most, x.Size/4096)
				}
			}
			if all := int64(len(want)); blocks > 0 && name != "system/same" && (packed < all*9/10 || most != int64(blocks)) || (blocks == 0 || name == "system/same") && packed > 0 {
				t.Errorf("%q: %d of %d bytes of %s are packed, into pieces of %d blocks at most", options, packed, all, name, most)
			}
		}
		if grown := len(m.B) - before; blocks > 0 && grown > len(data)*2 {
			t.Errorf("%q: grown by %d bytes, for %d", options, grown, 3*len(data))
		}
		fsck(t, m, model, true)
	}
}

// TestEditRefused has an editor refuse what it must.
func TestEditRefused(t *testing.T) {
	m := made(t, imagetest.Small(t).Dir, "")
	imagetest.CheckErrors(t, edit(t, m, fsimage.EditOptions{}))
	e := edit(t, m, fsimage.EditOptions{MaxSize: int64(len(m.B)) + 4096})
	err := e.Add("folder/x", fsimage.Attr{}, bytes.NewReader(make([]byte, 8192)), 8192)
	if want := fmt.Sprint("where ", len(m.B)/4096+1, " may be: no space left"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// editAll makes changes of all kinds.
func editAll(b []byte) error {
	return imagetest.EditAll(withSum(b), func(f fsimage.File, size int64, o fsimage.EditOptions) (fsimage.Editor, error) {
		return erofs.NewEditor(f, size, o)
	})
}

func TestEditHostile(t *testing.T) {
	all := vectors(t)
	for _, name := range []string{"lz4-dedupe", "lz4-fragments", "48bit-plain", "blocks-512"} { // no two alike
		b, ok := all[name]
		if !ok {
			t.Fatalf("no image %s", name)
		}
		if err := editAll(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		t.Run(name, func(t *testing.T) { imagetest.Hostile(t, b, editAll, erofs.ErrUnsupported) })
	}
}

func FuzzEdit(f *testing.F) {
	for _, b := range vectors(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { imagetest.Refused(t, editAll(b), erofs.ErrUnsupported) })
}
