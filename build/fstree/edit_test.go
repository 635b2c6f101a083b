package fstree_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/build/fstree"
	"mios/format/fsimage"
	"mios/format/fsimage/imagetest"
)

// label is the attributes of a file with a SELinux label.
func label(name string) []fsimage.Xattr {
	return []fsimage.Xattr{{Name: "security.selinux", Value: []byte("u:object_r:" + name + ":s0\x00")}}
}

// change makes changes of all kinds; the new data of a file is made of the old.
func change(old *fsimage.FS, e fsimage.Editor) error {
	n, err := old.Lookup("folder/log", false)
	if err != nil {
		return err
	}
	app := fsimage.Attr{Mode: 0o755, GID: 2000, Xattrs: label("system_file")}
	return errors.Join(
		e.Replace("folder/log", io.MultiReader(strings.NewReader("signed\n"), old.Data(n)), n.Info().Size+7),
		e.Mkdir("app", app),
		e.Add("app/x.apk", fsimage.Attr{Mode: 0o644, Xattrs: label("system_file")}, bytes.NewReader(make([]byte, 100_000)), 100_000),
		e.Symlink("../folder/log", "app/log", fsimage.Attr{Xattrs: label("system_file")}),
		e.Remove("folder/inner"),
		e.Remove("folder/again"),
		e.Add("folder/again", fsimage.Attr{Mode: 0o600}, strings.NewReader("new"), 3),
	)
}

var changes = []string{
	"+/app", "+/app/log", "+/app/x.apk", "-/folder/inner", "-/folder/inner/empty", "-/folder/inner/link", "-/folder/inner/tiny",
}

// TestEdit edits images of all kinds, plain and sparse, with a tail behind the file system, to other
// names and in place.
func TestEdit(t *testing.T) {
	tree := imagetest.Small(t)
	for name, image := range images(t, tree.Dir) {
		t.Run(name, func(t *testing.T) {
			old, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			kind, _, _ := strings.Cut(name, "-")
			before := open(t, image)
			withTail := filepath.Join(t.TempDir(), "tail")
			if err := os.WriteFile(withTail, append(bytes.Clone(old), bytes.Repeat([]byte("AVBf"), 50_000)...), 0o640); err != nil {
				t.Fatal(err)
			}
			out, packed := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "packed")
			for _, step := range []struct {
				in, out string
				sparse  bool
			}{{withTail, out, false}, {withTail, packed, true}, {withTail, withTail, false}} {
				r, err := fstree.Edit(t.Context(), step.in, step.out, change, fstree.EditOptions{Sparse: step.sparse})
				if err != nil {
					t.Fatal(err)
				}
				after := open(t, step.out)
				if r.Kind != kind || r.Size != after.Size {
					t.Errorf("%+v, the image has %d bytes", r, after.Size)
				}
				compareEdited(t, before, after)
			}
			fi, err := os.Stat(out)
			if err != nil || fi.Size() != open(t, out).Size || fi.Mode() != 0o640 {
				t.Errorf("%v of %d bytes, %v", fi.Mode(), fi.Size(), err)
			}
			again := filepath.Join(t.TempDir(), "again")
			if _, err := fstree.Edit(t.Context(), packed, again, func(*fsimage.FS, fsimage.Editor) error { return nil }, fstree.EditOptions{}); err != nil {
				t.Fatal(err)
			}
			sameFile(t, out, again)
			sameFile(t, out, withTail)
		})
	}
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", a, b)
	}
}

// compareEdited says whether an image was changed as change does, and not
// otherwise.
func compareEdited(t *testing.T, before, after *fstree.Image) {
	t.Helper()
	var got []string
	err := fstree.Compare(t.Context(), before.FS, after.FS, func(d fstree.Difference) error {
		if s := describe(d); s[0] != '~' {
			got = append(got, s)
		} else if !strings.HasPrefix(s, "~/folder/log ") && !strings.HasPrefix(s, "~/folder/again ") {
			t.Errorf("changed: %s", s)
		}
		return nil
	})
	slices.Sort(got)
	want := slices.Sorted(slices.Values(changes))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	n, err := after.Lookup("app/x.apk", false)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := fstree.Label(n); err != nil || l != "u:object_r:system_file:s0" {
		t.Errorf("label %q, %v", l, err)
	}
}

// broken is an editor that loses what it is given.
type broken struct{ fsimage.File }

func (b broken) WriteAt(p []byte, off int64) (int, error) {
	if bytes.Contains(p, []byte("lose me")) {
		return len(p), nil
	}
	return b.File.WriteAt(p, off)
}

// TestEditFails has edits fail: nothing is written, or it is said what is wrong.
func TestEditFails(t *testing.T) {
	tree := imagetest.Small(t)
	for name, image := range images(t, tree.Dir) {
		out := filepath.Join(t.TempDir(), "out")
		stop := errors.New("stop")
		_, err := fstree.Edit(t.Context(), image, out, func(_ *fsimage.FS, e fsimage.Editor) error {
			return errors.Join(e.Remove("folder/log"), stop)
		}, fstree.EditOptions{})
		if !errors.Is(err, stop) {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = fstree.Edit(ctx, image, out, func(_ *fsimage.FS, e fsimage.Editor) error {
			cancel()
			return e.Replace("folder/log", strings.NewReader("x"), 1)
		}, fstree.EditOptions{Sparse: true})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: interrupted: %v", name, err)
		}
		if list, err := os.ReadDir(filepath.Dir(out)); err != nil || len(list) > 0 {
			t.Errorf("%s: %v is left, %v", name, list, err)
		}
		m := imagetest.Read(t, image)
		data := strings.Repeat("lose me ", 1000)
		_, err = fstree.EditFile(t.Context(), broken{m}, int64(len(m.B)), func(e fsimage.Editor) error {
			return e.Replace("folder/log", strings.NewReader(data), int64(len(data)))
		}, fsimage.EditOptions{})
		if err == nil || !strings.Contains(err.Error(), "read back: folder/log: it holds other data") {
			t.Errorf("%s: an image that does not take what is written: %v", name, err)
		}
	}
	if _, err := fstree.Edit(t.Context(), tree.Dir+"/folder/log", tree.Dir+"/x", nil, fstree.EditOptions{}); !errors.Is(err, fstree.ErrKind) {
		t.Errorf("of no image: %v", err)
	}
	if _, err := fstree.Edit(t.Context(), tree.Dir+"/none", tree.Dir+"/x", nil, fstree.EditOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}

// TestEditNames replaces a file by each of its names: the last counts.
func TestEditNames(t *testing.T) {
	tree := imagetest.New(t)
	for name, image := range images(t, tree.Dir) {
		_, err := fstree.Edit(t.Context(), image, image, func(_ *fsimage.FS, e fsimage.Editor) error {
			return errors.Join(
				e.Replace("system/same", strings.NewReader("first"), 5), e.Replace("system/link", strings.NewReader("second"), 6))
		}, fstree.EditOptions{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b, err := fs.ReadFile(open(t, image), "system/same"); string(b) != "second" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// TestEditWipes looks for the data of files that were replaced and removed in
// the bytes of the image: it must not be there any more.
func TestEditWipes(t *testing.T) {
	tree := imagetest.Small(t)
	mark := []byte("the certificate of a test key\xfe\xff")
	tree.File("folder/tiny", 0o644, mark)
	tree.File("folder/grows", 0o644, mark)
	tree.File("folder/gone", 0o644, mark)
	tree.File("folder/large", 0o644, append(bytes.Repeat([]byte("x"), 20_000), mark...))
	tree.File("folder/large-gone", 0o644, append(bytes.Repeat([]byte("y"), 20_000), mark...))
	for name, image := range images(t, tree.Dir) {
		b, err := os.ReadFile(image)
		if err != nil || bytes.Count(b, mark) < 5 {
			t.Fatalf("%s: the mark is there %d times, %v", name, bytes.Count(b, mark), err)
		}
		_, err = fstree.Edit(t.Context(), image, image, func(_ *fsimage.FS, e fsimage.Editor) error {
			big := strings.Repeat("z", 9000)
			return errors.Join(
				e.Replace("folder/tiny", strings.NewReader("short"), 5), e.Replace("folder/grows", strings.NewReader(big), 9000),
				e.Replace("folder/large", strings.NewReader("short"), 5), e.Remove("folder/gone"), e.Remove("folder/large-gone"))
		}, fstree.EditOptions{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b, err = os.ReadFile(image); err != nil || bytes.Contains(b, mark) {
			t.Errorf("%s: the mark is still there at %#x, %v", name, bytes.Index(b, mark), err)
		}
	}
}
