package readat

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// reader answers a read with what it holds.
type reader struct {
	n   int
	err error
}

func (r reader) ReadAt([]byte, int64) (int, error) { return r.n, r.err }

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
