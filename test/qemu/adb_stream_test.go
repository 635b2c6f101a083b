package qemu_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"

	"mios/internal/testkit"
)

func (d *device) testLogcat() {
	d.shell("log -t miosTest before; log -p e -t miosOther 'an error'; log -t miosTest 'two\nlines'")
	dump := d.adb("logcat", "-d")
	matches(d.t, "adb logcat -d", dump, `^\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} +\d+ +\d+ I miosTest: before$`, `E miosOther: an error$`, `I miosTest: lines$`, `adbd`)
	only := d.adb("logcat", "-d", "-v", "brief", "-s", "miosOther")
	matches(d.t, "adb logcat -s", only, `^E/miosOther\( *\d+\): an error$`)
	if strings.Contains(only, "miosTest") {
		d.t.Errorf("adb logcat -s miosOther shows another tag:\n%s", only)
	}
	if got := d.adb("logcat", "-d", "-v", "raw", "miosTest:I", "*:S"); !strings.HasSuffix(got, "before\ntwo\nlines\n") {
		d.t.Errorf("adb logcat miosTest:I *:S = %q", got)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	follow := d.ADB.Command(ctx, "logcat", "-s", "miosFollow")
	var out testkit.Buffer
	follow.Stdout = &out
	if err := follow.Start(); err != nil {
		d.t.Fatal(err)
	}
	defer follow.Wait()
	defer cancel()
	for i := range 3 { // each one after the one before has come
		word := fmt.Sprintf("line-%d-follows", i)
		d.shell("log -t miosFollow " + word)
		eventually(d.t, func() error {
			if !strings.Contains(out.String(), word) {
				return fmt.Errorf("adb logcat, following, has no %q, but:\n%s", word, out.String())
			}
			return nil
		})
	}
	d.adb("logcat", "-c")
	if got := d.adb("logcat", "-d"); strings.Contains(got, "miosTest") {
		d.t.Errorf("after adb logcat -c there is still:\n%s", got)
	}
}

// testForward lets the host reach a server of the device's.
func (d *device) testForward() {
	port := strings.TrimSpace(d.adb("forward", "tcp:0", "tcp:17777"))
	contains(d.t, "adb forward --list", d.adb("forward", "--list"), d.ADB.Serial+" tcp:"+port+" tcp:17777")
	down, up := random(300<<10), random(200<<10)
	file := filepath.Join(d.t.TempDir(), "down")
	write(d.t, file, down, 0o644)
	d.adb("push", file, "/data/local/tmp/down")
	server := d.ADB.Command(d.t.Context(), "shell", "cat /data/local/tmp/down - | nc -l 17777 > /data/local/tmp/up; sha256sum < /data/local/tmp/up")
	more, err := server.StdinPipe() // while it is open, the device's end is
	if err != nil {
		d.t.Fatal(err)
	}
	var out testkit.Buffer
	server.Stdout, server.Stderr = &out, &out
	if err := server.Start(); err != nil {
		d.t.Fatal(err)
	}
	var c net.Conn
	eventually(d.t, func() (err error) { // until nc listens, there is nothing behind the port
		if c, err = net.Dial("tcp", "127.0.0.1:"+port); err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(patience))
		first := make([]byte, 1)
		if _, err = io.ReadFull(c, first); err != nil {
			c.Close()
			return fmt.Errorf("the device's server at port %s: %w; it says: %s", port, err, out.String())
		}
		if first[0] != down[0] {
			d.t.Fatalf("the device's server begins with %#x, want %#x", first[0], down[0])
		}
		return nil
	})
	if _, err := c.Write(up); err != nil {
		d.t.Fatal(err)
	}
	rest := make([]byte, len(down)-1)
	if _, err := io.ReadFull(c, rest); err != nil || hash(rest) != hash(down[1:]) {
		d.t.Errorf("what the device's server sends is other than what it has: %v", err)
	}
	c.Close()
	more.Close()
	if err := server.Wait(); err != nil || !strings.HasPrefix(out.String(), hash(up)) {
		d.t.Errorf("what came to the device has SHA-256 %s, %v, want %s", out.String(), err, hash(up))
	}
	d.adb("forward", "--remove", "tcp:"+port)
	if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		c.Close()
		d.t.Errorf("port %s still answers after adb forward --remove", port)
	}
	d.adb("forward", "--remove-all")
}

// testReverse lets the device reach servers of the host's.
func (d *device) testReverse() {
	up := random(1 << 20)
	sums := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			b, _ := io.ReadAll(r.Body)
			sums <- hash(b)
		}
		w.Write(up)
	}))
	defer server.Close()
	d.adb("reverse", "tcp:18080", "tcp:"+server.URL[strings.LastIndexByte(server.URL, ':')+1:])
	contains(d.t, "adb reverse --list", d.adb("reverse", "--list"), "tcp:18080")
	got, _, _ := strings.Cut(d.shell("curl -s http://127.0.0.1:18080/ | sha256sum"), " ")
	if got != hash(up) {
		d.t.Errorf("what the device fetches has SHA-256 %s, want %s", got, hash(up))
	}
	d.adb("reverse", "--remove", "tcp:18080")
	if r := d.try("shell", "curl -s http://127.0.0.1:18080/"); r.Code == 0 {
		d.t.Errorf("curl after adb reverse --remove = %+v", r)
	}

	// Both ways at once, through nc on the device.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Write([]byte("welcome\n"))
		line := make([]byte, len("hello\n"))
		io.ReadFull(c, line)
		fmt.Fprintf(c, "you said %s", line)
	}()
	port := strings.TrimSpace(d.adb("reverse", "tcp:0", fmt.Sprintf("tcp:%d", l.Addr().(*net.TCPAddr).Port)))
	client := d.ADB.Command(d.t.Context(), "shell", "nc 127.0.0.1 "+port)
	in, err := client.StdinPipe() // it stays open: adb's streams have no half that can be closed
	if err != nil {
		d.t.Fatal(err)
	}
	io.WriteString(in, "hello\n")
	if out, err := client.Output(); string(out) != "welcome\nyou said hello\n" || err != nil {
		d.t.Errorf("nc through adb reverse = %q, %v", out, err)
	}
	d.adb("reverse", "--remove-all")
}
