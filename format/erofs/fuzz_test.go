package erofs_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"mios/format/erofs"
	"mios/format/fsimage/imagetest"
)

// readAll reads an image, and all that is in it.
func readAll(b []byte) error {
	f, err := erofs.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	return imagetest.ReadAll(f.FS, int64(len(b)))
}

// withSum returns an image with the right checksum of its superblock, for
// what is behind that to be tried.
func withSum(b []byte) []byte {
	if len(b) < 1024+128 || b[1024+12] > 16 || b[1024+12] < 9 {
		return b
	}
	n := 1 << b[1024+12]
	if n > 1024 {
		n -= 1024
	}
	if len(b) < 1024+n {
		return b
	}
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[1024+4:], 0)
	sum := ^crc32.Update(0, crc32.MakeTable(crc32.Castagnoli), b[1024:1024+n])
	binary.LittleEndian.PutUint32(b[1024+4:], sum)
	return b
}

func TestHostile(t *testing.T) {
	for name, b := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			imagetest.Hostile(t, b, func(b []byte) error { return readAll(withSum(b)) }, erofs.ErrUnsupported)
		})
	}
}

func FuzzOpen(f *testing.F) {
	for _, b := range vectors(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		imagetest.Refused(t, readAll(withSum(b)), erofs.ErrUnsupported)
	})
}
