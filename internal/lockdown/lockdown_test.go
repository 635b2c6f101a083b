//go:build linux

package lockdown

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is the confined process, if the test has started this one as such.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "confined" {
		confined(os.Args[2], os.Args[3])
		return
	}
	os.Exit(m.Run())
}

// The limits of the tests.
const (
	memory = 256 << 20
	cpu    = 2 * time.Second
)

// confined goes behind one layer, or "all", and tries something.
func confined(layer, try string) {
	l := Limits{Memory: memory, CPU: cpu, Files: 4}
	if layer == "all" {
		holds, err := Enter(l)
		if err != nil {
			fmt.Println("enter:", err)
			return
		}
		if try == "layers" {
			_ = json.NewEncoder(os.Stdout).Encode(holds)
			return
		}
	} else if ok, err := map[string]func(Limits) (bool, error){
		"rlimits": setLimits, "user": dropUser, "landlock": landlock, "seccomp": seccomp, "none": func(Limits) (bool, error) { return true, nil },
	}[layer](l); err != nil || !ok {
		fmt.Println("layer", layer, ok, err)
		return
	}
	if err := tries[try](); err != nil {
		fmt.Println("refused:", err)
	} else {
		fmt.Println("done")
	}
}

// tries are what a process may or may not do.
var tries = map[string]func() error{
	"open":   func() error { _, err := os.ReadFile("/etc/passwd"); return err },
	"shadow": func() error { _, err := os.ReadFile("/etc/shadow"); return err },
	"create": func() error { return os.WriteFile(filepath.Join(os.TempDir(), "lockdown-test"), nil, 0o600) },
	"dial": func() error {
		c, err := net.DialTimeout("tcp", "127.0.0.1:9", time.Second)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil // it got as far as asking
		}
		if err == nil {
			c.Close()
		}
		return err
	},
	"socket": func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
	"exec":   func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
	"start":  func() error { return exec.Command("/bin/true").Run() },
	"signal": func() error { return unix.Kill(os.Getppid(), 0) },
	"root":   func() error { return syscall.Setuid(0) },
	"code": func() error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
		return err
	},
	"write": func() error {
		_, err := os.NewFile(3, "three").Write([]byte("x"))
		return err
	},
	"extra": func() error { return unix.Fstat(4, new(unix.Stat_t)) },
	"read": func() error {
		b := make([]byte, 5)
		if _, err := os.NewFile(3, "three").ReadAt(b, 0); err != nil || string(b) != "three" {
			return fmt.Errorf("%q, %v", b, err)
		}
		return nil
	},
	"compute": func() error { // threads, the collector, time
		c := make(chan int)
		for i := range 20 {
			go func() {
				b := bytes.Repeat([]byte{1}, 4<<20)
				time.Sleep(time.Millisecond)
				c <- len(b) + i
			}()
		}
		for range 20 {
			<-c
		}
		return nil
	},
	"eat": func() error {
		var all [][]byte
		for range 2 * memory >> 20 {
			all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		}
		return fmt.Errorf("%d MiB", len(all))
	},
	"spin": func() error {
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
		}
		return errors.New("it ran for ten minutes")
	},
}

// build builds this test without cgo, in which alone Landlock holds.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "lockdown.test")
	cmd := exec.Command("go", "test", "-c", "-o", exe, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	return exe
}

// attempt runs a try behind a layer.
func attempt(t *testing.T, exe, layer, try string) (out string, state *os.ProcessState) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "three")
	if err := os.WriteFile(name, []byte("three"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.CommandContext(t.Context(), exe, "confined", layer, try)
	cmd.ExtraFiles = []*os.File{f, f}
	cmd.Stderr = io.Discard
	b, _ := cmd.Output()
	return strings.TrimSpace(string(b)), cmd.ProcessState
}

func TestEnter(t *testing.T) {
	exe := build(t)
	out, _ := attempt(t, exe, "all", "layers")
	var holds []Layer
	if err := json.Unmarshal([]byte(out), &holds); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("layers that this kernel has: %v", holds)
	for _, tt := range []struct{ layer, try string }{
		{"all", "open"}, {"all", "create"}, {"all", "dial"}, {"all", "socket"}, {"all", "exec"}, {"all", "start"}, {"all", "signal"},
		{"all", "root"}, {"all", "code"}, {"all", "write"}, {"all", "extra"},
		{"landlock", "open"}, {"landlock", "create"}, {"landlock", "exec"}, {"landlock", "dial"},
		{"seccomp", "open"}, {"seccomp", "create"}, {"seccomp", "dial"}, {"seccomp", "socket"}, {"seccomp", "exec"}, {"seccomp", "start"},
		{"seccomp", "signal"}, {"seccomp", "code"},
		{"user", "shadow"}, {"user", "root"},
		{"rlimits", "write"},
	} {
		if tt.layer != "all" && !slices.Contains(holds, Layer(tt.layer)) || os.Geteuid() != 0 && tt.layer == "user" {
			t.Logf("%s %s: not tried: this kernel or user does not have it", tt.layer, tt.try)
			continue
		}
		if out, state := attempt(t, exe, tt.layer, tt.try); !strings.HasPrefix(out, "refused: ") && state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGXFSZ {
			t.Errorf("%s: %s: %q (%v), want it refused", tt.layer, tt.try, out, state)
		}
	}
	for _, try := range []string{"read", "compute"} {
		if out, state := attempt(t, exe, "all", try); out != "done" {
			t.Errorf("%s: %q (%v), want it done", try, out, state)
		}
	}
}

// TestTries holds the tries against a process that may do all: a try that
// fails there shows nothing.
func TestTries(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, try := range []string{"open", "create", "dial", "socket", "start", "signal", "code", "write", "extra", "read", "compute"} {
		if out, state := attempt(t, exe, "none", try); out != "done" {
			t.Errorf("%s: %q (%v), want it done", try, out, state)
		}
	}
}

func TestLimits(t *testing.T) {
	exe := build(t)
	if out, state := attempt(t, exe, "all", "eat"); state.Success() || out != "" {
		t.Errorf("twice the memory: %q (%v), want a process that dies", out, state)
	}
	out, state := attempt(t, exe, "all", "spin")
	if s := state.Sys().(syscall.WaitStatus); !s.Signaled() || out != "" {
		t.Errorf("a minute of processor time: %q (%v), want a process that is killed", out, state)
	}
	if used := state.UserTime() + state.SystemTime(); used > 3*cpu {
		t.Errorf("killed after %v of processor time, want about %v", used, cpu)
	}
}
