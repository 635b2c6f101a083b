package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mios/internal/testkit"
	"mios/publish/app"
	"mios/serve"
)

// head is that of a PATCH by HTTP/1.
func (d *desk) head(at string, offset, length int, more string) string {
	return fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\nUpload-Offset: %d\r\nContent-Length: %d\r\n%s\r\n",
		at, d.ada, tusType, offset, length, more)
}

// logged waits until the log has n lines on PATCHes of an upload, and returns the
// last.
func (d *desk) logged(at string, n int) string {
	d.Helper()
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(time.Millisecond) {
		var lines []string
		for line := range strings.Lines(d.log.String()) {
			if strings.Contains(line, "method=PATCH path="+at) {
				lines = append(lines, line)
			}
		}
		if len(lines) >= n {
			return lines[n-1]
		}
		if time.Now().After(deadline) {
			d.Fatalf("%d PATCHes of %s are logged, want %d:\n%s", len(lines), at, n, d.log.String())
		}
	}
}

// reset ends a connection by RST, without a word.
func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// TestTusReset resets connections in the middle of a PATCH. What reached the server
// is kept, even if the reset was there before it took the connection; the log has
// one line for each request whose head came, which blames nobody here; and a head
// that did not come whole is no request, and leaves nothing.
func TestTusReset(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := d.version(1)
	at := d.begin(d.ada, len(b), "")
	offset, requests := 0, 0
	for _, tt := range []struct {
		name   string
		n      int    // bytes of the body that are sent
		early  bool   // the reset comes before the server takes the connection
		cut    int    // bytes of the head that are not sent
		header string // more of the head
		kept   bool
	}{
		{"in the body", 100, false, 0, "", true},
		{"before the body", 0, false, 0, "", true},
		{"before it is taken", 100, true, 0, "", true},
		{"in the head", 0, false, 30, "", false},
		{"in the head, before it is taken", 0, true, 2, "", false},
		{"with a checksum of all", 100, false, 0, "Upload-Checksum: sha1 " + base64.StdEncoding.EncodeToString(make([]byte, 20)) + "\r\n", false},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := serve.NewServer(d.service.Handler(), slog.New(slog.DiscardHandler))
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if !tt.early {
			go srv.Serve(l)
		}
		head := d.head(at, offset, len(b)-offset, tt.header)
		if _, err := c.Write(append([]byte(head[:len(head)-tt.cut]), b[offset:offset+tt.n]...)); err != nil {
			t.Fatal(err)
		}
		reset(c)
		if tt.early {
			go srv.Serve(l)
		}
		if tt.cut == 0 {
			requests++
			if line := d.logged(at, requests); !strings.Contains(line, "level=INFO") || !strings.Contains(line, "status=400") || !strings.Contains(line, "the connection broke") {
				t.Errorf("%s: logged %s", tt.name, line)
			}
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if tt.kept {
			offset += tt.n
		}
		if n := d.offset(d.ada, at); n != offset {
			t.Errorf("%s: the upload is at %d, want %d", tt.name, n, offset)
		}
	}
	if n := strings.Count(d.log.String(), "method=PATCH"); n != requests {
		t.Errorf("%d requests are logged, want %d:\n%s", n, requests, d.log.String())
	}
	if a := d.patch(d.ada, at, offset, bytes.NewReader(b[offset:])); a.StatusCode != 204 {
		t.Errorf("the rest: %s %s", a.Status, a.body)
	}
	var sub app.Submission
	d.call("POST", "/api/v1/submissions", d.ada, `{"uploads":["`+at+`"]}`, 201, &sub)
	if sum := sha256.Sum256(b); sub.Files[0].SHA256 != sum {
		t.Errorf("the file is another one: %s", sub.Files[0].SHA256)
	}
}

// TestTusReset2: the same by HTTP/2, where a stream is reset and not a connection.
func TestTusReset2(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := d.version(1)
	at := d.begin(d.ada, len(b), "")
	s := httptest.NewUnstartedServer(nil)
	s.Config = serve.NewServer(d.service.Handler(), slog.New(slog.DiscardHandler))
	s.Start()
	t.Cleanup(s.Close)
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &p}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, "PATCH", s.URL+at, r)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Authorization": "Bearer " + d.ada, "Tus-Resumable": "1.0.0", "Content-Type": tusType, "Upload-Offset": "0"} {
		req.Header.Set(k, v)
	}
	done := make(chan error, 1)
	go func() {
		_, err := client.Do(req)
		done <- err
	}()
	if _, err := w.Write(b[:100]); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(testkit.Patience); d.offset(d.ada, at) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("the request was answered")
	}
	if line := d.logged(at, 1); !strings.Contains(line, "level=INFO") || !strings.Contains(line, "status=400") || !strings.Contains(line, "broke after 100 bytes") {
		t.Errorf("logged %s", line)
	}
	if a := d.patch(d.ada, at, 100, bytes.NewReader(b[100:])); a.StatusCode != 204 {
		t.Errorf("the rest: %s %s", a.Status, a.body)
	}
}

// TestTusSlow: whose bytes stop coming, or drip, is told so, and can go on.
func TestTusSlow(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.service.SetStall(100 * time.Millisecond)
	b := d.version(1)
	at := d.begin(d.ada, len(b), "")
	for i, drip := range []bool{false, true} {
		offset := d.offset(d.ada, at)
		c, err := net.Dial("tcp", d.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(append([]byte(d.head(at, offset, len(b)-offset, "")), b[offset:offset+50]...)); err != nil {
			t.Fatal(err)
		}
		if drip {
			go func() { // a byte now and then, which is not fast enough
				for _, one := range b[offset+50:] {
					time.Sleep(5 * time.Millisecond)
					if _, err := c.Write([]byte{one}); err != nil {
						return
					}
				}
			}()
		}
		c.SetReadDeadline(time.Now().Add(testkit.Patience))
		answer := make([]byte, 12)
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 408" {
			t.Errorf("drip %v: the answer is %q, %v", drip, answer, err)
		}
		if line := d.logged(at, i+1); !strings.Contains(line, "status=408") || !strings.Contains(line, "level=INFO") {
			t.Errorf("drip %v: logged %s", drip, line)
		}
		if n := d.offset(d.ada, at); n < offset+50 || n >= len(b) {
			t.Errorf("drip %v: the upload is at %d, of %d", drip, n, len(b))
		}
	}
	offset := d.offset(d.ada, at)
	if a := d.patch(d.ada, at, offset, bytes.NewReader(b[offset:])); a.StatusCode != 204 {
		t.Errorf("the rest: %s %s", a.Status, a.body)
	}
}

// TestTusShutdown ends a server while two uploads run: one comes to its end in the
// time that there is, and of the other what came is kept, for the next server.
func TestTusShutdown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := d.version(1)
	quick, slow := d.begin(d.ada, len(b), ""), d.begin(d.ada, len(b), "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve.Run(ctx, serve.NewServer(d.service.Handler(), slog.New(slog.DiscardHandler)), l) }()
	conns := map[string]net.Conn{}
	for _, at := range []string{quick, slow} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(testkit.Patience))
		if _, err := c.Write(append([]byte(d.head(at, 0, len(b), "")), b[:100]...)); err != nil {
			t.Fatal(err)
		}
		conns[at] = c
		for deadline := time.Now().Add(testkit.Patience); d.offset(d.ada, at) != 100; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the upload does not begin")
			}
		}
	}
	stop()
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break // nobody new is let in
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("a server that ends takes connections")
		}
	}
	if _, err := conns[quick].Write(b[100:]); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conns[quick], answer); err != nil || string(answer) != "HTTP/1.1 204" {
		t.Errorf("the upload that ends in time: %q, %v", answer, err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if !strings.Contains(d.log.String(), "method=PATCH path="+slow) {
		t.Error("the server ended, and a request is not at its end")
	}
	if n := d.offset(d.ada, quick); n != len(b) {
		t.Errorf("the upload that ended in time is at %d", n)
	}
	if n := d.offset(d.ada, slow); n != 100 {
		t.Errorf("the upload that was cut off is at %d, want 100", n)
	}
	if a := d.patch(d.ada, slow, 100, bytes.NewReader(b[100:])); a.StatusCode != 204 {
		t.Errorf("the rest, at the next server: %s %s", a.Status, a.body)
	}
}
