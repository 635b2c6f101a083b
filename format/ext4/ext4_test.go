package ext4_test

import (
	"path/filepath"
	"strings"
	"testing"

	"mios/format/ext4"
	"mios/format/fsimage/imagetest"
)

// TestTools compares what mke2fs made, with each of its options that changes
// the format, with the folder that it was made of.
func TestTools(t *testing.T) {
	tree := imagetest.New(t)
	for i, options := range []string{
		"-t ext4",
		"-t ext4 -b 1024",
		"-t ext4 -b 2048 -I 512",
		"-t ext4 -b 65536",
		"-t ext4 -O ^metadata_csum,uninit_bg,^64bit",
		"-t ext4 -O ^metadata_csum,uninit_bg,64bit",
		"-t ext4 -O ^metadata_csum,^uninit_bg",
		"-t ext4 -O inline_data",
		"-t ext4 -O inline_data -b 1024 -I 1024",
		"-t ext4 -O ^extents,^64bit",
		"-t ext4 -O ^extents,^64bit -b 1024",
		"-t ext4 -O ea_inode",
		"-t ext4 -O metadata_csum_seed,large_dir,casefold,encrypt,verity",
		"-t ext4 -O meta_bg,^resize_inode -b 1024",
		"-t ext4 -O sparse_super2,^resize_inode",
		"-t ext4 -O bigalloc",
		"-t ext4 -O ^flex_bg,^has_journal,^sparse_super,^resize_inode",
		"-t ext4 -O ^filetype",
		"-t ext4 -O mmp,quota,project,orphan_file",
		"-t ext3",
		"-t ext2",
		"-t ext2 -b 1024 -I 128 -O ^filetype,^dir_index",
	} {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(strings.ReplaceAll(options, " ", ""), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "image")
			imagetest.Run(t, "mke2fs", append(strings.Fields(options), "-q", "-F", "-d", tree.Dir, name, "64M")...)
			tree.Compare(t, open(t, name).FS, "lost+found")
		})
	}
}

func open(t *testing.T, name string) *ext4.FS {
	t.Helper()
	f, err := ext4.Open(imagetest.Open(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
