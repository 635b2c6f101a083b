package ext4_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/ext4"
	"mios/format/fsimage/imagetest"
)

// readAll reads an image, and all that is in it.
func readAll(b []byte) error {
	f, err := ext4.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	return imagetest.ReadAll(f.FS, int64(len(b)))
}

// small are images of the small tree: with checksums, without, and old.
func small(tb testing.TB) map[string][]byte {
	tree := imagetest.Small(tb)
	out := map[string][]byte{}
	for _, options := range []string{
		"-t ext4 -O ^has_journal",
		"-t ext4 -O ^has_journal,^metadata_csum,^resize_inode,inline_data",
		"-t ext2 -O ^resize_inode",
	} {
		name := filepath.Join(tb.TempDir(), "image")
		args := append(strings.Fields(options), "-q", "-F", "-b", "1024", "-N", "32", "-d", tree.Dir, name, "400k")
		imagetest.Run(tb, "mke2fs", args...)
		b, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		out[options] = b
	}
	return out
}

func TestHostile(t *testing.T) {
	for name, b := range small(t) {
		t.Run(name, func(t *testing.T) {
			if err := readAll(b); err != nil {
				t.Fatal(err)
			}
			imagetest.Hostile(t, b, readAll, ext4.ErrUnsupported, ext4.ErrJournal)
		})
	}
}

func FuzzOpen(f *testing.F) {
	for _, b := range small(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		imagetest.Refused(t, readAll(b), ext4.ErrUnsupported, ext4.ErrJournal)
	})
}
