package ota

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/device/socket"
	"mios/internal/testkit"
)

// serve starts an engine that waits to be asked, on a socket of its own.
func serve(t *testing.T, edit func(w *world)) (Client, *world, context.Context) {
	t.Helper()
	w := newWorld(t)
	w.device.Update.Interval, w.device.Update.AutoReboot = 0, false
	if edit != nil {
		edit(w)
	}
	b := w.load()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	e := New(w.config(b, &fakeProps{w: w, reboot: func() {}}))
	path := filepath.Join(t.TempDir(), "s")
	l, err := socket.Listen(path, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { done <- e.Run(ctx) }()
	go func() { done <- e.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("engine ends with %v", err)
			}
		}
	})
	e.Follow(ctx, func(s Status) bool { return s.State == CleanUp })
	return Client{Path: path}, w, ctx
}

// call runs update_engine_client, again while the engine is not ready for it.
func call(t *testing.T, ctx context.Context, c Client, args ...string) (string, error) {
	t.Helper()
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(time.Millisecond) {
		var out bytes.Buffer
		err := ClientMain(ctx, c, args, &out)
		if err != nil && strings.Contains(err.Error(), "the updater is at work") && time.Now().Before(deadline) {
			continue
		}
		return out.String(), err
	}
}

func TestClient(t *testing.T) {
	c, w, ctx := serve(t, nil)
	if out, err := call(t, ctx, c, "--check"); err != nil || out != "UPDATE_AVAILABLE 2\n" {
		t.Errorf("--check = %q, %v", out, err)
	}
	out, err := call(t, ctx, c, "--update", "--follow")
	if err != nil || !strings.HasSuffix(out, "UPDATED_NEED_REBOOT 2\n") {
		t.Errorf("--update --follow = %q, %v", out, err)
	}
	if out, err := call(t, ctx, c, "--follow"); err != nil || out != "UPDATED_NEED_REBOOT 2\n" {
		t.Errorf("--follow = %q, %v", out, err)
	}
	out, err = call(t, ctx, c, "--status")
	for _, want := range []string{"running   1 of 1970-01-01 00:16:40, slot _a, healthy\n", "state     UPDATED_NEED_REBOOT\n", "update    2, 100 % of 2.4 MiB\n", "new       Starts faster.\n          Needs less.\n", "checked   "} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("--status = %q, %v, want %q", out, err, want)
		}
	}
	if out, err := call(t, ctx, c, "--status", "--json"); err != nil || !strings.HasPrefix(out, `{"state":"UPDATED_NEED_REBOOT","version":"1"`) {
		t.Errorf("--status --json = %q, %v", out, err)
	}
	if out, err := call(t, ctx, c, "--reboot"); err != nil || w.props["sys.powerctl"] != "reboot" {
		t.Errorf("--reboot = %q, %v", out, err)
	}
}

func TestClientErrors(t *testing.T) {
	c, _, ctx := serve(t, func(w *world) { w.offer = fmt.Errorf("no newer release for device: %w", mios.ErrNotFound) })
	if out, err := call(t, ctx, c, "--update"); err != nil || out != "no newer release for device: not found\n" {
		t.Errorf("--update = %q, %v", out, err)
	}
	if _, err := call(t, ctx, c, "--reboot"); err == nil || !strings.Contains(err.Error(), "no update is ready (IDLE)") {
		t.Errorf("--reboot = %v", err)
	}
	if _, err := call(t, ctx, c, "--reset-bad"); err != nil {
		t.Errorf("--reset-bad = %v", err)
	}
	for _, args := range [][]string{nil, {"--check", "--update"}, {"--nonsense"}, {"--status", "x"}} {
		if _, err := call(t, ctx, c, args...); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v, want the usage", args, err)
		}
	}
	if _, err := call(t, ctx, c, "--cancel"); err == nil || !strings.HasPrefix(err.Error(), "update_engine_client: there is no --cancel\nusage: ") {
		t.Errorf("--cancel = %v", err)
	}
	if _, err := call(t, ctx, c, "--follow=7"); err == nil || !strings.Contains(err.Error(), `invalid boolean value "7"`) {
		t.Errorf("--follow=7 = %v", err)
	}
	if _, err := (Client{Path: "/nowhere/s"}).Do(ctx, Call{Verb: VerbStatus}, nil); err == nil || !strings.Contains(err.Error(), "is the service running?") {
		t.Errorf("Do without a service = %v", err)
	}
	if _, err := c.Do(ctx, Call{Verb: "dance"}, nil); err == nil || !strings.Contains(err.Error(), `verb "dance": invalid`) {
		t.Errorf("Do(dance) = %v", err)
	}
}

func TestClientFollowsFailure(t *testing.T) {
	c, _, ctx := serve(t, func(w *world) { w.fetchErr = errors.New("no route to host") })
	if out, err := call(t, ctx, c, "--update", "--follow"); err == nil || !strings.Contains(err.Error(), "release 2: no route to host") {
		t.Errorf("--update --follow = %q, %v", out, err)
	}
	if out, err := call(t, ctx, c, "--follow"); err == nil || !strings.Contains(err.Error(), "no route to host") {
		t.Errorf("--follow = %q, %v", out, err)
	}
}

// TestServeNonsense checks that a client that says nothing useful disturbs
// nobody.
func TestServeNonsense(t *testing.T) {
	c, _, ctx := serve(t, nil)
	for _, in := range []string{"", "\n", "{\n", strings.Repeat("x", 2*maxCall)} {
		conn, err := net.Dial("unix", c.Path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte(in))
		conn.Close()
	}
	if out, err := call(t, ctx, c, "--status"); err != nil || !strings.Contains(out, "running   1") {
		t.Errorf("--status = %q, %v", out, err)
	}
}

// TestClientGoesAway: one that went before the engine heard it leaves no trace.
func TestClientGoesAway(t *testing.T) {
	w := newWorld(t)
	e := New(w.config(w.load(), &fakeProps{w: w, reboot: func() {}}))
	e.idle(true) // as when Run waits, which here it never does
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Check(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("Check = %v, want %v", err, context.Canceled)
	}
	if err := e.ResetBad(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("afterwards ResetBad = %v, want %v", err, context.Canceled)
	}
}
