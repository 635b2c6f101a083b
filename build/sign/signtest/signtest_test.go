package signtest_test

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/build/fstree"
	"mios/build/image/avbtool"
	"mios/build/sign/signtest"
	"mios/format/apksig"
	"mios/format/avb"
	"mios/format/fsimage/imagetest"
	"mios/format/super"
)

// TestTarget has the other tools say what the folder is.
func TestTarget(t *testing.T) {
	if testing.Short() {
		t.Skip("a build of AOSP, as a folder and packed")
	}
	x := signtest.New(t, signtest.Options{})
	image := func(name string) string { return filepath.Join(x.Dir, "IMAGES", name+".img") }
	t.Run("chain", func(t *testing.T) {
		pub, err := avb.EncodePublicKey(&x.Keys.AVB["testkey_rsa4096"].PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]int{}
		err = avbtool.Verify(context.Background(), image("vbmeta"), avbtool.VerifyOptions{Key: pub, Follow: true}, nil, func(c avbtool.Check) { kinds[c.Kind]++ })
		if want := map[string]int{"vbmeta": 3, "chained": 2, "follow": 2, "hash": 4, "hashtree": 4}; err != nil || !maps.Equal(kinds, want) {
			t.Errorf("Verify = %v after %v, want %v", err, kinds, want)
		}
	})
	t.Run("file systems", func(t *testing.T) {
		for _, name := range []string{"system", "system_ext"} {
			imagetest.Run(t, "e2fsck", "-fn", image(name))
		}
		for _, name := range []string{"product", "vendor"} {
			imagetest.Run(t, "fsck.erofs", image(name))
		}
		compare(t, image("system"), "system", filepath.Join(x.Dir, "SYSTEM"))
		compare(t, image("system_ext"), "", filepath.Join(x.Dir, "SYSTEM_EXT"))
		compare(t, image("product"), "", filepath.Join(x.Dir, "PRODUCT"))
		compare(t, image("vendor"), "", filepath.Join(x.Dir, "VENDOR"))
	})
	t.Run("packages", func(t *testing.T) { packages(t, x) })
	t.Run("super", func(t *testing.T) {
		b, err := os.ReadFile(image("super_empty"))
		if err != nil {
			t.Fatal(err)
		}
		g, m, err := super.ReadEmpty(b)
		if err != nil || g.SlotCount != 3 || m.Flags&super.FlagVirtualAB == 0 || len(m.Partitions) != 8 {
			t.Errorf("ReadEmpty = %+v, %+v, %v", g, m, err)
		}
	})
	t.Run("zip", func(t *testing.T) { zipped(t, x) })
}

// compare compares a folder of an image with one of target-files: data, and
// that each file has a label.
func compare(t *testing.T, image, at, dir string) {
	t.Helper()
	f, size := imagetest.Open(t, image)
	img, err := fstree.Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		name := filepath.ToSlash(filepath.Join(at, rel))
		n, err := img.Lookup(name, false)
		if err != nil {
			return err
		}
		if l, err := fstree.Label(n); err != nil || !strings.HasPrefix(l, "u:object_r:") {
			t.Errorf("%s: label %q, %v", name, l, err)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		files++
		want, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var got bytes.Buffer
		if _, err := img.Copy(&got, n); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: other data than %s (%v)", name, p, err)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files of %s: %v", files, image, err)
	}
}

// packages verifies every APK and APEX, and that META knows it.
func packages(t *testing.T, x *signtest.Target) {
	certs, err := os.ReadFile(filepath.Join(x.Dir, "META/apkcerts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(filepath.Join(x.Dir, "META/apexkeys.txt"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = filepath.WalkDir(x.Dir, func(p string, _ fs.DirEntry, err error) error {
		ext := filepath.Ext(p)
		if err != nil || ext != ".apk" && ext != ".apex" && ext != ".capex" {
			return err
		}
		n++
		if !strings.Contains(string(certs)+string(keys), `name="`+filepath.Base(p)+`"`) {
			t.Errorf("%s: META does not name it", p)
		}
		f, size := imagetest.Open(t, p)
		r, err := apksig.Verify(context.Background(), f, size, apksig.Options{})
		if err != nil || !r.Verified() {
			t.Errorf("%s: %v, %v", p, r, err)
		}
		if strings.Contains(p, "Clock") || ext == ".apex" { // a Java machine each
			imagetest.Run(t, "apksigner", "verify", p)
		}
		return nil
	})
	if err != nil || n < 11 {
		t.Errorf("%d packages: %v", n, err)
	}
}

// zipped compares the zip with the folder: META first, links as links.
func zipped(t *testing.T, x *signtest.Target) {
	r, err := zip.OpenReader(x.Zip(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	links := 0
	for i, f := range r.File {
		if (i == 0) != (f.Name == "META/") {
			t.Errorf("entry %d is %s", i, f.Name)
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(x.Dir, f.Name)
		switch {
		case f.Mode()&fs.ModeSymlink != 0:
			links++
			if want, err := os.Readlink(p); err != nil || want != string(got) {
				t.Errorf("%s: link to %q, want %q (%v)", f.Name, got, want, err)
			}
		case !f.Mode().IsDir():
			if want, err := os.ReadFile(p); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: other data (%v)", f.Name, err)
			}
		}
	}
	if links < 5 {
		t.Errorf("%d links", links)
	}
}
