package sandbox_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mios"
	"mios/device/sandbox"
	"mios/internal/testkit"
)

// TestMain lets the test's own program be the helper, and a supervisor that
// can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "sandbox":
			fmt.Fprintln(os.Stderr, sandbox.Exec(os.Args[2:]))
			os.Exit(127)
		case "supervise":
			var s sandbox.Spec
			err := json.Unmarshal([]byte(os.Args[2]), &s)
			if err == nil {
				var cmd *exec.Cmd
				cmd, err = sandbox.Command(context.Background(), s, "/proc/self/exe", "sandbox")
				if err == nil {
					cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
					err = cmd.Run()
				}
			}
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const uid = 10123

// spec returns the probe's spec, in folders of its own.
func spec(t *testing.T) sandbox.Spec {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a sandbox wants root: run the test as root")
	}
	dir, err := os.MkdirTemp("/var/tmp", "sandbox-test-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	app, data := filepath.Join(dir, "app"), filepath.Join(dir, "data")
	for _, d := range []string{app, data} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(data, 0o700), os.Chown(data, uid, uid)); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(app, "probe"), "testdata/probe/main.go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return sandbox.Spec{Package: "org.mios.probe", Path: filepath.Join(app, "probe"), UID: uid, AppDir: app, DataDir: data}
}

func TestSandbox(t *testing.T) {
	for _, network := range []bool{false, true} {
		t.Run(fmt.Sprintf("network %v", network), func(t *testing.T) {
			s := spec(t)
			s.Network = network
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			s.Env = map[string]string{"PROBE_ADDR": l.Addr().String()}
			cmd, err := sandbox.Command(t.Context(), s, os.Args[0], "sandbox")
			if err != nil {
				t.Fatal(err)
			}
			secret, err := os.Open("/etc/shadow") // must not be passed on
			if err != nil {
				t.Fatal(err)
			}
			defer secret.Close()
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			cmd.ExtraFiles = []*os.File{secret}
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			var r report
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatal(err)
			}
			r.check(t, s)
		})
	}
}

type report struct {
	Status                       map[string]string
	Env, Files, Root, Dev, Procs []string
	Dir                          string
	Errors                       map[string]string
	Core                         uint64
}

func (r *report) check(t *testing.T, s sandbox.Spec) {
	id := fmt.Sprintf("%d\t%[1]d\t%[1]d\t%[1]d", uid)
	groups := ""
	if s.Network {
		groups = "3003"
	}
	const none = "0000000000000000"
	for k, want := range map[string]string{
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
		"NoNewPrivs": "1", "Uid": id, "Gid": id, "Groups": groups, "Pid": "1", "Umask": "0077", "oom_score_adj": "200",
	} {
		if got := r.Status[k]; got != want {
			t.Errorf("%s = %q, want %q", k, got, want)
		}
	}
	for name, ok := range map[string]bool{
		"write data": true, "write tmp": true, "write root": false, "write app": false,
		"setuid": false, "mount": false, "chown": false, "mknod": false, "dial": s.Network,
	} {
		if msg, tried := r.Errors[name]; !tried || ok != (msg == "") {
			t.Errorf("%s: %q (tried %v), want success %v", name, msg, tried, ok)
		}
	}
	if len(r.Procs) != 1 {
		t.Errorf("it sees the processes %v, want itself alone", r.Procs)
	}
	if r.Dir != s.DataDir || r.Core != 0 {
		t.Errorf("working folder %s, core limit %d; want %s, 0", r.Dir, r.Core, s.DataDir)
	}
	for _, fd := range r.Files { // 3 and 4 may be the probe's own: reading the folder, polling
		if len(fd) > 1 || fd > "5" {
			t.Errorf("it has the files %v", r.Files)
		}
	}
	for _, n := range r.Root {
		if !slices.Contains([]string{"bin", "dev", "etc", "proc", "run", "system", "tmp", "var"}, n) {
			t.Errorf("/ holds %s", n)
		}
	}
	want := []string{"fd", "full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"}
	if !slices.Equal(r.Dev, want) {
		t.Errorf("/dev holds %v, want %v", r.Dev, want)
	}
	for _, e := range []string{"HOME=" + s.DataDir, "TMPDIR=/tmp", "PROBE_ADDR=" + s.Env["PROBE_ADDR"]} {
		if !slices.Contains(r.Env, e) {
			t.Errorf("environment lacks %s: %v", e, r.Env)
		}
	}
	if slices.ContainsFunc(r.Env, func(e string) bool { return strings.HasPrefix(e, "GO") || strings.HasPrefix(e, "PORT") }) {
		t.Errorf("environment of the caller: %v", r.Env)
	}
}

// TestStop ends a program with SIGTERM.
func TestStop(t *testing.T) {
	s := spec(t)
	s.Args = []string{"wait"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd, err := sandbox.Command(ctx, s, os.Args[0], "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("after SIGTERM: %v, want exit status 7", cmd.ProcessState)
	}
}

// TestParentDeath kills the supervisor and nothing else.
func TestParentDeath(t *testing.T) {
	s := spec(t)
	s.Args = []string{"wait"}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "supervise", string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := r.ReadByte(); ended <- err }()
	select {
	case <-ended: // the program held the other end
	case <-time.After(testkit.Patience):
		t.Error("the program outlived its supervisor")
	}
	cmd.Wait()
}

func TestSpecRefuses(t *testing.T) {
	good := sandbox.Spec{Package: "a.b", Path: "/data/app/a/x", AppDir: "/data/app/a", DataDir: "/data/data/a.b", UID: 10000}
	for name, edit := range map[string]func(*sandbox.Spec){
		"root":          func(s *sandbox.Spec) { s.UID = 0 },
		"uid past apps": func(s *sandbox.Spec) { s.UID = 20000 },
		"relative":      func(s *sandbox.Spec) { s.Path = "x" },
		"not clean":     func(s *sandbox.Spec) { s.DataDir = "/data/../etc" },
		"outside":       func(s *sandbox.Spec) { s.Path = "/system/bin/sh" },
		"all of it":     func(s *sandbox.Spec) { s.DataDir = "/" },
		"environment":   func(s *sandbox.Spec) { s.Env = map[string]string{"A=B": "c"} },
	} {
		s := good
		edit(&s)
		if _, err := sandbox.Command(t.Context(), s, "x"); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%s: Command = %v, want invalid", name, err)
		}
	}
	for _, args := range [][]string{nil, {"{}"}, {"nope"}, {`{"unknown":1}`}, {"{}", "{}"}} {
		if err := sandbox.Exec(args); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Exec(%q) = %v, want invalid", args, err)
		}
	}
}
