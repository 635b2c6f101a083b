package s3

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"mios"
)

// TestPutSettles puts an object on a server that does as it is told, and whose
// answers all get lost.
func TestPutSettles(t *testing.T) {
	for _, tt := range []struct {
		name   string
		there  string // who wrote the object that is there
		writes bool   // the server takes the first
		want   error
	}{
		{"done at first", "", true, nil},
		{"somebody else's", "another", false, mios.ErrConflict},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			writer, puts := tt.there, 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if r.Method == http.MethodHead {
					w.Header().Set(writerHeader, writer)
					return
				}
				if puts++; puts == 1 && tt.writes {
					writer = r.Header.Get(writerHeader)
					io.Copy(io.Discard, r.Body)
				}
				panic(http.ErrAbortHandler)
			}))
			defer srv.Close()
			b, err := Parse("s3://key:secret@" + strings.TrimPrefix(srv.URL, "http://") + "/bucket/prefix?tls=0")
			if err != nil {
				t.Fatal(err)
			}
			err = b.Put(t.Context(), "part", Bytes(make([]byte, 1<<20)), Condition{Absent: true}, false)
			if !errors.Is(err, tt.want) {
				t.Errorf("Put = %v, want %v", err, tt.want)
			}
			mu.Lock()
			defer mu.Unlock()
			if puts < 2 {
				t.Errorf("%d requests: nothing was sent again", puts)
			}
		})
	}
}
