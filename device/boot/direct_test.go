package boot

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestDirect reads the same with and without the page cache, also what was
// just written, and ends where the file does.
func TestDirect(t *testing.T) {
	data := make([]byte, 2<<20+777)
	rand.NewChaCha8([32]byte{1}).Read(data)
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openBlockDevice(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.WriteAt([]byte("new"), 8192); err != nil {
		t.Fatal(err)
	}
	copy(data[8192:], "new")
	room := make([]byte, 4<<20)
	for _, tt := range []struct{ skew, off, n int }{
		{0, 0, 1 << 20}, {0, 4096, 1<<20 + 5}, {0, 1, 1 << 20}, {3, 0, 1 << 20}, {0, 8192, 100}, {0, 1 << 20, 1 << 20}, {0, 0, len(data)},
	} {
		b := room[tt.skew:][:tt.n]
		clear(b)
		if n, err := d.ReadAt(b, int64(tt.off)); err != nil || n != tt.n || !bytes.Equal(b, data[tt.off:][:tt.n]) {
			t.Errorf("ReadAt %d bytes at %d, skewed by %d = %d, %v, or other bytes", tt.n, tt.off, tt.skew, n, err)
		}
	}
	if n, err := d.ReadAt(room, 0); n != len(data) || !errors.Is(err, io.EOF) || !bytes.Equal(room[:n], data) {
		t.Errorf("ReadAt past the end = %d, %v, want %d and EOF", n, err, len(data))
	}
	d.direct.Close() // whatever O_DIRECT has to say, the page cache reads
	if n, err := d.ReadAt(room[:1<<20], 0); err != nil || !bytes.Equal(room[:n], data[:1<<20]) {
		t.Errorf("ReadAt without O_DIRECT = %d, %v", n, err)
	}
}
