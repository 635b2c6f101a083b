package ext4_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mios/format/ext4"
	"mios/format/fsimage"
	"mios/format/fsimage/imagetest"
	"mios/internal/readat"
)

// TestBlocks compares which blocks belong to files with what debugfs says.
func TestBlocks(t *testing.T) {
	tree := imagetest.New(t)
	for _, options := range []string{"-t ext4", "-t ext4 -b 4096", "-t ext3 -b 1024"} {
		t.Run(options, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			imagetest.Run(t, "mke2fs", append(strings.Fields(options), "-q", "-F", "-d", tree.Dir, image, "64M")...)
			f := open(t, image)
			for _, name := range []string{"system/random-300001", "system/sparse", "system/text-1", "many", "system/zeros-65536"} {
				n, err := f.Lookup(name, true)
				if err != nil {
					t.Fatal(err)
				}
				var got []int64
				for e, err := range n.Extents(0) {
					if err != nil {
						t.Fatal(err)
					}
					for at := int64(0); e.At != fsimage.Hole && at < e.Len; at += f.BlockSize {
						got = append(got, (e.At+at)/f.BlockSize)
					}
				}
				text := imagetest.Run(t, "debugfs", "-R", "blocks /"+name, image)
				var want []int64
				for word := range strings.FieldsSeq(text[strings.Index(text, "\n")+1:]) {
					block, err := strconv.ParseInt(word, 10, 64)
					if err != nil {
						t.Fatalf("%v: %s", err, text)
					}
					want = append(want, block)
				}
				// debugfs names those of block maps and of trees of extents, too.
				if len(got) < len(want)-16 || slices.ContainsFunc(got, func(b int64) bool { return !slices.Contains(want, b) }) {
					t.Errorf("%s: blocks %v, debugfs says %v", name, got, want)
				}
			}
		})
	}
}

// TestIndexed lists folders with as many entries as make a tree of indexes.
func TestIndexed(t *testing.T) {
	tree := imagetest.Small(t)
	tree.Mkdir("large", 0o755)
	for i := range 1300 {
		tree.Symlink("x", "large/"+strings.Repeat("n", 100)+strconv.Itoa(i))
	}
	for _, options := range []string{"-O metadata_csum,^has_journal", "-O ^metadata_csum,^has_journal"} {
		image := filepath.Join(t.TempDir(), "image")
		args := append(strings.Fields(options), "-t", "ext4", "-b", "1024", "-q", "-F", "-d", tree.Dir, image, "16M")
		imagetest.Run(t, "mke2fs", args...)
		run(t, 1, "e2fsck", "-fyD", image) // makes the indexes; says that it did
		f := open(t, image)
		n, err := f.Lookup("large", true)
		if err != nil {
			t.Fatal(err)
		}
		if flags := n.(interface{ Flags() uint32 }).Flags(); flags&0x1000 == 0 {
			t.Errorf("%s: e2fsck made no index: flags %#x", options, flags)
		}
		tree.Compare(t, f.FS, "lost+found")
	}
}

// run runs a program whose exit status may be up to most.
func run(t *testing.T, most int, name string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := imagetest.Command(t, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() > most {
		t.Fatalf("%s: %v\n%s", name, err, &out)
	}
}

// TestRefused opens images with features that are not read.
func TestRefused(t *testing.T) {
	b := small(t)["-t ext2 -O ^resize_inode"]
	for bit, want := range map[uint32]string{
		0x1: "compression", 0x4: "the journal must be replayed", 0x8: "journal_dev", 0x1000: "dirdata", 0x40000000: "0x40000000",
	} {
		c := bytes.Clone(b)
		binary.LittleEndian.PutUint32(c[1024+96:], binary.LittleEndian.Uint32(c[1024+96:])|bit)
		_, err := ext4.Open(bytes.NewReader(c), int64(len(c)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("feature %#x: %v, want %q", bit, err, want)
		}
		known := ext4.ErrUnsupported
		if bit == 0x4 {
			known = ext4.ErrJournal
		}
		if !errors.Is(err, known) {
			t.Errorf("feature %#x: %v is not %v", bit, err, known)
		}
	}
}

// TestChecksums changes a byte of each kind of metadata that has a checksum.
func TestChecksums(t *testing.T) {
	b := small(t)["-t ext4 -O ^has_journal"]
	f, err := ext4.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := f.Lookup("folder", true)
	if err != nil {
		t.Fatal(err)
	}
	var dir int64
	for e := range folder.Extents(0) {
		dir = e.At
	}
	for what, at := range map[string]int64{
		"superblock": 1024 + 120, "group": 2048 + 14, "CRC-32C is": folder.Info().Off + 16, "folder, byte": dir + 30,
	} {
		c := bytes.Clone(b)
		c[at] ^= 1
		if err := readAll(c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestShared reads an image whose files share blocks, as AOSP's e2fsdroid
// makes them: feature shared_blocks.
func TestShared(t *testing.T) {
	b := bytes.Clone(small(t)["-t ext2 -O ^resize_inode"])
	ro := binary.LittleEndian.Uint32(b[1024+100:])
	binary.LittleEndian.PutUint32(b[1024+100:], ro|0x4000)
	f, err := ext4.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if !f.SharedBlocks() || !slices.Contains(f.Features(), "shared_blocks") {
		t.Errorf("features %v", f.Features())
	}
	log, err := f.Lookup("folder/log", true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.Lookup("folder/again", true)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[again.Info().Off+40:], b[log.Info().Off+40:][:12*4]) // its first twelve blocks
	got, want := make([]byte, 12*1024), make([]byte, 12*1024)
	f, again = reopened(t, b, "folder/again")
	if err := errors.Join(readat.Full(f.Data(log), want, 0), readat.Full(f.Data(again), got, 0)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("shared blocks hold other data")
	}
}

// reopened opens an image that was changed, and looks up a file.
func reopened(t *testing.T, b []byte, name string) (*ext4.FS, fsimage.Node) {
	t.Helper()
	f, err := ext4.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Lookup(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return f, n
}

// TestACL reads access control lists, which ext4 has in a form of its own.
func TestACL(t *testing.T) {
	tree := imagetest.Small(t)
	list := []byte("\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff")
	if err := imagetest.Setxattr(filepath.Join(tree.Dir, "folder/log"), "system.posix_acl_access", list); err != nil {
		t.Skipf("the host takes no access control lists: %v", err)
	}
	image := filepath.Join(t.TempDir(), "image")
	imagetest.Run(t, "mke2fs", "-t", "ext4", "-q", "-F", "-d", tree.Dir, image, "8M")
	tree.Compare(t, open(t, image).FS, "lost+found")
}

// TestFS has testing/fstest look at the view.
func TestFS(t *testing.T) {
	tree := imagetest.Small(t)
	image := filepath.Join(t.TempDir(), "image")
	imagetest.Run(t, "mke2fs", "-t", "ext4", "-q", "-F", "-d", tree.Dir, image, "8M")
	tree.CompareFS(t, open(t, image).FS)
}

// TestEncrypted makes a folder an encrypted one: its names are no text.
func TestEncrypted(t *testing.T) {
	b := bytes.Clone(small(t)["-t ext2 -O ^resize_inode"])
	_, n := reopened(t, b, "folder/inner")
	b[n.Info().Off+33] |= 0x08
	f, n := reopened(t, b, "folder/inner")
	if !n.Info().Encrypted {
		t.Error("not encrypted")
	}
	if _, err := f.Lookup("folder/inner/dGlueQ", true); err != nil { // tiny
		t.Error(err)
	}
	if err := readAll(b); err != nil {
		t.Error(err)
	}
}
