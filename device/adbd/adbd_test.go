package adbd_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mios/device/adbd"
	"mios/internal/testkit"
)

// A desk is a device's adbd and Debian's adb that talks to it, each with
// folders of its own.
type desk struct {
	t      *testing.T
	root   string // of the device
	server *adbd.Server
	addr   string // adbd's, and adb's serial number of it
	env    []string
	port   string // the adb server's
	props  *properties
	log    *testkit.Buffer
}

type properties struct {
	mu  sync.Mutex
	set map[string]string
}

func (p *properties) Set(ctx context.Context, name, value string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set[name] = value
	return nil
}

func (p *properties) get(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set[name]
}

// newDesk starts both. The device authorises adb's key if authorised is set.
func newDesk(t *testing.T, authorised bool) *desk {
	t.Helper()
	t.Parallel()
	if _, err := exec.LookPath("adb"); err != nil {
		t.Fatalf("%v: install the Debian package adb", err)
	}
	home := t.TempDir()
	d := &desk{t: t, root: t.TempDir(), port: freePort(t), props: &properties{set: map[string]string{}}, log: new(testkit.Buffer)}
	d.env = append(os.Environ(), "HOME="+home, "ADB_VENDOR_KEYS="+filepath.Join(home, "key"), "ANDROID_ADB_SERVER_PORT="+d.port, "TMPDIR="+home)
	d.run("keygen", filepath.Join(home, "key"))
	for _, dir := range []string{"data/local/tmp", "data/misc/adb", "system/etc/security"} {
		if err := os.MkdirAll(filepath.Join(d.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if authorised {
		key, err := os.ReadFile(filepath.Join(home, "key.pub"))
		if err != nil {
			t.Fatal(err)
		}
		d.write("data/misc/adb/adb_keys", "# desk\nbroken line\n"+string(key))
	}
	d.server = &adbd.Server{
		Root: d.root, KeyFiles: []string{"/system/etc/security/adb_keys", "/data/misc/adb/adb_keys"},
		Shell: shellArgv(t, d.root), Env: shellEnv(d.root), Product: "iot", Model: "Desk Model", Device: "core",
		Properties: d.props, Log: slog.New(slog.NewTextHandler(d.log, nil)),
	}
	d.start()
	return d
}

func (d *desk) start() {
	d.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.server.Serve(ctx, l)
	}()
	d.t.Cleanup(func() {
		exec.Command("adb", "-P", d.port, "kill-server").Run()
		cancel()
		select {
		case <-done:
		case <-time.After(testkit.Patience):
			d.t.Error("Serve has not returned after its context was done")
		}
		if d.t.Failed() {
			d.t.Logf("device's log:\n%s", d.log)
		}
	})
	d.addr = l.Addr().String()
	if out := d.run("connect", d.addr); !strings.Contains(out, "connected to") && !strings.Contains(out, "failed to authenticate") {
		d.t.Fatalf("adb connect: %s", out)
	}
}

var ports atomic.Int32

// freePort returns a port that nobody listens on, from below those that the
// kernel gives out: adb takes it only later.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + (os.Getpid()*31+int(ports.Add(1)))%10000)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port for an adb server")
	return ""
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.root, name), []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) cmd(args ...string) *exec.Cmd {
	args = append([]string{"-P", d.port}, args...)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	d.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "adb", args...)
	cmd.Env = d.env
	return cmd
}

// run runs adb and returns what it printed on both streams.
func (d *desk) run(args ...string) string {
	d.t.Helper()
	out, err := d.cmd(args...).CombinedOutput()
	if err != nil {
		d.t.Errorf("adb %q: %v: %s", args, err, out)
	}
	return string(out)
}

// adb runs adb for the device and returns its streams and exit status.
func (d *desk) adb(stdin string, args ...string) (stdout, stderr string, status int) {
	d.t.Helper()
	cmd := d.cmd(append([]string{"-s", d.addr}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is adb for a call that has to succeed.
func (d *desk) must(args ...string) string {
	d.t.Helper()
	stdout, stderr, status := d.adb("", args...)
	if status != 0 {
		d.t.Fatalf("adb %q: exit status %d: %s%s", args, status, stdout, stderr)
	}
	return stdout
}

func TestShell(t *testing.T) {
	d := newDesk(t, true)
	for _, tt := range []struct {
		stdin          string
		args           []string
		stdout, stderr string
		status         int
	}{
		{"", []string{"shell", "echo out; echo err >&2; exit 3"}, "out\n", "err\n", 3},
		{"", []string{"shell", "true"}, "", "", 0},
		{"", []string{"shell", "pwd"}, d.root + "\n", "", 0},
		{"", []string{"shell", "kill -9 $$"}, "", "", 137},
		{"a\nb\n", []string{"shell", "cat"}, "a\nb\n", "", 0},
		{"echo hello\nexit 5\n", []string{"shell"}, "hello\n", "", 5},
		{"", []string{"shell", "-t", "-t", "test -t 0 && echo $TERM"}, "", "", -1},
		{"", []string{"exec-out", `printf '\r\n\000\n'; echo err >&2`}, "\r\n\x00\nerr\n", "", 0},
		{"", []string{"get-state"}, "device\n", "", 0},
		{"", []string{"root"}, "adbd runs as root already\n", "", 0},
	} {
		stdout, stderr, status := d.adb(tt.stdin, tt.args...)
		if tt.status == -1 { // a terminal: adb's own TERM, and its line ends
			if !strings.HasSuffix(stdout, "\r\n") || status != 0 {
				t.Errorf("adb %q = %q, %q, %d, want TERM on a terminal", tt.args, stdout, stderr, status)
			}
			continue
		}
		if stdout != tt.stdout || stderr != tt.stderr || status != tt.status {
			t.Errorf("adb %q = %q, %q, %d, want %q, %q, %d", tt.args, stdout, stderr, status, tt.stdout, tt.stderr, tt.status)
		}
	}
	if out := d.run("devices", "-l"); !strings.Contains(out, "product:iot model:Desk_Model device:core") {
		t.Errorf("adb devices -l: %s", out)
	}
	d.must("wait-for-device")
	d.must("reboot", "recovery")
	if got := d.props.get("sys.powerctl"); got != "reboot,recovery" {
		t.Errorf("sys.powerctl = %q after adb reboot recovery", got)
	}
}

// noise returns bytes in which every byte value and line end occurs.
func noise(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestExecOutIsBinaryClean(t *testing.T) {
	d := newDesk(t, true)
	want := noise(t, 3<<20+7)
	d.write("data/local/tmp/noise", string(want))
	if got := d.must("exec-out", "cat data/local/tmp/noise"); got != string(want) {
		t.Errorf("exec-out gave %d bytes that are not the file's %d", len(got), len(want))
	}
	if got := d.must("shell", "cat data/local/tmp/noise"); got != string(want) {
		t.Errorf("shell gave %d bytes that are not the file's %d", len(got), len(want))
	}
}

func TestExecInDelivers(t *testing.T) {
	d := newDesk(t, true)
	want := string(noise(t, 1<<20))
	d.adb(want, "exec-in", "cat > data/local/tmp/in; touch data/local/tmp/in.done")
	waitFor(t, func() bool { _, err := os.Stat(filepath.Join(d.root, "data/local/tmp/in.done")); return err == nil })
	if got, _ := os.ReadFile(filepath.Join(d.root, "data/local/tmp/in")); string(got) != want {
		t.Errorf("exec-in delivered %d bytes that are not the %d sent", len(got), len(want))
	}
}

// waitFor polls for what another process does.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testkit.Patience); !ok(); {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestPushPull(t *testing.T) {
	d := newDesk(t, true)
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	want := bytes.Repeat(noise(t, 1<<20), 64)
	if err := os.WriteFile(big, want, 0o751); err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1234567890, 0)
	os.Chtimes(big, when, when)
	start := time.Now()
	d.must("push", big, "/data/local/tmp/big")
	t.Logf("push of 64 MiB: %v", time.Since(start))
	fi, err := os.Stat(filepath.Join(d.root, "data/local/tmp/big"))
	if err != nil || fi.Mode() != 0o751 || !fi.ModTime().Equal(when) {
		t.Errorf("pushed: %v, %v; want mode 0751 and time %v", fi, err, when)
	}
	start = time.Now()
	d.must("pull", "-a", "/data/local/tmp/big", filepath.Join(dir, "back"))
	t.Logf("pull of 64 MiB: %v", time.Since(start))
	if got, err := os.ReadFile(filepath.Join(dir, "back")); !bytes.Equal(got, want) {
		t.Errorf("pulled %d bytes that are not what was pushed, %v", len(got), err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "back")); err != nil || !fi.ModTime().Equal(when) {
		t.Errorf("pulled: %v, %v; want time %v", fi, err, when)
	}
	if stdout, _, status := d.adb("", "pull", "/data/none", dir); status == 0 || !strings.Contains(stdout, "No such file") {
		t.Errorf("pull of nothing: %d, %s", status, stdout)
	}
	if stdout, _, status := d.adb("", "push", big, "/data/local/tmp/big/under"); status == 0 || !strings.Contains(stdout, "Not a directory") {
		t.Errorf("push below a file: %d, %s", status, stdout)
	}
	if left, _ := filepath.Glob(filepath.Join(d.root, "data/local/tmp/.adb*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFolders(t *testing.T) {
	d := newDesk(t, true)
	src := t.TempDir()
	for name, text := range map[string]string{"a": "1", "sub/b": "22", "sub/deeper/c": "", "sub/ü x": "4"} {
		os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o755)
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("a", filepath.Join(src, "link"))
	d.must("push", src+"/.", "/data/local/tmp/tree")
	if got, want := tree(t, filepath.Join(d.root, "data/local/tmp/tree")), tree(t, src); got != want {
		t.Errorf("pushed:\n%s\nwant:\n%s", got, want)
	}
	back := filepath.Join(t.TempDir(), "back")
	d.must("pull", "/data/local/tmp/tree", back)
	if got, want := tree(t, back), strings.Replace(tree(t, src), "link@a", "link=1", 1); got != want {
		t.Errorf("pulled:\n%s\nwant:\n%s", got, want)
	}
	if out := d.must("ls", "/data/local/tmp/tree"); !strings.Contains(out, "sub") || !strings.Contains(out, " ..\n") {
		t.Errorf("adb ls: %s", out)
	}
	// "adb sync data" takes what changed of $ANDROID_PRODUCT_OUT/data.
	out := t.TempDir()
	os.MkdirAll(filepath.Join(out, "data/etc"), 0o755)
	os.WriteFile(filepath.Join(out, "data/etc/synced"), []byte("x"), 0o644)
	d.env = append(d.env, "ANDROID_PRODUCT_OUT="+out)
	for _, want := range []string{"1 file pushed", "0 files pushed"} {
		if got := d.must("sync", "data"); !strings.Contains(got, want) {
			t.Errorf("adb sync data: %q, want %q", got, want)
		}
	}
}

func tree(t *testing.T, root string) string {
	t.Helper()
	var s strings.Builder
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if target, err := os.Readlink(path); err == nil {
			fmt.Fprintf(&s, "%s@%s\n", name, target)
			return nil
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(&s, "%s=%s\n", name, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

func TestUnauthorisedGetsNothing(t *testing.T) {
	d := newDesk(t, false)
	d.write("data/local/tmp/secret", "secret")
	waitFor(t, func() bool { return strings.Contains(d.run("devices"), "unauthorized") })
	for _, args := range [][]string{{"shell", "echo got in"}, {"exec-out", "echo got in"}, {"pull", "/data/local/tmp/secret", t.TempDir()}, {"reboot"}, {"forward", "tcp:0", "tcp:1"}} {
		if stdout, stderr, status := d.adb("", args...); status == 0 || !strings.Contains(stdout+stderr, "unauthorized") {
			t.Errorf("adb %q = %q, %q, %d, want unauthorized", args, stdout, stderr, status)
		}
	}
	if got := d.props.get("sys.powerctl"); got != "" {
		t.Errorf("sys.powerctl = %q", got)
	}
	if !strings.Contains(d.log.String(), "add its adbkey.pub to an adb_keys file") {
		t.Error("the log does not say what to do")
	}
}

// TestStreamsAreApart runs many commands at once, one of which the host does
// not read from, and ends one that would run on.
func TestStreamsAreApart(t *testing.T) {
	d := newDesk(t, true)
	stuck := d.cmd("-s", d.addr, "exec-out", "cat /dev/zero")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	stuck.Stdout = w
	if err := stuck.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			want := fmt.Sprintf("%d\n", i)
			if out, _, status := d.adb("", "shell", fmt.Sprintf("echo %d; exit %d", i, i)); out != want || status != i {
				t.Errorf("shell %d = %q, %d", i, out, status)
			}
		})
	}
	wg.Wait()
	stuck.Process.Kill()
	stuck.Wait()

	pid := filepath.Join(d.root, "pid")
	long := d.cmd("-s", d.addr, "shell", "echo $$ > pid; exec /bin/sleep 1000")
	if err := long.Start(); err != nil {
		t.Fatal(err)
	}
	var proc string
	waitFor(t, func() bool {
		b, _ := os.ReadFile(pid)
		proc = strings.TrimSpace(string(b))
		return proc != ""
	})
	long.Process.Kill()
	long.Wait()
	waitFor(t, func() bool { _, err := os.Stat("/proc/" + proc); return err != nil })
}
