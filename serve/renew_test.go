package serve_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/internal/testkit"
	"mios/serve"
)

// begin serves h until the test ends.
func begin(t *testing.T, srv *http.Server) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve.RunFor(ctx, srv, l, 100*time.Millisecond) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return l
}

// TestRenew replaces the certificate of a server that runs: the next handshake has
// the new one, connections that are there go on, and of a new one that is no good
// the log says why, while the one before is kept.
func TestRenew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCert(t, cert, key, "first.example")
	var log testkit.Buffer
	srv := serve.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }), slog.New(slog.DiscardHandler))
	if err := serve.UseTLSEvery(srv, cert, key, slog.New(slog.NewTextHandler(&log, nil)), 0); err != nil {
		t.Fatal(err)
	}
	l := begin(t, srv)
	shake := func() *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	wants := func(name string) {
		t.Helper()
		if got := shake().ConnectionState().PeerCertificates[0].DNSNames[0]; got != name {
			t.Errorf("the certificate is %s's, want %s's", got, name)
		}
	}
	old := shake()
	wants("first.example")
	// The certificate alone is there already, as between two renames.
	half := t.TempDir()
	newCert, newKey := filepath.Join(half, "cert.pem"), filepath.Join(half, "key.pem")
	writeCert(t, newCert, newKey, "second.example")
	if err := os.Rename(newCert, cert); err != nil {
		t.Fatal(err)
	}
	wants("first.example")
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "private key does not match") {
		t.Errorf("logged: %s", text)
	}
	if err := os.Rename(newKey, key); err != nil {
		t.Fatal(err)
	}
	wants("second.example")
	// A broken one, and none.
	for _, broken := range []func() error{
		func() error { return os.WriteFile(cert, []byte("no certificate"), 0o600) },
		func() error { return os.Remove(key) },
	} {
		before := strings.Count(log.String(), "level=ERROR")
		if err := broken(); err != nil {
			t.Fatal(err)
		}
		wants("second.example")
		wants("second.example")
		if n := strings.Count(log.String(), "level=ERROR") - before; n != 1 {
			t.Errorf("%d errors are logged, want one:\n%s", n, log.String())
		}
	}
	writeCert(t, cert, key, "third.example")
	wants("third.example")
	if _, err := io.WriteString(old, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(old); !strings.HasSuffix(string(b), "hello") {
		t.Errorf("a connection from before: %q, %v", b, err)
	}
}

// TestSlowHeads: whoever is slow before a request is there loses the connection,
// with TLS and without, in whatever it is slow; others are served meanwhile.
func TestSlowHeads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCert(t, cert, key, "first.example")
	for _, secure := range []bool{false, true} {
		log := slog.New(slog.DiscardHandler)
		srv := serve.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }), log)
		if srv.ReadHeaderTimeout <= 0 || srv.ReadHeaderTimeout > 30*time.Second || srv.IdleTimeout <= 0 {
			t.Errorf("it waits %v for a head, and %v for a request", srv.ReadHeaderTimeout, srv.IdleTimeout)
		}
		srv.ReadHeaderTimeout = 300 * time.Millisecond
		srv.IdleTimeout = 300 * time.Millisecond
		words := []string{"", "GET / HTTP/1.1\r\nHost: x\r\nA: ", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM"}
		if secure {
			if err := serve.UseTLS(srv, cert, key, log); err != nil {
				t.Fatal(err)
			}
			words = []string{"", "\x16\x03\x01\x01\x00\x01"} // and of a handshake
		}
		l := begin(t, srv)
		for _, w := range words {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, w); err != nil {
				t.Fatal(err)
			}
			go func() { // drips on
				for range 50 {
					time.Sleep(20 * time.Millisecond)
					if strings.HasSuffix(w, "A: ") {
						if _, err := io.WriteString(c, "a"); err != nil {
							return
						}
					}
				}
			}()
			c.SetReadDeadline(time.Now().Add(testkit.Patience))
			if _, err := io.Copy(io.Discard, c); os.IsTimeout(err) {
				t.Errorf("TLS %v: after %q the connection stays open", secure, w)
			}
		}
	}
}

// TestEnd cuts off a request that does not end, and waits until its handler has
// seen that.
func TestEnd(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	srv := serve.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stop()
		_, err := io.Copy(io.Discard, r.Body)
		time.Sleep(50 * time.Millisecond) // it still has things to do
		ended <- err
	}), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- serve.RunFor(ctx, srv, l, 2*time.Second) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome")
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the handler got a whole body")
		}
	default:
		t.Error("Run did not wait for the handler")
	}
}
