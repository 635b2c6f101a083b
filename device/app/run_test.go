package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mios/device/socket"
	"mios/internal/testkit"
)

// TestKeep restarts a program with twice the wait after each short run.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var starts []time.Duration
		var states []string
		r := &runner{done: make(chan struct{}), changed: func(s string) { states = append(states, s) }}
		ctx, cancel := context.WithCancel(t.Context())
		go r.keep(ctx, func(ctx context.Context) error {
			starts = append(starts, time.Since(begin))
			if len(starts) == 9 { // a long run
				time.Sleep(time.Hour)
			}
			if len(starts) == 11 {
				<-ctx.Done()
				return ctx.Err()
			}
			return errors.New("exit status 1")
		}, slog.New(slog.DiscardHandler))
		time.Sleep(2 * time.Hour)
		cancel()
		<-r.done
		want := []int{0, 1, 3, 7, 15, 31, 63, 123, 183, 3784, 3786}
		for i, w := range want {
			if i >= len(starts) || starts[i] != time.Duration(w)*time.Second {
				t.Fatalf("starts at %v, want %v seconds", starts, want)
			}
		}
		var st Status
		r.fill(&st)
		if st.State != Stopped || st.Restarts != 10 || st.LastExit != "exit status 1" {
			t.Errorf("status %+v", st)
		}
		if states[len(states)-1] != Stopped || states[0] != Restarting {
			t.Errorf("states %v", states)
		}
	})
}

// buildProgram builds testdata/app, which says what it was told.
func buildProgram(t *testing.T) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "app")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "testdata/app/main.go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDaemon does over the socket what pm and am do, with a real program in a
// real sandbox.
func TestDaemon(t *testing.T) {
	wantRoot(t)
	root, err := os.MkdirTemp("/var/tmp", "app-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	program := buildProgram(t)
	out := new(testkit.Buffer)
	cfg := testConfig(root)
	cfg.Env = map[string]string{"MIOS_DEVICE_PRODUCT": "iot"}
	cfg.Output = func(string, int, int) io.Writer { return out }
	c, stop := serveTest(t, cfg)

	install := func(code int64) *Status {
		b := testPackage(t, testSpec{code: code, program: program})
		st, err := c.Install(t.Context(), bytes.NewReader(b), int64(len(b)), InstallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if st := install(1); st.State != Stopped || st.UID != 10000 {
		t.Errorf("installed: %+v", st)
	}
	if _, err := c.Start(t.Context(), testPkg); err != nil {
		t.Fatal(err)
	}
	out.Wait(t, "org.mios.t 1 iot uid 10000 run 1")
	st := install(2) // goes on running, as the new version
	if st.State != Running {
		t.Errorf("updated: %+v", st)
	}
	out.Wait(t, "org.mios.t 2 iot uid 10000 run 2")
	stop()
	c, stop = serveTest(t, cfg) // as after a boot
	out.Wait(t, "org.mios.t 2 iot uid 10000 run 3")
	if st, err = c.Stop(t.Context(), testPkg); err != nil || st.State != Stopped || st.PID != 0 {
		t.Errorf("Stop = %+v, %v", st, err)
	}
	stop()
	c, _ = serveTest(t, cfg)
	if list, err := c.List(t.Context()); err != nil || len(list) != 1 || list[0].State != Stopped {
		t.Errorf("List = %+v, %v; want the package, stopped", list, err)
	}
	if err := c.Uninstall(t.Context(), testPkg, false); err != nil {
		t.Error(err)
	}
	_, err = c.Get(t.Context(), testPkg)
	wantRefused(t, err, CodeNotInstalled, "")
	_, err = c.Start(t.Context(), testPkg)
	wantRefused(t, err, CodeNotInstalled, "")
	_, err = c.Install(t.Context(), strings.NewReader("nonsense, and long enough to be looked at"), 30, InstallOptions{})
	wantRefused(t, err, CodeNotAPK, "")
	_, err = c.Install(t.Context(), strings.NewReader("less"), 1<<20, InstallOptions{})
	wantRefused(t, err, CodeAborted, "only 4 of")
	var heard []string
	var answer map[string]string
	err = c.Ask(t.Context(), "echo", "hello", &answer, func(b json.RawMessage) { heard = append(heard, string(b)) })
	if err != nil || answer["got"] != "hello" || !slices.Equal(heard, []string{"1", "2"}) {
		t.Errorf("Ask = %v, %v, and heard %q", answer, err, heard)
	}
	err = c.Ask(t.Context(), "no", nil, &answer, nil)
	wantRefused(t, err, CodeAborted, "because")
}

var flooded = make(chan bool, 1)

// testHandler answers what the manager does not.
func testHandler(_ context.Context, op string, args json.RawMessage, say func(any)) (any, error) {
	switch op {
	case "echo":
		say(1)
		say(2)
		return map[string]json.RawMessage{"got": args}, nil
	case "flood":
		for range 50 {
			say(strings.Repeat("x", 1<<16))
		}
		flooded <- true
		return nil, nil
	case "no":
		return nil, refuse(CodeAborted, "because")
	}
	return nil, fmt.Errorf("unknown request %q", op)
}

// serveTest opens a manager and serves it on a socket, until stop or the
// test's end.
func serveTest(t *testing.T, cfg Config) (c *Client, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c = &Client{Socket: filepath.Join(cfg.Root, "socket", "installd")}
	l, err := socket.Listen(c.Socket, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Serve(ctx, l, testHandler) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		m.Wait()
	})
	t.Cleanup(stop)
	return c, stop
}

// TestWire sends what no client of ours does.
func TestWire(t *testing.T) {
	wantRoot(t)
	root := t.TempDir()
	c, _ := serveTest(t, testConfig(root))
	for _, tt := range []struct{ send, want string }{
		{"nonsense\n", "request: "},
		{"{}\n", "unknown request"},
		{`{"op":"list","more":1}` + "\n", "unknown field"},
		{`{"op":"install","size":-1}` + "\n", "a package of -1 bytes"},
		{`{"op":"get","package":"../x"}` + "\n", "is not installed"},
		{strings.Repeat("x", maxLine+1), "read the request"},
		{`{"op":"no"}` + "\n", "because"},
	} {
		conn, err := net.Dial("unix", c.Socket)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, tt.send)
		b, err := io.ReadAll(conn)
		conn.Close()
		if !strings.Contains(string(b), tt.want) {
			t.Errorf("%.40q: answer %q, %v; want %q", tt.send, b, err, tt.want)
		}
	}
}

// TestDeafClient asks for something, and never reads what is said: it is done
// nevertheless, and soon.
func TestDeafClient(t *testing.T) {
	wantRoot(t)
	c, _ := serveTest(t, testConfig(t.TempDir()))
	conn, err := net.Dial("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, `{"op":"flood"}`+"\n")
	select {
	case <-flooded:
	case <-time.After(testkit.Patience):
		t.Error("who does not read holds up what it asked for")
	}
}
