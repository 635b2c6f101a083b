package store_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mios/publish/app"
)

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

const tusType = "application/offset+octet-stream"

// begin begins an upload without bytes and returns its address.
func (d *desk) begin(secret string, size int, meta string) string {
	d.Helper()
	a := d.do("POST", "/api/v1/uploads", secret, nil, "Tus-Resumable", "1.0.0", "Upload-Length", fmt.Sprint(size), "Upload-Metadata", meta)
	if a.StatusCode != 201 || a.Header.Get("Upload-Expires") == "" {
		d.Fatalf("begin: %s %v %s", a.Status, a.Header, a.body)
	}
	return a.Header.Get("Location")
}

// patch sends bytes at an offset.
func (d *desk) patch(secret, at string, offset int, body io.Reader, header ...string) *answer {
	d.Helper()
	return d.do("PATCH", at, secret, body, append([]string{"Tus-Resumable", "1.0.0", "Content-Type", tusType, "Upload-Offset", fmt.Sprint(offset)}, header...)...)
}

// offset asks where an upload is; -1 if it is not there.
func (d *desk) offset(secret, at string) int {
	d.Helper()
	a := d.do("HEAD", at, secret, nil, "Tus-Resumable", "1.0.0")
	if a.StatusCode == 404 {
		return -1
	}
	n := -2
	if _, err := fmt.Sscan(a.Header.Get("Upload-Offset"), &n); err != nil || a.StatusCode != 200 || a.Header.Get("Cache-Control") != "no-store" {
		d.Fatalf("HEAD %s: %s %v", at, a.Status, a.Header)
	}
	return n
}

// TestTus walks through the protocol, https://tus.io/protocols/resumable-upload.
func TestTus(t *testing.T) {
	d := newDesk(t)
	a := d.do("OPTIONS", "/api/v1/uploads", "", nil)
	if a.StatusCode != 204 || a.Header.Get("Tus-Version") != "1.0.0" || a.Header.Get("Tus-Max-Size") != fmt.Sprint(maxUpload) ||
		a.Header.Get("Tus-Checksum-Algorithm") != "sha1,sha256" || !strings.Contains(a.Header.Get("Tus-Extension"), "creation-with-upload,termination,checksum,expiration") {
		t.Errorf("OPTIONS: %s %v", a.Status, a.Header)
	}
	if a := d.do("POST", "/api/v1/uploads", d.ada, nil, "Tus-Resumable", "0.2.2", "Upload-Length", "3"); a.StatusCode != 412 || a.Header.Get("Tus-Version") != "1.0.0" {
		t.Errorf("another version: %s %v", a.Status, a.Header)
	}
	b := d.version(1)
	sum := sha256.Sum256(b)
	meta := "filename " + base64Of("clock.apk") + ",sha256 " + base64Of(hex.EncodeToString(sum[:])) + ",empty"
	at := d.begin(d.ada, len(b), meta)
	if n := d.offset(d.ada, at); n != 0 {
		t.Errorf("a new upload is at %d", n)
	}
	if a := d.do("HEAD", at, d.ada, nil, "Tus-Resumable", "1.0.0"); a.Header.Get("Upload-Length") != fmt.Sprint(len(b)) || a.Header.Get("Upload-Metadata") != meta {
		t.Errorf("HEAD: %v", a.Header)
	}
	eve := d.token("eve", "upload")
	if n := d.offset(eve, at); n != -1 {
		t.Errorf("another developer sees the upload at %d", n)
	}
	if a := d.patch(eve, at, 0, bytes.NewReader(b)); a.StatusCode != 404 {
		t.Errorf("another developer's bytes: %s", a.Status)
	}
	if a := d.patch(d.ada, at, 5, bytes.NewReader(b[5:])); a.StatusCode != 409 || !strings.Contains(a.detail(), "go on where it is") {
		t.Errorf("another offset: %s %s", a.Status, a.body)
	}
	if a := d.do("PATCH", at, d.ada, bytes.NewReader(b), "Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Content-Type", "application/json"); a.StatusCode != 415 {
		t.Errorf("another type: %s", a.Status)
	}
	bad := sha1.Sum([]byte("other"))
	if a := d.patch(d.ada, at, 0, bytes.NewReader(b[:100]), "Upload-Checksum", "sha1 "+base64.StdEncoding.EncodeToString(bad[:])); a.StatusCode != 460 || d.offset(d.ada, at) != 0 {
		t.Errorf("another checksum: %s, and it is at %d", a.Status, d.offset(d.ada, at))
	}
	if a := d.patch(d.ada, at, 0, bytes.NewReader(b[:100]), "Upload-Checksum", "md5 AAAA"); a.StatusCode != 400 || !strings.Contains(a.detail(), "sha1 or sha256") {
		t.Errorf("another algorithm: %s %s", a.Status, a.body)
	}
	good := sha1.Sum(b[:100])
	if a := d.patch(d.ada, at, 0, bytes.NewReader(b[:100]), "Upload-Checksum", "sha1 "+base64.StdEncoding.EncodeToString(good[:])); a.StatusCode != 204 || a.Header.Get("Upload-Offset") != "100" {
		t.Errorf("bytes with a checksum: %s %s", a.Status, a.body)
	}
	d.start() // the server is another one, and knows where the upload is
	if n := d.offset(d.ada, at); n != 100 {
		t.Errorf("after a restart it is at %d, want 100", n)
	}
	if a := d.do("POST", "/api/v1/submissions", d.ada, strings.NewReader(`{"uploads":["`+at+`"]}`), "Content-Type", "application/json"); a.StatusCode != 409 || !strings.Contains(a.detail(), "has 100 of") {
		t.Errorf("a submission of what is not complete: %s %s", a.Status, a.body)
	}
	if a := d.do("POST", at, d.ada, bytes.NewReader(b[100:]), "Tus-Resumable", "1.0.0", "Content-Type", tusType, "Upload-Offset", "100", "X-HTTP-Method-Override", "PATCH"); a.StatusCode != 204 || a.Header.Get("Upload-Offset") != fmt.Sprint(len(b)) {
		t.Errorf("the rest: %s %s", a.Status, a.body)
	}
	if n := d.offset(d.ada, at); n != len(b) {
		t.Errorf("complete, it is at %d", n)
	}
	var sub app.Submission
	d.call("POST", "/api/v1/submissions", d.ada, `{"uploads":["`+at+`"]}`, 201, &sub)
	if sub.Package != "org.example.clock" || sub.By != "ada" || sub.Files[0].SHA256 != sum {
		t.Errorf("submission %+v", sub)
	}
	gone := d.begin(d.ada, 10, "")
	if a := d.do("DELETE", gone, d.ada, nil, "Tus-Resumable", "1.0.0"); a.StatusCode != 204 || d.offset(d.ada, gone) != -1 {
		t.Errorf("DELETE: %s, and it is at %d", a.Status, d.offset(d.ada, gone))
	}
}

// TestTusBreaks: a connection that breaks a hundred times costs nothing but
// time.
func TestTusBreaks(t *testing.T) {
	d := newDesk(t)
	r := rand.New(rand.NewPCG(7, 7))
	b := d.version(1)
	at := d.begin(d.ada, len(b), "filename "+base64Of("clock.apk"))
	breaks := 0
	for {
		offset := d.offset(d.ada, at)
		if offset == len(b) {
			break
		}
		n := min(1+r.IntN(200), len(b)-offset)
		c, err := net.Dial("tcp", d.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\nUpload-Offset: %d\r\nContent-Length: %d\r\n\r\n",
			at, d.ada, tusType, offset, len(b)-offset)
		if _, err := c.Write(b[offset : offset+n]); err != nil {
			t.Fatal(err)
		}
		if offset+n < len(b) {
			breaks++
		}
		c.(*net.TCPConn).CloseWrite() // it answers when it has taken what came
		io.Copy(io.Discard, c)
		c.Close()
		if got := d.offset(d.ada, at); got != offset+n {
			t.Fatalf("%d bytes were sent at %d, and it is at %d:\n%s", n, offset, got, d.log.String())
		}
	}
	if breaks < 10 {
		t.Errorf("the connection broke %d times only", breaks)
	}
	var sub app.Submission
	d.call("POST", "/api/v1/submissions", d.ada, `{"uploads":["`+at+`"]}`, 201, &sub)
	if sum := sha256.Sum256(b); sub.Files[0].SHA256 != sum {
		t.Errorf("the file is another one: %s", sub.Files[0].SHA256)
	}
}

// zeros yields bytes without end; n counts them, for the transport may still read
// when the answer is there.
type zeros struct{ n atomic.Int64 }

func (z *zeros) Read(p []byte) (int, error) {
	clear(p)
	z.n.Add(int64(len(p)))
	return len(p), nil
}

// TestTusRefuses: what is too large, or not what was said, is refused and leaves
// nothing.
func TestTusRefuses(t *testing.T) {
	d := newDesk(t)
	before := d.left()
	const tenGB = 10_000_000_000
	for _, tt := range []struct {
		name   string
		status int
		text   string
		header []string
	}{
		{"10 GB, claimed", 413, "this store takes 1048576", []string{"Upload-Length", fmt.Sprint(tenGB)}},
		{"no length", 400, "send the number of bytes", nil},
		{"a negative length", 400, "send the number of bytes", []string{"Upload-Length", "-5"}},
		{"a length beyond all numbers", 400, "send the number of bytes", []string{"Upload-Length", "99999999999999999999"}},
		{"a path", 400, "without folders", []string{"Upload-Length", "5", "Upload-Metadata", "filename " + base64Of("../../etc/passwd")}},
		{"HTML", 400, "without folders", []string{"Upload-Length", "5", "Upload-Metadata", "filename " + base64Of("<b>x</b>.apk")}},
		{"no Base64", 400, "is no Base64", []string{"Upload-Length", "5", "Upload-Metadata", "filename %%%"}},
		{"a name twice", 400, "twice", []string{"Upload-Length", "5", "Upload-Metadata", "a QQ==,a QQ=="}},
		{"much metadata", 400, "at most 8192", []string{"Upload-Length", "5", "Upload-Metadata", "a " + strings.Repeat("QUJD", 3000)}},
		{"another sum", 400, "64 hexadecimal digits", []string{"Upload-Length", "5", "Upload-Metadata", "sha256 " + base64Of("abc")}},
	} {
		a := d.do("POST", "/api/v1/uploads", d.ada, nil, append([]string{"Tus-Resumable", "1.0.0"}, tt.header...)...)
		if a.StatusCode != tt.status || !strings.Contains(a.detail(), tt.text) {
			t.Errorf("%s: %s: %s; want %d with %q", tt.name, a.Status, a.body, tt.status, tt.text)
		}
	}
	// A stream that does not end, in one request with a claim and in one without.
	at := d.begin(d.ada, 1000, "")
	z := &zeros{}
	req, err := http.NewRequestWithContext(t.Context(), "PATCH", d.URL+at, io.LimitReader(z, tenGB))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Authorization": "Bearer " + d.ada, "Tus-Resumable": "1.0.0", "Content-Type": tusType, "Upload-Offset": "0"} {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err == nil { // else the server has hung up, which is as well
		res.Body.Close()
		if res.StatusCode != 413 {
			t.Errorf("a stream of 10 GB: %s", res.Status)
		}
	}
	if n := z.n.Load(); n > 64<<20 {
		t.Errorf("%d bytes of a stream were sent", n)
	}
	for deadline := time.Now().Add(time.Minute); d.offset(d.ada, at) != -1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an upload that got too much is still there")
		}
	}
	wrong := sha256.Sum256([]byte("other"))
	at = d.begin(d.ada, 5, "sha256 "+base64Of(string(wrong[:])))
	if a := d.patch(d.ada, at, 0, strings.NewReader("12345")); a.StatusCode != 422 || !strings.Contains(a.detail(), "another SHA-256") {
		t.Errorf("another SHA-256: %s %s", a.Status, a.body)
	}
	if after := d.left(); !maps.Equal(before, after) {
		t.Errorf("left behind: %v, before %v", after, before)
	}
	// One who only uploads gets an end.
	for i := range 5 {
		a := d.do("POST", "/api/v1/uploads", d.ada, nil, "Tus-Resumable", "1.0.0", "Upload-Length", fmt.Sprint(maxUpload))
		if want := map[bool]int{false: 201, true: 429}[i == 4]; a.StatusCode != want {
			t.Errorf("upload %d of a size that all together are too much: %s", i, a.Status)
		}
	}
}
