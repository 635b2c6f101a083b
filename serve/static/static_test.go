package static_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"mios"
	"mios/serve/static"
	"mios/storage/tree"
	"mios/storage/tree/dir"
)

// A site is a served tree with one small and one large file of each kind.
type site struct {
	*httptest.Server
	service *static.Service
	tree    *dir.Tree
	root    string
}

func newSite(t *testing.T) *site {
	t.Helper()
	root := t.TempDir()
	s := &site{tree: dir.New(filepath.Join(root, "tree")), root: root}
	s.service = &static.Service{Tree: s.tree, Log: slog.New(slog.DiscardHandler), Cache: filepath.Join(root, "encoded"),
		Immutable: func(name string) (string, bool) {
			tag, rest, ok := strings.Cut(filepath.Base(name), ".")
			return tag, ok && rest != "" && strings.HasPrefix(name, "fixed/")
		}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.service.ServeHot(w, r) {
			return
		}
		err := s.service.Serve(w, r, strings.TrimPrefix(r.URL.Path, "/"))
		switch {
		case errors.Is(err, mios.ErrNotFound), errors.Is(err, mios.ErrInvalid):
			http.Error(w, "not found", http.StatusNotFound)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// text is content that gains by an encoding.
func text(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, `{"package":"org.example.app%d","version":%d,"sha256":"%08x"},`, r.IntN(1000), r.IntN(99), r.Uint32())
	}
	return b.Bytes()[:size]
}

// fixed stores a file that never changes.
func (s *site) fixed(t *testing.T, b []byte, ext string) (name string) {
	t.Helper()
	name = "fixed/" + mios.Sum(b).String() + ".x" + ext
	if err := s.tree.Create(t.Context(), name, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return name
}

// point stores a file that may change, last changed so long ago.
func (s *site) point(t *testing.T, name string, old, b []byte, age time.Duration) {
	t.Helper()
	if err := s.tree.Point(t.Context(), name, old, b); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(filepath.Join(s.tree.Root(), filepath.FromSlash(name)), at, at); err != nil {
		t.Fatal(err)
	}
}

// plain asks for no encoding by itself.
var plain = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}

// get makes a request with pairs of header names and values. Nothing is decoded.
func (s *site) get(t *testing.T, method, name string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := plain.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, name, err)
	}
	return res, b
}

// TestSameAsServeContent: every way to keep a file answers every kind of request
// as package http does.
func TestSameAsServeContent(t *testing.T) {
	s := newSite(t)
	for _, size := range []int{0, 1000, 64 << 10, 64<<10 + 1} {
		body := text(uint64(size), size)
		old := fmt.Sprintf("moving/%d", size)
		s.point(t, old, nil, body, time.Hour)
		for _, name := range []string{s.fixed(t, body, ".apk"), old} {
			tag, kind := `"`+mios.Sum(body).String()+`"`, "application/octet-stream"
			if strings.HasSuffix(name, ".apk") {
				kind = "application/vnd.android.package-archive"
			}
			want := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", tag)
				w.Header().Set("Content-Type", kind)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			}))
			for _, header := range [][]string{
				nil, {"Range", "bytes=0-0"}, {"Range", "bytes=10-19"}, {"Range", "bytes=10-"}, {"Range", "bytes=-10"}, {"Range", "bytes=-99999999"},
				{"Range", "bytes=0-99999999999999999999"}, {"Range", "bytes=99999999-"}, {"Range", "bytes=5-4"}, {"Range", "bytes=-0"}, {"Range", "bytes=-"},
				{"Range", "bytes=+1-2"}, {"Range", "bytes= 1-2"}, {"Range", "lines=1-2"}, {"Range", "bytes=0-63999"}, {"Range", "bytes=0-65535"},
				{"Range", "bytes=0-1,4-5"}, {"Range", "bytes=1-2", "If-Range", tag}, {"Range", "bytes=1-2", "If-Range", `"other"`},
				{"If-None-Match", tag}, {"If-None-Match", `"other", ` + tag}, {"If-None-Match", "W/" + tag}, {"If-None-Match", `"other"`}, {"If-None-Match", "*"},
				{"If-Match", tag}, {"If-Match", `"other"`}, {"If-Match", `"other"`, "Accept-Encoding", "zstd, br, gzip"},
				{"Range", "bytes=1-2", "If-None-Match", tag},
			} {
				for _, method := range []string{"GET", "HEAD"} {
					for range 2 { // the second is answered from what the first left
						res, b := s.get(t, method, name, header...)
						ws := &site{Server: want}
						wres, wb := ws.get(t, method, "", header...)
						what := fmt.Sprintf("%s %.20s of %d bytes %q", method, name, size, header)
						if res.StatusCode != wres.StatusCode || res.ContentLength != wres.ContentLength {
							t.Errorf("%s: %s with %d bytes, want %s with %d", what, res.Status, res.ContentLength, wres.Status, wres.ContentLength)
							continue
						}
						for _, k := range []string{"Content-Range", "Etag", "Content-Encoding"} {
							if g, w := res.Header.Get(k), wres.Header.Get(k); g != w {
								t.Errorf("%s: %s %q, want %q", what, k, g, w)
							}
						}
						g, w := parts(t, res, b), parts(t, wres, wb)
						if g != w {
							t.Errorf("%s: body of %d bytes is another one than %d bytes", what, len(g), len(w))
						}
					}
				}
			}
			want.Close()
		}
	}
}

// parts is a body, with the boundary of several ranges taken out.
func parts(t *testing.T, res *http.Response, b []byte) string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" || len(b) == 0 {
		return string(b)
	}
	var out strings.Builder
	r := multipart.NewReader(bytes.NewReader(b), params["boundary"])
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s:", p.Header.Get("Content-Range"))
		io.Copy(&out, p)
	}
}

// TestPointers: what moves is seen at once, by its tag too, however it is kept.
func TestPointers(t *testing.T) {
	s := newSite(t)
	for _, size := range []int{100, 5000, 100_000} {
		name := fmt.Sprintf("index-%d.json", size)
		var old []byte
		for i := range uint64(20) {
			b := text(i, size)
			age := time.Hour // the same time and size as before, as a clock that stands still gives
			if i%2 == 0 {
				age = 0
			}
			s.point(t, name, old, b, age)
			old = b
			for range 2 {
				res, got := s.get(t, "GET", name)
				if tag := `"` + mios.Sum(b).String() + `"`; !bytes.Equal(got, b) || res.Header.Get("Etag") != tag || res.Header.Get("Cache-Control") != "no-cache" {
					t.Fatalf("%s, version %d: %d bytes with tag %s, %q", name, i, len(got), res.Header.Get("Etag"), res.Header.Get("Cache-Control"))
				}
			}
		}
	}
}

func decode(t *testing.T, coding string, b []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(b)
	var err error
	switch coding {
	case "br":
		r = brotli.NewReader(r)
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderMaxWindow(8<<20)); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err == nil {
		b, err = io.ReadAll(r)
	}
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	return b
}

// TestEncodings: they are made once, beside the requests, and a client gets the
// one that it wants most.
func TestEncodings(t *testing.T) {
	s := newSite(t)
	for _, size := range []int{5000, 200_000} {
		body := text(1, size)
		name := s.fixed(t, body, ".json")
		if res, b := s.get(t, "GET", name, "Accept-Encoding", "gzip"); !bytes.Equal(b, body) || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("before any is made: %d bytes, %v", len(b), res.Header)
		}
		if err := s.service.Prepare(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) { // until the first request's have been made, too
			if res, _ := s.get(t, "GET", name, "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") == "gzip" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no encoding is made")
			}
		}
		for _, tt := range []struct{ accept, want string }{
			{"gzip", "gzip"}, {"x-gzip", "gzip"}, {"GZIP", "gzip"}, {"br", "br"}, {"zstd", "zstd"}, {"deflate", ""}, {"identity", ""},
			{"gzip, deflate, br, zstd", "any"}, {"gzip;q=1, br;q=0.5", "gzip"}, {"gzip;q=0.2, zstd;q=0.8, br;q=0", "zstd"},
			{"*", "any"}, {"*;q=0.5, br;q=0", "any"}, {"gzip;q=0", ""}, {"br;q=x", ""}, {"gzip;q=2", ""}, {"identity, gzip;q=0.5", ""}, {"identity;q=0.5, gzip", "gzip"},
			{"", ""}, {",,;;", ""}, {"gzip; q=0.001", "gzip"},
		} {
			res, b := s.get(t, "GET", name, "Accept-Encoding", tt.accept)
			got := res.Header.Get("Content-Encoding")
			if tt.want == "any" { // the smallest
				for _, coding := range []string{"br", "zstd", "gzip"} {
					if _, other := s.get(t, "GET", name, "Accept-Encoding", coding); got == "" || len(other) < len(b) && !strings.Contains(tt.accept, coding+";q=0") {
						t.Errorf("Accept-Encoding %q: %q of %d bytes, and %s has %d", tt.accept, got, len(b), coding, len(other))
					}
				}
			} else if got != tt.want {
				t.Errorf("Accept-Encoding %q: %q, want %q", tt.accept, got, tt.want)
			}
			if !bytes.Equal(decode(t, got, b), body) || res.ContentLength != int64(len(b)) {
				t.Errorf("Accept-Encoding %q: other bytes", tt.accept)
			}
			if res.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("Accept-Encoding %q: Vary %q", tt.accept, res.Header.Get("Vary"))
			}
			tag := res.Header.Get("Etag")
			if plain := `"` + mios.Sum(body).String() + `"`; (tag == plain) != (got == "") {
				t.Errorf("Accept-Encoding %q: tag %s", tt.accept, tag)
			}
			if res, b := s.get(t, "GET", name, "Accept-Encoding", tt.accept, "If-None-Match", tag); res.StatusCode != 304 || len(b) > 0 || res.Header.Get("Etag") != tag {
				t.Errorf("Accept-Encoding %q, again: %s", tt.accept, res.Status)
			}
			if res, _ := s.get(t, "HEAD", name, "Accept-Encoding", tt.accept); res.Header.Get("Etag") != tag || res.ContentLength != int64(len(b)) {
				t.Errorf("Accept-Encoding %q, HEAD: %d bytes, %s", tt.accept, res.ContentLength, res.Header.Get("Etag"))
			}
		}
		if res, b := s.get(t, "GET", name, "Accept-Encoding", "br", "Range", "bytes=7-11"); res.Header.Get("Content-Encoding") != "" || !bytes.Equal(b, body[7:12]) {
			t.Errorf("a range is of the file as it is: %q, %v", b, res.Header)
		}
	}
}

// TestNoEncoding: packages, pictures, what is short and what does not shrink are
// served as they are.
func TestNoEncoding(t *testing.T) {
	s := newSite(t)
	noise := make([]byte, 50_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, tt := range []struct {
		ext  string
		body []byte
		vary bool
	}{
		{".apk", text(1, 9000), false}, {".png", text(2, 9000), false}, {".zip", text(3, 9000), false},
		{".json", text(4, 900), false}, {".json", noise, true},
	} {
		name := s.fixed(t, tt.body, tt.ext)
		if err := s.service.Prepare(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		res, b := s.get(t, "GET", name, "Accept-Encoding", "gzip, br, zstd")
		if !bytes.Equal(b, tt.body) || res.Header.Get("Content-Encoding") != "" || (res.Header.Get("Vary") != "") != tt.vary {
			t.Errorf("%s of %d bytes: %v", tt.ext, len(tt.body), res.Header)
		}
	}
}

// TestNames: nothing but the tree's files is served.
func TestNames(t *testing.T) {
	s := newSite(t)
	if err := os.WriteFile(filepath.Join(s.root, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.point(t, "a/file", nil, []byte("x"), 0)
	if err := os.Symlink("../secret", filepath.Join(s.tree.Root(), ".link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../secret", "a/../../secret", "..%2fsecret", "a/..%2f..%2fsecret", ".link", "a", "a/", "a//file", "a/file/x", "%00", "a%5c..%5csecret", "encoded", "no-such-file"} {
		req := httptest.NewRequest("GET", "/", nil)
		req.URL.Path = "/" + name
		for _, path := range []string{name, strings.ReplaceAll(strings.ReplaceAll(name, "%2f", "/"), "%5c", `\`)} {
			w := httptest.NewRecorder()
			err := s.service.Serve(w, req, path)
			if !errors.Is(err, mios.ErrNotFound) && !errors.Is(err, mios.ErrInvalid) || w.Body.Len() > 0 {
				t.Errorf("Serve(%q) = %v, %q", path, err, w.Body)
			}
		}
	}
}

// counted is a tree that counts what is opened.
type counted struct {
	tree.Tree
	mu    sync.Mutex
	opens int
}

func (c *counted) Open(ctx context.Context, name string) (tree.File, error) {
	c.mu.Lock()
	c.opens++
	c.mu.Unlock()
	return c.Tree.Open(ctx, name)
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opens
}

// TestHot: what never changes is read once, many clients or not.
func TestHot(t *testing.T) {
	s := newSite(t)
	small, large := s.fixed(t, text(1, 1000), ".apk"), s.fixed(t, text(2, 200_000), ".apk")
	c := &counted{Tree: s.tree}
	s.service.Tree = c
	s.get(t, "GET", small)
	s.get(t, "GET", large, "Range", "bytes=5-9")
	before := c.count()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 20 {
				from := i*1000 + n
				s.get(t, "GET", small)
				if _, b := s.get(t, "GET", large, "Range", fmt.Sprintf("bytes=%d-%d", from, from+9)); sha256.Sum256(b) != sha256.Sum256(text(2, 200_000)[from:from+10]) {
					t.Errorf("range at %d: %q", from, b)
				}
			}
		})
	}
	all.Wait()
	if n := c.count() - before; n != 0 {
		t.Errorf("files were opened %d times, want none after the first", n)
	}
}

// torn is a tree whose files change while they are read, a few times.
type torn struct {
	tree.Tree
	left int
}

type tornFile struct {
	tree.File
	t *torn
}

func (c *torn) Open(ctx context.Context, name string) (tree.File, error) {
	f, err := c.Tree.Open(ctx, name)
	return tornFile{f, c}, err
}

func (f tornFile) ReadAt(p []byte, off int64) (int, error) {
	if f.t.left > 0 {
		f.t.left--
		return 0, errors.New("it is another one now")
	}
	return f.File.ReadAt(p, off)
}

// TestChangesWhileRead: a pointer of S3 that moves while it is read is read
// again, and not for ever.
func TestChangesWhileRead(t *testing.T) {
	for _, size := range []int{100, 100_000} {
		for left, want := range map[int]int{0: 200, 2: 200, 1000: 500} {
			s := newSite(t)
			s.point(t, "pointer", nil, text(1, size), 0)
			s.service.Tree = &torn{s.tree, left}
			if res, _ := s.get(t, "GET", "pointer"); res.StatusCode != want {
				t.Errorf("%d bytes that change %d times: %s, want %d", size, left, res.Status, want)
			}
		}
	}
}
