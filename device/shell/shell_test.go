package shell_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mios/device/logd"
	"mios/device/property"
	"mios/device/shell"
	"mios/internal/testkit"
)

// TestMain lets the test's binary be the shell and its commands, as miosd is.
func TestMain(m *testing.M) {
	if name := os.Getenv("SHELL_TEST_APPLET"); name != "" {
		os.Exit(command(name).Run(context.Background(), shell.OS(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

func command(name string) shell.Command {
	for _, c := range shell.Commands() {
		if c.Name == name {
			return c
		}
	}
	panic("no command " + name)
}

// run runs a command in this process, in dir.
func run(t *testing.T, dir, stdin, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return runCtx(t, t.Context(), dir, stdin, name, args...)
}

func runCtx(t *testing.T, ctx context.Context, dir, stdin, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		io.WriteString(w, stdin)
		w.Close()
	}()
	var out, errs testkit.Buffer
	e := &shell.Env{Stdin: in, Stdout: &out, Stderr: &errs, Dir: dir,
		Vars: []string{"PATH=/usr/bin:/bin", "HOME=/", "ANDROID_DATA=" + dir, "ANDROID_SOCKET_DIR=" + dir}}
	status = command(name).Run(ctx, e, args)
	return out.String(), errs.String(), status
}

func sh(t *testing.T, script string) (stdout, stderr string, status int) {
	t.Helper()
	return run(t, t.TempDir(), "", "sh", "-c", script)
}

func TestShell(t *testing.T) {
	for _, tt := range []struct {
		script, stdout, stderr string
		status                 int
	}{
		{`echo a; echo b >&2; exit 3`, "a\n", "b\n", 3},
		{`false; echo $?`, "1\n", "", 0},
		{`false`, "", "", 1},
		{`nosuch`, "", "sh: nosuch: not found\n", 127},
		{`mkdir d; cd d; pwd | tail -c 3`, "/d\n", "", 0},
		{`seq 3 | sort -rn | head -n 1`, "3\n", "", 0},
		{`yes | head -n 2 | wc -l`, "2\n", "", 0},
		{`/usr/bin/echo outside | /usr/bin/cat | cat`, "outside\n", "", 0},
		{`exec cat /nosuch`, "", "cat: open /nosuch: no such file or directory\n", 1},
		{`/bin/sh -c 'kill -9 $$'; echo $?`, "137\n", "", 0},
		{`(sleep 0.05; echo late) & echo early; wait`, "early\nlate\n", "", 0},
		{`(sleep 0.05; echo left) &`, "left\n", "", 0},
		{`/usr/bin/sleep 5 >/dev/null 2>&1 & echo left alone`, "left alone\n", "", 0},
		{`X=1 env | grep ^X; X=2; env | grep -c ^X`, "X=1\n0\n", "", 1},
		{`export Y=3; printenv Y`, "3\n", "", 0},
		{`if`, "", "sh:1:1: `if` must be followed by a statement list\n", 2},
		{`printf 'echo script $1\n' > s; chmod 755 s; ./s x`, "script x\n", "", 0},
		{`umask 027; umask; umask 022`, "0027\n", "", 0},
		{`kill -0 $$; echo $?`, "0\n", "", 0},
		{`timeout 0.05 sleep 10; echo $?`, "124\n", "", 0},
		{`timeout 0.05 cat; echo $?`, "0\n", "", 0},
		{`timeout 0.05 /usr/bin/sleep 10; echo $?`, "124\n", "", 0},
		{`set -e; false; echo on`, "", "", 1},
		{`echo "$0" "$1"`, "sh \n", "", 0},
		{`for i in 1 2; do echo $i; done | tr 12 ab`, "a\nb\n", "", 0},
	} {
		stdout, stderr, status := sh(t, tt.script)
		if stdout != tt.stdout || stderr != tt.stderr || status != tt.status {
			t.Errorf("sh -c %q = %q, %q, %d, want %q, %q, %d", tt.script, stdout, stderr, status, tt.stdout, tt.stderr, tt.status)
		}
	}
}

// TestScriptsFromStdin: what follows a command's line is its input.
func TestScriptsFromStdin(t *testing.T) {
	for _, tt := range []struct {
		stdin, stdout string
		status        int
	}{
		{"echo 1\nread x\nhello\necho $x\nexit 4\necho never\n", "1\nhello\n", 4},
		{"cat\nis input\n", "is input\n", 0},
		{"if true\nthen echo yes\nfi\n", "yes\n", 0},
		{"cat <<E\ntext\nE\necho last", "text\nlast\n", 0},
		{"fi\necho never\n", "", 2},
	} {
		stdout, stderr, status := run(t, t.TempDir(), tt.stdin, "sh")
		if stdout != tt.stdout || status != tt.status {
			t.Errorf("sh < %q = %q, %q, %d, want %q, %d", tt.stdin, stdout, stderr, status, tt.stdout, tt.status)
		}
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		script, stdout string
		status         int
	}{
		{`echo hi > f; cp f g; mv g h; cat h; ls`, "hi\nf\nh\n", 0},
		{`ls nosuch; echo $?`, "1\n", 0},
		{`touch .a b; ls -A; mkdir -p x/y; ls -p; ls -d x`, ".a\nb\nb\nx/\nx\n", 0},
		{`touch f; chmod 640 f; ls -ln f | cut -d ' ' -f 1; stat -c '%a %s %F %n' f`, "-rw-r-----\n640 0 regular file f\n", 0},
		{`mkdir d; mkdir d; echo $?; rmdir d; ls`, "1\n", 0},
		{`mkdir d; rm d; echo $?; rm -r d; rm -f nosuch; echo $?; rm nosuch; echo $?`, "1\n0\n1\n", 0},
		{`rm -rf / ; echo $?`, "1\n", 0},
		{`echo x > f; ln -s f l; readlink l; cat l; ln f h; stat -c %h f`, "f\nx\n2\n", 0},
		{`basename /a/b.c .c; dirname /a/b/ /; dirname x`, "b\n/a\n/\n.\n", 0},
		{`printf abc | sha256sum; printf abc | md5sum`, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n900150983cd24fb0d6963f7d28e17f72  -\n", 0},
		{`echo a > f; sha256sum f > s; sha256sum -c s; echo b > f; sha256sum -c s; echo $?`, "f: OK\nf: FAILED\n1\n", 0},
		{`seq 10 | tail -n 2; seq 10 | tail -3 | head -1; seq 5 | tail -n +4`, "9\n10\n8\n4\n5\n", 0},
		{`printf 'a b\nc' | wc; printf abc | wc -c`, "1 3 5\n3\n", 0},
		{`printf 'one\ntwo\nThree\n' > f; grep t f; grep -c -i T f; grep -v o f; grep -n two f; grep -q zzz f; echo $?`, "two\n2\nThree\n2:two\n1\n", 0},
		{`printf 'a.b\naxb\n' | grep -F a.b; echo 'x(1)' | grep 'x(1)'; echo ab | grep -E '(a|b)+$'; echo foo | grep -o o`, "a.b\nx(1)\nab\no\no\n", 0},
		{`printf 'b\na\nb\n' | sort -u; printf '10\n9\n' | sort -n; printf 'a\na\nb\n' | uniq -c`, "a\nb\n9\n10\n      2 a\n      1 b\n", 0},
		{`echo a:b:c | cut -d : -f 2-; echo abcd | cut -c 1,3; echo abc | tr a-c A-C; echo a1b | tr -d 0-9`, "b:c\nac\nABC\nab\n", 0},
		{`echo x | tee f g; cat f g`, "x\nx\nx\n", 0},
		{`dd if=/dev/zero of=f bs=1k count=4 status=none; stat -c %s f; printf ab | dd of=f bs=1 seek=1 conv=notrunc status=none; stat -c %s f; dd if=f bs=1 skip=1 count=2 status=none`, "4096\n4096\nab", 0},
		{`truncate -s 1k f; stat -c %s f; cmp f f; echo $?; printf x > g; cmp -s f g; echo $?`, "1024\n0\n1\n", 0},
		{`seq 1000 > f; gzip f; ls; gzip -d f.gz; wc -l f; gzip -c f | gzip -dc | cmp - f`, "f.gz\n1000 f\n", 0},
		{`mkdir d; echo x > d/f; tar -c -f t.tar d; rm -r d; tar -tf t.tar; tar -x -f t.tar .; cat d/f`, "d/\nd/f\nx\n", 0},
		{`mkdir -p a/b; touch a/b/c; find a -name c`, "a/b/c\n", 0},
		{`date -u -d @0 '+%Y-%m-%dT%H:%M:%S'; TZ=UTC date -u -d '2020-02-03 04:05:06' +%F`, "1970-01-01T00:00:00\n2020-02-03\n", 0},
		{`seq 2 4 9; seq 3 -1 1 | tr '\n' ' '`, "2\n6\n3 2 1 ", 0},
		{`echo a b | xargs -n 1 echo`, "a\nb\n", 0},
		{`printf hello | base64; printf aGVsbG8= | base64 -d`, "aGVsbG8=\nhello", 0},
		{`test -d . && [ 1 -lt 2 ] && echo ok`, "ok\n", 0},
		{`sleep x; echo $?; head -q; echo $?`, "2\n2\n", 0},
		{`uname -s; id -u`, "Linux\n0\n", 0},
		{`truncate -s 1M misc; bootrecord misc | grep -c refusals`, "1\n", 0},
		{`hexdump -n 3 /dev/zero`, "00000000  00 00 00                                          |...|\n", 0},
	} {
		if stdout, stderr, status := sh(t, tt.script); stdout != tt.stdout || status != tt.status {
			t.Errorf("sh -c %q = %q, %q, %d, want %q, %d", tt.script, stdout, stderr, status, tt.stdout, tt.status)
		}
	}
}

// TestLookAtTheSystem runs what prints the state of this machine.
func TestLookAtTheSystem(t *testing.T) {
	sleeper := exec.Command("/usr/bin/sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleeper.Wait()
	defer sleeper.Process.Kill()
	for script, want := range map[string]string{
		"ps":                                  "USER       ",
		"ps -A -o pid,name,args":              "sleep /usr/bin/sleep 1000",
		"ps -o pid= -p $$":                    "",
		"pidof sleep":                         "",
		"top -b -n 1 -m 3":                    "%CPU",
		"free":                                "Mem: ",
		"free -h":                             "Mem: ",
		"uptime":                              "load average",
		"df":                                  "Filesystem",
		"df -h /":                             "% /",
		"mount":                               " on / type ",
		"ip addr":                             "127.0.0.1/8",
		"ip link show lo":                     "LOOPBACK",
		"ip route show; echo ok":              "ok",
		"uname -a":                            "miOS",
		"id":                                  "uid=0(root)",
		"ls -la /":                            "total",
		"ls -lR .":                            "total 0",
		"stat /":                              "directory",
		"stat -f /":                           "Blocks:",
		"hostname":                            "",
		"du -sh .":                            ".",
		"which ls":                            "/ls",
		"kill -l":                             " 9 KILL",
		"nproc":                               "",
		"umask":                               "0",
		"env":                                 "PATH=",
		"sync .; sync; realpath . / |tail -1": "/",
	} {
		if stdout, stderr, status := sh(t, script); status != 0 || !strings.Contains(stdout, want) || stdout == "" {
			t.Errorf("sh -c %q = %q, %q, %d, want %q in it", script, stdout, stderr, status, want)
		}
	}
	if _, _, status := sh(t, "kill "+strconv.Itoa(sleeper.Process.Pid)); status != 0 {
		t.Errorf("kill: exit status %d", status)
	}
	var exit *exec.ExitError
	if err := sleeper.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("sleep ended with %v, want SIGTERM", err)
	}
}

func TestFetch(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ok" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, r.Method+" body\n")
	}))
	defer srv.Close()
	for _, tt := range []struct {
		script, stdout string
		status         int
	}{
		{"curl -sf " + srv.URL + "/ok", "GET body\n", 0},
		{"curl -sf " + srv.URL + "/none", "", 22},
		{"curl -s -d x " + srv.URL + "/ok", "POST body\n", 0},
		{"wget -q " + srv.URL + "/ok; cat ok", "GET body\n", 0},
		{"printf 'GET /ok HTTP/1.0\\r\\n\\r\\n' | nc " + strings.Replace(srv.Listener.Addr().String(), ":", " ", 1) + " | tail -n 1", "GET body\n", 0},
	} {
		if stdout, stderr, status := sh(t, tt.script); stdout != tt.stdout || status != tt.status {
			t.Errorf("sh -c %q = %q, %q, %d, want %q, %d", tt.script, stdout, stderr, status, tt.stdout, tt.status)
		}
	}
}

// TestEndWithContext: nothing goes on for long after the context is done.
func TestEndWithContext(t *testing.T) {
	for _, script := range []string{"sleep 100", "/usr/bin/sleep 100", "yes > /dev/null", "sleep 100 | cat", "while true; do :; done", "read x"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		e := &shell.Env{Stdin: r, Stdout: io.Discard, Stderr: io.Discard, Dir: "/", Vars: []string{"PATH=/bin"}}
		command("sh").Run(ctx, e, []string{"-c", script})
		if d := time.Since(start); d > testkit.Patience {
			t.Errorf("sh -c %q ended %v after its context", script, d)
		}
		cancel()
		r.Close()
		w.Close()
	}
}

func TestBugreport(t *testing.T) {
	dir := t.TempDir()
	for range 4 {
		stdout, stderr, status := run(t, dir, "", "bugreportz", "-p")
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		name, ok := strings.CutPrefix(lines[len(lines)-1], "OK:")
		if !ok || status != 0 || !strings.HasPrefix(lines[0], "BEGIN:"+dir) || !strings.HasPrefix(lines[1], "PROGRESS:1/") {
			t.Fatalf("bugreportz -p = %q, %q, %d", stdout, stderr, status)
		}
		os.Rename(name, filepath.Join(dir, "bugreports", "bugreport-1999"+filepath.Base(name)+strconv.Itoa(int(time.Now().UnixNano()))+".zip"))
	}
	left, err := filepath.Glob(filepath.Join(dir, "bugreports", "*"))
	if err != nil || len(left) > 3 {
		t.Errorf("%d reports are left, at most 3: %v", len(left), err)
	}
	if _, stderr, status := run(t, dir, "", "bugreportz", "-v"); stderr != "1.1\n" || status != 0 {
		t.Errorf("bugreportz -v = %q, %d", stderr, status)
	}
}

func TestCommandsAreSortedAndDescribed(t *testing.T) {
	last := ""
	for _, c := range shell.Commands() {
		if c.Name <= last {
			t.Errorf("%s comes after %s", c.Name, last)
		}
		last = c.Name
	}
	if last == "" {
		t.Error("no commands")
	}
}

// TestDevice uses the real servers of properties and of the log.
func TestDevice(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "property_service"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var controls []string
	store := new(property.Store)
	server := &property.Server{Store: store, Log: slog.New(slog.DiscardHandler), Control: func(verb, name string) error {
		mu.Lock()
		defer mu.Unlock()
		controls = append(controls, verb+" "+name)
		return nil
	}}
	ring := logd.NewRing(1 << 16)
	w, err := logd.ListenWriters(filepath.Join(dir, "logdw"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { server.Serve(ctx, l) })
	wg.Go(func() { ring.ServeWriters(ctx, w) })

	for _, bad := range [][]string{{"reboot", "--help"}, {"reboot", "a", "b"}, {"shutdown", "-h"}, {"poweroff", "now"}} {
		_, stderr, status := run(t, dir, "", bad[0], bad[1:]...)
		if v := store.Get("sys.powerctl"); v != "" || status != 2 || !strings.Contains(stderr, "usage: "+bad[0]) {
			t.Errorf("%v: status %d, %q, sys.powerctl = %q", bad, status, stderr, v)
		}
	}
	script := "setprop debug.a 'x y'; getprop debug.a; getprop debug.none none; getprop | grep debug; waitforprop debug.a; start netd; stop netd; reboot bootloader; log -t me -p w hello there"
	stdout, stderr, status := run(t, dir, "", "sh", "-c", script)
	if want := "x y\nnone\n[debug.a]: [x y]\n"; stdout != want || stderr != "" || status != 0 {
		t.Errorf("%s = %q, %q, %d, want %q", script, stdout, stderr, status, want)
	}
	if got := store.Get("sys.powerctl"); got != "reboot,bootloader" {
		t.Errorf("sys.powerctl = %q", got)
	}
	mu.Lock()
	if got := strings.Join(controls, ","); got != "start netd,stop netd" {
		t.Errorf("init was asked for %q", got)
	}
	mu.Unlock()
	for end := time.Now().Add(testkit.Patience); ; time.Sleep(time.Millisecond) {
		list, _ := ring.From(0, 10)
		if len(list) == 1 {
			if e := list[0]; e.Tag != "me" || e.Message != "hello there" || e.Priority != logd.Warn {
				t.Errorf("logged %+v", e)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the log holds %d entries, want 1", len(list))
		}
	}
}
