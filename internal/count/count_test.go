package count

import (
	"io"
	"testing"
)

// short writes half of what it is given.
type short struct{}

func (short) Write(b []byte) (int, error) { return len(b) / 2, io.ErrShortWrite }

// TestWriter counts what was written, and not what was to be.
func TestWriter(t *testing.T) {
	w := &Writer{W: io.Discard}
	for range 3 {
		if n, err := w.Write(make([]byte, 10)); n != 10 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	w.W = short{}
	if n, err := w.Write(make([]byte, 10)); n != 5 || err != io.ErrShortWrite {
		t.Errorf("a short Write = %d, %v", n, err)
	}
	if w.N != 35 {
		t.Errorf("%d bytes were counted, want 35", w.N)
	}
}
