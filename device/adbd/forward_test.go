package adbd_test

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mios/internal/testkit"
)

// TestForward sends more than the sockets' buffers both ways at once, through
// a forwarded and through a reversed port, twice each.
func TestForward(t *testing.T) {
	d := newDesk(t, true)
	echo := listenEcho(t, "tcp", "127.0.0.1:0")
	local := strings.TrimSpace(d.must("forward", "tcp:0", "tcp:"+echo))
	testEcho(t, local)
	testEcho(t, local)

	listenEcho(t, "unix", filepath.Join(d.root, "sock"))
	testEcho(t, strings.TrimSpace(d.must("forward", "tcp:0", "localfilesystem:/sock")))
	abstract := "mios-adbd-test-" + d.port
	listenEcho(t, "unix", "@"+abstract)
	testEcho(t, strings.TrimSpace(d.must("forward", "tcp:0", "localabstract:"+abstract)))

	remote := strings.TrimSpace(d.must("reverse", "tcp:0", "tcp:"+echo))
	testEcho(t, remote)
	testEcho(t, remote)
	if out := d.must("reverse", "--list"); !strings.Contains(out, "tcp:"+remote+" tcp:"+echo) {
		t.Errorf("reverse --list: %s", out)
	}
	if _, stderr, status := d.adb("", "reverse", "--no-rebind", "tcp:"+remote, "tcp:1"); status == 0 || !strings.Contains(stderr, "rebind") {
		t.Errorf("reverse --no-rebind: %d, %s", status, stderr)
	}
	d.must("reverse", "--remove", "tcp:"+remote)
	if _, stderr, status := d.adb("", "reverse", "--remove", "tcp:"+remote); status == 0 || !strings.Contains(stderr, "not found") {
		t.Errorf("reverse --remove twice: %d, %s", status, stderr)
	}
	d.must("reverse", "localfilesystem:/rsock", "tcp:"+echo)
	testEchoOn(t, "unix", filepath.Join(d.root, "rsock"))
	d.must("reverse", "--remove-all")
	if out := d.must("reverse", "--list"); strings.TrimSpace(out) != "" {
		t.Errorf("reverse --list after --remove-all: %s", out)
	}
	if c, err := net.Dial("unix", filepath.Join(d.root, "rsock")); err == nil {
		c.Close()
		t.Error("the device listens after reverse --remove-all")
	}
}

func listenEcho(t *testing.T, network, address string) (port string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		port = strconv.Itoa(a.Port)
	}
	return port
}

func testEcho(t *testing.T, port string) {
	t.Helper()
	testEchoOn(t, "tcp", "127.0.0.1:"+port)
}

func testEchoOn(t *testing.T, network, address string) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	want := noise(t, 8<<20)
	go c.Write(want)
	c.SetReadDeadline(time.Now().Add(testkit.Patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d of %d bytes came back, right: %v, %v", address, n, len(want), bytes.Equal(got, want), err)
	}
}
