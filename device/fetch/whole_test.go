package fetch_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"testing"

	"mios"
	"mios/api/repo"
	"mios/device/fetch"
)

func pack(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestPacked: a whole file may come packed, and is never longer than it may be.
func TestPacked(t *testing.T) {
	text := bytes.Repeat([]byte("metadata "), 1000)
	bomb := pack(t, make([]byte, 64<<20))
	good := pack(t, text)
	for _, tt := range []struct {
		name, encoding string
		body           []byte
		length         string // what the server says
		max            int64
		want           error
	}{
		{"packed", "gzip", good, "", int64(len(text)), nil},
		{"as it is", "", text, "", int64(len(text)), nil},
		{"a byte too long", "gzip", good, "", int64(len(text)) - 1, repo.ErrLength},
		{"a bomb", "gzip", bomb, "", 1 << 10, repo.ErrLength},
		{"a packed file that says it is huge", "gzip", good, strconv.Itoa(1 << 40), 1 << 20, repo.ErrLength},
		{"cut", "gzip", good[:len(good)/2], "", 1 << 20, io.ErrUnexpectedEOF},
		{"no gzip", "gzip", text, "", 1 << 20, gzip.ErrHeader},
		{"a bad sum", "gzip", append(bytes.Clone(good[:len(good)-8]), 0, 0, 0, 0, 0, 0, 0, 0), "", 1 << 20, gzip.ErrChecksum},
		{"an encoding nobody asked for", "br", text, "", 1 << 20, mios.ErrDenied},
	} {
		c := &fetch.Client{Mirrors: []string{"http://a"}, Tries: 1, HTTP: handlers{"a": func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Accept-Encoding"); got != "gzip" {
				t.Errorf("%s: Accept-Encoding %q", tt.name, got)
			}
			if tt.encoding != "" {
				w.Header().Set("Content-Encoding", tt.encoding)
			}
			if tt.length != "" {
				w.Header().Set("Content-Length", tt.length)
			}
			w.Write(tt.body)
		}}}
		b, err := c.Get(t.Context(), "x", tt.max)
		if !errors.Is(err, tt.want) || err == nil && !bytes.Equal(b, text) {
			t.Errorf("%s: Get = %d bytes, %v; want %v", tt.name, len(b), err, tt.want)
		}
	}
}
