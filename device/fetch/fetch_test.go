package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"mios"
	"mios/api/repo"
	"mios/device/fetch"
)

// content is what the servers serve: every byte tells its place.
var content = func() []byte {
	b := make([]byte, 100_000)
	for i := range b {
		b[i] = byte(i ^ i>>8)
	}
	return b
}()

// handlers is a network: hosts by name.
type handlers map[string]http.HandlerFunc

// RoundTrip answers without a network, so that time can be a test's own.
func (h handlers) RoundTrip(r *http.Request) (*http.Response, error) {
	f, ok := h[r.URL.Host]
	if !ok {
		return nil, fmt.Errorf("dial %s: connection refused", r.URL.Host)
	}
	w := httptest.NewRecorder()
	f(w, r)
	res := w.Result()
	res.Request = r
	if b, ok := bodies[res.Header.Get("X-Body")]; ok {
		all, _ := io.ReadAll(res.Body)
		res.Body = b(r.Context(), all)
	}
	return res, nil
}

// bodies are ways in which a connection goes wrong.
var bodies = map[string]func(ctx context.Context, b []byte) io.ReadCloser{
	"breaks": func(_ context.Context, b []byte) io.ReadCloser {
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:min(len(b), 7000)]), iotest.ErrReader(errors.New("connection reset"))))
	},
	"stalls": func(ctx context.Context, b []byte) io.ReadCloser {
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:min(len(b), 30000)]), waitReader{ctx, -1}))
	},
	"hangs": func(ctx context.Context, b []byte) io.ReadCloser { return io.NopCloser(waitReader{ctx, -1}) },
	"drips": func(ctx context.Context, b []byte) io.ReadCloser {
		return io.NopCloser(waitReader{ctx, 20 * time.Second})
	},
	"endless": func(ctx context.Context, b []byte) io.ReadCloser { return io.NopCloser(waitReader{ctx, 0}) },
}

// waitReader yields a byte every so often, or never.
type waitReader struct {
	ctx   context.Context
	every time.Duration
}

func (w waitReader) Read(p []byte) (int, error) {
	switch {
	case w.every == 0:
		return len(p), nil
	case w.every < 0:
		<-w.ctx.Done()
		return 0, w.ctx.Err()
	}
	select {
	case <-w.ctx.Done():
		return 0, w.ctx.Err()
	case <-time.After(w.every):
		return 1, nil
	}
}

func good(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(content))
}

func body(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Body", kind)
		good(w, r)
	}
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func client(net handlers, hosts ...string) *fetch.Client {
	c := &fetch.Client{HTTP: net}
	for _, h := range hosts {
		c.Mirrors = append(c.Mirrors, "http://"+h+"/repo/")
	}
	return c
}

func TestGet(t *testing.T) {
	big := int64(len(content))
	for _, tt := range []struct {
		name    string
		net     handlers
		mirrors []string
		max     int64
		want    error
		waits   time.Duration // at least
	}{
		{"good", handlers{"a": good}, []string{"a"}, big, nil, 0},
		{"too long", handlers{"a": good}, []string{"a"}, big - 1, repo.ErrLength, 0},
		{"endless, of no stated length", handlers{"a": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Body", "endless")
		}}, []string{"a"}, big, repo.ErrLength, 0},
		{"not there", handlers{"a": status(404)}, []string{"a"}, big, mios.ErrNotFound, 0},
		{"not on the first", handlers{"a": status(404), "b": good}, []string{"a", "b"}, big, nil, 0},
		{"the first is down", handlers{"b": good}, []string{"a", "b"}, big, nil, 0},
		{"one is down, one lacks it", handlers{"b": status(404)}, []string{"a", "b"}, big, mios.ErrNotFound, 0},
		{"one is hostile, one good", handlers{"a": body("endless"), "b": good}, []string{"a", "b"}, big, nil, 0},
		{"all down", handlers{}, []string{"a", "b"}, big, errAny, 7 * time.Second},
		{"server errors", handlers{"a": status(503)}, []string{"a"}, big, errAny, 7 * time.Second},
		{"asked to wait", handlers{"a": status(503, "Retry-After", "100")}, []string{"a"}, big, errAny, 400 * time.Second},
		{"forbidden", handlers{"a": status(403)}, []string{"a"}, big, mios.ErrDenied, 0},
		{"hangs", handlers{"a": body("hangs"), "b": good}, []string{"a", "b"}, big, nil, 30 * time.Second},
		{"drips", handlers{"a": body("drips"), "b": good}, []string{"a", "b"}, big, nil, 30 * time.Second},
		{"breaks", handlers{"a": body("breaks"), "b": good}, []string{"a", "b"}, big, nil, 0},
		{"no mirror", handlers{}, nil, big, mios.ErrInvalid, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				b, err := client(tt.net, tt.mirrors...).Get(t.Context(), "metadata/x.json", tt.max)
				took := time.Since(began)
				switch {
				case tt.want == nil && (err != nil || !bytes.Equal(b, content)):
					t.Errorf("Get = %d bytes, %v", len(b), err)
				case tt.want == errAny && err == nil, tt.want != nil && tt.want != errAny && !errors.Is(err, tt.want):
					t.Errorf("Get = %v, want %v", err, tt.want)
				}
				if took < tt.waits || took > 10*tt.waits+5*time.Second {
					t.Errorf("it took %v, want at least %v", took, tt.waits)
				}
			})
		})
	}
}

var errAny = errors.New("any")

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		name    string
		net     handlers
		mirrors []string
		want    error
	}{
		{"good", handlers{"a": good}, []string{"a"}, nil},
		{"breaks every 7000 bytes", handlers{"a": body("breaks")}, []string{"a"}, nil},
		{"stalls, then the other", handlers{"a": body("stalls"), "b": good}, []string{"a", "b"}, nil},
		{"stalls, again and again", handlers{"a": body("stalls")}, []string{"a"}, nil},
		{"hangs for ever", handlers{"a": body("hangs")}, []string{"a"}, errAny},
		{"not there", handlers{"a": status(404)}, []string{"a"}, mios.ErrNotFound},
		{"ignores ranges", handlers{"a": func(w http.ResponseWriter, r *http.Request) { w.Write(content) }}, []string{"a"}, mios.ErrDenied},
		{"ignores ranges, the other does not", handlers{"a": func(w http.ResponseWriter, r *http.Request) { w.Write(content) }, "b": good}, []string{"a", "b"}, nil},
		{"another range", handlers{"a": status(206, "Content-Range", "bytes 0-9/100000")}, []string{"a"}, mios.ErrDenied},
		{"no range", handlers{"a": status(206)}, []string{"a"}, mios.ErrDenied},
		{"too short", handlers{"a": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(content[:50_000]))
		}}, []string{"a"}, repo.ErrLength},
		{"much too short", handlers{"a": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(content[:5]))
		}}, []string{"a"}, repo.ErrLength},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const from, n = 1234, 90_000
				var b []byte
				r, err := client(tt.net, tt.mirrors...).Open(t.Context(), "os/x", from, n)
				if err == nil {
					b, err = io.ReadAll(r)
					if cerr := r.Close(); cerr != nil {
						t.Error(cerr)
					}
				}
				switch {
				case tt.want == nil && (err != nil || !bytes.Equal(b, content[from:from+n])):
					t.Errorf("Open gave %d bytes, %v", len(b), err)
				case tt.want == errAny && err == nil, tt.want != nil && tt.want != errAny && !errors.Is(err, tt.want):
					t.Errorf("Open gave %v, want %v", err, tt.want)
				case err != nil && !strings.Contains(err.Error(), "os/x"):
					t.Errorf("%q does not say which file", err)
				}
			})
		})
	}
}

func TestRedirects(t *testing.T) {
	to := func(u string) http.HandlerFunc { return status(302, "Location", u) }
	for _, tt := range []struct {
		name string
		net  handlers
		want error
	}{
		{"to the same host", handlers{"a": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/other" {
				w.Header().Set("Location", "/other")
				w.WriteHeader(302)
				return
			}
			good(w, r)
		}}, nil},
		{"to a named host", handlers{"a": to("http://cdn.example/x"), "cdn.example": good}, nil},
		{"to a host that nobody named", handlers{"a": to("http://evil.example/x"), "evil.example": good}, mios.ErrDenied},
		{"to another port of a host with one", handlers{"a": to("http://port.example:81/x"), "port.example:81": good}, mios.ErrDenied},
		{"in a circle", handlers{"a": to("/again")}, mios.ErrDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(tt.net, "a")
			c.Hosts = []string{"cdn.example", "port.example:80"}
			if _, err := c.Get(t.Context(), "x", 1<<20); !errors.Is(err, tt.want) {
				t.Errorf("Get = %v, want %v", err, tt.want)
			}
		})
	}
	c := &fetch.Client{Mirrors: []string{"https://a/"}, Hosts: []string{"cdn.example"}, HTTP: handlers{"a": to("http://cdn.example/x"), "cdn.example": good}}
	if _, err := c.Get(t.Context(), "x", 1<<20); !errors.Is(err, mios.ErrDenied) {
		t.Errorf("Get through a redirect from https to http = %v, want denied", err)
	}
}

// TestOrder: the mirror that worked is asked first from then on.
func TestOrder(t *testing.T) {
	var asked []string
	log := func(name string, h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, name)
			h(w, r)
		}
	}
	c := client(handlers{"a": log("a", status(500)), "b": log("b", good)}, "a", "b")
	for range 3 {
		if _, err := c.Get(t.Context(), "x", 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(asked, ""); got != "abbb" {
		t.Errorf("mirrors asked: %s, want abbb", got)
	}
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(3 * time.Second)
			cancel()
		}()
		began := time.Now()
		_, err := client(handlers{}, "a").Get(ctx, "x", 1)
		if !errors.Is(err, context.Canceled) || time.Since(began) > 4*time.Second {
			t.Errorf("Get = %v after %v, want cancelled after 3s", err, time.Since(began))
		}
	})
}

func TestPaths(t *testing.T) {
	var path string
	c := client(handlers{"a": func(w http.ResponseWriter, r *http.Request) { path = r.URL.EscapedPath() }}, "a")
	if _, err := c.Get(t.Context(), "os/iot/amd64/1+x y-2/payload.bin", 10); err != nil || path != "/repo/os/iot/amd64/1+x%20y-2/payload.bin" {
		t.Errorf("asked for %q, %v", path, err)
	}
	for _, bad := range []string{"", ".", "/x", "../x", "a//b", "a/../b"} {
		if _, err := c.Get(t.Context(), bad, 10); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Get(%q) = %v, want invalid", bad, err)
		}
	}
}

// TestRealServer goes through a socket, with a server that cuts connections.
func TestRealServer(t *testing.T) {
	var cuts atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cuts.Add(1) < 4 {
			w = &cutter{w, 20_000}
		}
		good(w, r)
	}))
	defer s.Close()
	c := &fetch.Client{Mirrors: []string{s.URL}}
	r, err := c.Open(t.Context(), "x", 10, int64(len(content))-10)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(b, content[10:]) || cuts.Load() != 4 {
		t.Errorf("read %d bytes in %d connections, %v", len(b), cuts.Load(), err)
	}
}

// cutter ends a connection after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.Write(b[:c.left])
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}
