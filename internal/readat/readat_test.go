package readat

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reader answers a read with what it holds.
type reader struct {
	n   int
	err error
}

func (r reader) ReadAt([]byte, int64) (int, error) { return r.n, r.err }

func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if _, _, err := Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of what is not there = %v", err)
	}
	if err := os.WriteFile(name, []byte("0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, size, err := Open(name)
	if err != nil || size != 4 {
		t.Fatalf("Open = %d, %v, want 4", size, err)
	}
	defer f.Close()
	b := make([]byte, 2)
	if err := Full(f, b, 2); err != nil || string(b) != "23" {
		t.Errorf("the file's end is %q, %v", b, err)
	}
}

func TestFull(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		r    io.ReaderAt
		want error
	}{
		{strings.NewReader("0123"), nil},
		{strings.NewReader("012"), io.ErrUnexpectedEOF},
		{strings.NewReader(""), io.ErrUnexpectedEOF},
		{reader{4, io.EOF}, nil}, // the last bytes may come with the end
		{reader{3, nil}, io.ErrUnexpectedEOF},
		{reader{3, broken}, broken},
	} {
		if err := Full(tt.r, make([]byte, 4), 0); err != tt.want {
			t.Errorf("Full(%v) = %v, want %v", tt.r, err, tt.want)
		}
	}
}
