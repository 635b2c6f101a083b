package storage_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"mios"
	"mios/internal/testkit"
	"mios/storage"
	"mios/storage/blob"
	"mios/storage/blob/blobtest"
	"mios/storage/tree"
	"mios/storage/tree/treetest"
)

// backends are the kinds of storage that all tests here run on.
var backends = map[string]struct {
	records, files func(t *testing.T) string // URLs of new and empty ones
}{
	"SQLite+folder": {
		func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/records.db" },
		func(t *testing.T) string { return "file:" + t.TempDir() + "/files" },
	},
	"PostgreSQL+S3": {
		func(t *testing.T) string { return testkit.Postgres(t) },
		func(t *testing.T) string { return testkit.S3(t) },
	},
}

func openTree(t *testing.T, url string) tree.Tree {
	t.Helper()
	tr, err := storage.Tree(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func openBlobs(t *testing.T, url string) blob.Store {
	t.Helper()
	s, err := storage.Blobs(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestURLs(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{dir + "/a", "file:" + dir + "/b", "file://" + dir + "/c"} {
		tr := openTree(t, url)
		if err := tr.Create(t.Context(), "f", strings.NewReader("x")); err != nil {
			t.Error(err)
		}
		if _, _, err := openBlobs(t, url+"/blobs").Put(t.Context(), strings.NewReader("x"), mios.Digest{}); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, err := os.Stat(dir + "/" + name + "/f"); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{"", "file:", "file://", "http://x/y", "s3://secret:secret@/", "gs://x"} {
		_, errTree := storage.Tree(t.Context(), url)
		_, errBlobs := storage.Blobs(t.Context(), url)
		for _, err := range []error{errTree, errBlobs} {
			if !errors.Is(err, mios.ErrInvalid) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: %v, want invalid", url, err)
			}
		}
	}
	for _, url := range []string{"", "x", "sqlite:", "mysql://x", "postgres://%zz", "sqlite::memory:"} {
		if _, err := storage.Records(t.Context(), url); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Records(%q) = %v, want invalid", url, err)
		}
	}
}

// badNetwork returns the URL of what is at an S3 URL behind a network on which
// requests do not arrive, answers get lost, and connections break in the middle.
func badNetwork(t *testing.T, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { // the host stays, for it is signed
			r.Out.URL.Scheme, r.Out.URL.Host = "http", server
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { panic(http.ErrAbortHandler) },
	}
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 7 {
		case 1:
			http.Error(w, "<Error><Code>SlowDown</Code></Error>", http.StatusServiceUnavailable)
		case 3:
			panic(http.ErrAbortHandler)
		case 5: // it is done, and nobody is told
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case 6:
			proxy.ServeHTTP(&short{ResponseWriter: w, left: 1000}, r)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	u.Host = srv.Listener.Addr().String()
	return u.String()
}

// short breaks the connection after so many bytes.
type short struct {
	http.ResponseWriter
	left int
}

func (s *short) Write(p []byte) (int, error) {
	if len(p) > s.left {
		s.ResponseWriter.Write(p[:s.left])
		s.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	s.left -= len(p)
	return s.ResponseWriter.Write(p)
}

func TestBadNetwork(t *testing.T) {
	t.Run("Tree", func(t *testing.T) {
		treetest.Run(t, func(t *testing.T) tree.Tree { return openTree(t, badNetwork(t, testkit.S3(t))) })
	})
	t.Run("Blobs", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) func() blob.Store {
			url := badNetwork(t, testkit.S3(t))
			return func() blob.Store { return openBlobs(t, url) }
		})
	})
}
