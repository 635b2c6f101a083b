package socket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"mios/device/socket"
)

func dial(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// listen makes a socket of the test's own group.
func listen(t *testing.T) (string, *net.UnixListener) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sub", "s")
	for range 2 { // the second time in place of what the first left
		l, err := socket.Listen(path, os.Getgid())
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	l, err := socket.Listen(path, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	return path, l
}

func TestListen(t *testing.T) {
	path, l := listen(t)
	defer l.Close()
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode is %v, %v, want 0660", fi.Mode(), err)
	}
}

// TestServe ends while one client is being served.
func TestServe(t *testing.T) {
	path, l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	busy, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- socket.Serve(ctx, l, func(c *net.UnixConn) {
			p, err := socket.Peer(c)
			if err != nil || int(p.Pid) != os.Getpid() || int(p.Uid) != os.Getuid() {
				t.Errorf("Peer = %+v, %v, want this process", p, err)
			}
			close(busy)
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read when all ends: %v, want %v", err, os.ErrDeadlineExceeded)
			}
		}, func(err error) { t.Error(err) })
	}()
	c := dial(t, path)
	<-busy
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v, want %v", err, context.Canceled)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v, want the end", err)
	}
}

// TestShortage takes all file descriptors and gives them back: the client that
// came meanwhile is served.
func TestShortage(t *testing.T) {
	path, l := listen(t)
	c := dial(t, path) // waits in the backlog: its descriptor is there already
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0 // no new ones; those that are open stay
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	short := make(chan error, 1)
	go socket.Serve(t.Context(), l, func(c *net.UnixConn) { c.Write([]byte("x")) }, func(err error) {
		select {
		case short <- err:
		default:
		}
	})
	if err := <-short; !errors.Is(err, syscall.EMFILE) {
		t.Errorf("accept failed with %v, want %v", err, syscall.EMFILE)
	}
	restore()
	if b, err := io.ReadAll(c); string(b) != "x" || err != nil {
		t.Errorf("the client reads %q, %v, want x", b, err)
	}
}
