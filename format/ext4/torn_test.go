package ext4

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mios"
	"mios/format/fsimage/imagetest"
)

// TestMendTorn changes what a mount changes, without the checksum, and what
// none does.
func TestMendTorn(t *testing.T) {
	for _, tt := range []struct {
		name string
		off  int64 // in the superblock
		b    []byte
		ok   bool
	}{
		{"time of the mount", 0x2c, []byte{1, 2, 3, 4}, true},
		{"needs recovery", 0x60, nil, true},
		{"checksum of another state", 1020, []byte{1, 2, 3, 4}, true},
		{"UUID", 0x68, []byte{1, 2, 3, 4}, false},
		{"number of blocks", 0x04, []byte{1, 2, 3, 4}, false},
		{"blocks of a group", 0x20, []byte{0, 0x40, 0, 0}, false},
		{"features", 0x64, []byte{0xff, 0xff, 0, 0}, false},
		{"magic", 0x38, []byte{0, 0}, false},
		{"nothing", 0, []byte{}, false},
	} {
		name := filepath.Join(t.TempDir(), "img")
		imagetest.Run(t, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "metadata_csum,64bit", name, "160M")
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if tt.b == nil {
			tt.b = make([]byte, 4)
			if _, err := f.ReadAt(tt.b, 1024+tt.off); err != nil {
				t.Fatal(err)
			}
			binary.LittleEndian.PutUint32(tt.b, binary.LittleEndian.Uint32(tt.b)|incompatRecover)
		}
		if _, err := f.WriteAt(tt.b, 1024+tt.off); err != nil {
			t.Fatal(err)
		}
		err = MendTorn(f)
		if !tt.ok {
			if !errors.Is(err, mios.ErrInvalid) {
				t.Errorf("%s: %v, want invalid", tt.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if _, err := Open(f, 160<<20); err != nil && !errors.Is(err, ErrJournal) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.off != 0x60 {
			imagetest.Run(t, "e2fsck", "-fn", name)
		}
	}
}
