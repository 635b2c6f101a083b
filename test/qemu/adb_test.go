package qemu_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"mios/desk"
	"mios/internal/testkit"
)

// TestADB has Debian's adb do all that it does, against one device.
func TestADB(t *testing.T) {
	t.Parallel()
	d := boot(t, release1(t), nil)
	d.healthy()
	for _, s := range []struct {
		name string
		run  func(*device)
	}{
		{"devices", (*device).testDevices},
		{"shell", (*device).testShell},
		{"terminal", (*device).testTerminal},
		{"exec-out", (*device).testExecOut},
		{"push and pull", (*device).testPushPull},
		{"sync", (*device).testSync},
		{"properties", (*device).testProperties},
		{"install", (*device).testInstall},
		{"logcat", (*device).testLogcat},
		{"forward", (*device).testForward},
		{"reverse", (*device).testReverse},
		{"commands", (*device).testCommands},
		{"bugreport", (*device).testBugreport},
		{"unauthorised", (*device).testUnauthorised},
		{"reboot", (*device).testReboot},
	} {
		t.Run(s.name, func(t *testing.T) { s.run(&device{d.Device, t}) })
	}
}

// adb runs adb with args, which must exit with status 0.
func (d *device) adb(args ...string) string {
	d.t.Helper()
	r := d.try(args...)
	if r.Code != 0 {
		d.t.Fatalf("adb %q: status %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// try runs adb with args.
func (d *device) try(args ...string) desk.Result {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	r, err := d.ADB.Run(ctx, args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// contains checks that text has all of the words.
func contains(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s has no %q:\n%s", what, w, text)
		}
	}
}

// matches checks that text matches all of the expressions, line by line.
func matches(t *testing.T, what, text string, expressions ...string) {
	t.Helper()
	for _, e := range expressions {
		if !regexp.MustCompile("(?m)" + e).MatchString(text) {
			t.Errorf("%s does not match %q:\n%s", what, e, text)
		}
	}
}

func (d *device) testDevices() {
	if got := d.adb("get-state"); got != "device\n" {
		d.t.Errorf("adb get-state = %q", got)
	}
	if got := d.adb("get-serialno"); got != d.ADB.Serial+"\n" {
		d.t.Errorf("adb get-serialno = %q, want %s", got, d.ADB.Serial)
	}
	matches(d.t, "adb devices -l", d.adb("devices", "-l"), "^"+regexp.QuoteMeta(d.ADB.Serial)+" +device product:iot model:iot device:iot")
	contains(d.t, "adb root", d.adb("root"), "runs as root already")
	contains(d.t, "adb features", d.adb("features"), "shell_v2", "cmd", "stat_v2", "ls_v2")
	if r := d.try("remount"); !strings.Contains(r.Stdout+r.Stderr, "read-only") {
		d.t.Errorf("adb remount = %+v, want why it cannot be", r)
	}
}

func (d *device) testShell() {
	for _, tt := range []struct {
		command string
		want    desk.Result
	}{
		{"true", desk.Result{}},
		{"exit 7", desk.Result{Code: 7}},
		{"echo out; echo err >&2; false", desk.Result{Stdout: "out\n", Stderr: "err\n", Code: 1}},
		{"kill -9 $$", desk.Result{Code: 137}},
		{"no-such-command", desk.Result{Stderr: "no-such-command", Code: 127}},
		{"printf 'a b\n' | tr a-z A-Z | while read x y; do echo $y-$x; done", desk.Result{Stdout: "B-A\n"}},
		{"cd /data/local/tmp && pwd && echo $((6*7)) \"$(echo 'q  q')\"", desk.Result{Stdout: "/data/local/tmp\n42 q  q\n"}},
		{"ls /nowhere", desk.Result{Stderr: "no such file", Code: 1}},
	} {
		r := d.try("shell", tt.command)
		if r.Code != tt.want.Code || r.Stdout != tt.want.Stdout || !strings.Contains(r.Stderr, tt.want.Stderr) || tt.want.Stderr == "" && r.Stderr != "" {
			d.t.Errorf("adb shell %q = %+v, want %+v", tt.command, r, tt.want)
		}
	}
	cmd := d.ADB.Command(d.t.Context(), "shell", "cat; echo end")
	cmd.Stdin = strings.NewReader("from the host\n")
	if out, err := cmd.Output(); string(out) != "from the host\nend\n" || err != nil {
		d.t.Errorf("adb shell cat = %q, %v", out, err)
	}
}

// testTerminal is a person at a terminal.
func (d *device) testTerminal() {
	cmd := d.ADB.Command(d.t.Context(), "shell")
	term, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 101})
	if err != nil {
		d.t.Fatal(err)
	}
	defer term.Close()
	var screen testkit.Buffer
	go io.Copy(&screen, term)
	seen := 0
	expect := func(text string) {
		d.t.Helper()
		eventually(d.t, func() error {
			at := strings.Index(screen.String()[seen:], text)
			if at < 0 {
				return fmt.Errorf("the terminal does not say %q, but %q", text, screen.String()[seen:])
			}
			seen += at + len(text)
			return nil
		})
	}
	say := func(text string) {
		d.t.Helper()
		if _, err := io.WriteString(term, text); err != nil {
			d.t.Fatal(err)
		}
	}
	expect("#")
	say("echo $((40+2)) size $(stty size)\r")
	expect("42 size 33 101")
	say("until [ \"$(stty size)\" = '44 77' ]; do usleep 10000; done; echo re''sized\r")
	rows := uint16(44)
	eventually(d.t, func() error { // adb misses a signal that comes with input
		if err := pty.Setsize(term, &pty.Winsize{Rows: rows, Cols: 77}); err != nil {
			d.t.Fatal(err)
		}
		if rows = 87 - rows; !strings.Contains(screen.String()[seen:], "resized") {
			return fmt.Errorf("the device's terminal does not become 44 by 77: %q", screen.String()[seen:])
		}
		return nil
	})
	expect("resized")
	say("test -t 0 && test -t 1 && echo a ter''minal; echo run''ning; sleep 1000; echo after sleep: $?\r")
	expect("a terminal")
	expect("running")
	say("\x03") // ^C ends the command, not the shell
	expect("#")
	say("echo sti''ll here\r")
	expect("still here")
	say("half a line\x03")
	say("echo uh\x7f\x7fnext li''ne\r") // backspace
	expect("next line")
	say("exit 9\r")
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 9 {
		d.t.Errorf("adb shell ends with %v, want status 9; the terminal says:\n%s", err, screen.String())
	}
	if got := d.adb("shell", "-t", "-t", "test -t 0 && test -t 2 && echo terminal"); got != "terminal\r\n" && got != "terminal\n" {
		d.t.Errorf("adb shell -t -t = %q", got)
	}
	if r := d.try("shell", "-T", "test -t 0 || echo none"); r.Stdout != "none\n" {
		d.t.Errorf("adb shell -T = %+v", r)
	}
}

// eventually waits until f has no error.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience/5)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond): // between attempts
		}
	}
}

// random returns n bytes, among them all that a terminal would change.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (d *device) testExecOut() {
	want := random(3 << 20)
	cmd := d.ADB.Command(d.t.Context(), "exec-in", "cat > /data/local/tmp/exec")
	cmd.Stdin = bytes.NewReader(want)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("adb exec-in: %v\n%s", err, out)
	}
	// The command may outlive its stream: it has ended when all is there.
	eventually(d.t, func() error {
		if r := d.try("shell", "stat -c %s /data/local/tmp/exec"); strings.TrimSpace(r.Stdout) != strconv.Itoa(len(want)) {
			return fmt.Errorf("the file that adb exec-in wrote: stat says %+v, want %d bytes", r, len(want))
		}
		return nil
	})
	if got := d.adb("exec-out", "cat /data/local/tmp/exec"); hash([]byte(got)) != hash(want) {
		d.t.Errorf("adb exec-out: %d bytes with SHA-256 %s, want %d with %s", len(got), hash([]byte(got)), len(want), hash(want))
	}
	if got := d.adb("exec-out", "printf 'a\\r\\n\\0b'"); got != "a\r\n\x00b" {
		d.t.Errorf("adb exec-out printf = %q", got)
	}
	d.shell("rm /data/local/tmp/exec")
}

func (d *device) testPushPull() {
	dir := d.t.TempDir()
	file, back := filepath.Join(dir, "large"), filepath.Join(dir, "back")
	want := random(32 << 20)
	write(d.t, file, want, 0o640)
	stamp := time.Unix(1_500_000_000, 0)
	if err := os.Chtimes(file, stamp, stamp); err != nil {
		d.t.Fatal(err)
	}
	d.adb("push", file, "/data/local/tmp/large")
	if got, _, _ := strings.Cut(d.shell("sha256sum /data/local/tmp/large"), " "); got != hash(want) {
		d.t.Errorf("the pushed file's SHA-256 on the device is %s, want %s", got, hash(want))
	}
	if got := d.shell("stat -c '%a %Y' /data/local/tmp/large"); got != "640 1500000000" {
		d.t.Errorf("the pushed file has mode and time %s, want 640 1500000000", got)
	}
	d.adb("pull", "-a", "/data/local/tmp/large", back)
	if got, err := os.ReadFile(back); err != nil || hash(got) != hash(want) {
		d.t.Errorf("the pulled file has SHA-256 %s, %v, want %s", hash(got), err, hash(want))
	}
	if fi, err := os.Stat(back); err != nil || !fi.ModTime().Equal(stamp) {
		d.t.Errorf("the pulled file: %v, %v, want it of %v", fi, err, stamp)
	}
	d.shell("rm /data/local/tmp/large")

	tree := filepath.Join(dir, "tree")
	for name, size := range map[string]int{"empty": 0, "a/one": 1, "a/b/block": 64 << 10, "a/b/over": 64<<10 + 1, "ümläut with space": 77} {
		write(d.t, filepath.Join(tree, filepath.FromSlash(name)), random(size), 0o755)
	}
	if err := os.Symlink("one", filepath.Join(tree, "a", "link")); err != nil {
		d.t.Fatal(err)
	}
	d.adb("push", tree, "/data/local/tmp")
	if got := d.shell("cd /data/local/tmp/tree/a && readlink link && stat -c %a one"); got != "one\n755" {
		d.t.Errorf("the pushed link and mode are %q, want one and 755", got)
	}
	d.adb("pull", "/data/local/tmp/tree", filepath.Join(dir, "copy"))
	if got, want := listing(d.t, filepath.Join(dir, "copy")), listing(d.t, tree); got != want {
		d.t.Errorf("the tree that was pushed and pulled is\n%s\nwant\n%s", got, want)
	}
	for _, args := range [][]string{{"pull", "/data/nowhere", dir}, {"push", file, "/system/bin/large"}, {"push", file, "/proc/version/x"}} {
		if r := d.try(args...); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "error") {
			d.t.Errorf("adb %q = %+v, want an error", args, r)
		}
	}
}

func write(t *testing.T, name string, b []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, mode); err != nil {
		t.Fatal(err)
	}
}

// listing returns names and digests of the files below dir; links as what
// they lead to, as adb pulls them.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintln(&b, strings.TrimPrefix(path, dir), hash(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// testSync is "adb sync", which brings a product's folder up to date.
func (d *device) testSync() {
	out := d.t.TempDir()
	write(d.t, filepath.Join(out, "data/local/tmp/synced/one"), []byte("1"), 0o644)
	write(d.t, filepath.Join(out, "data/local/tmp/synced/two"), []byte("2"), 0o644)
	sync := func() string {
		d.t.Helper()
		cmd := d.ADB.Command(d.t.Context(), "sync", "data")
		cmd.Env = append(cmd.Env, "ANDROID_PRODUCT_OUT="+out)
		b, err := cmd.CombinedOutput()
		if err != nil {
			d.t.Fatalf("adb sync data: %v\n%s", err, b)
		}
		return string(b)
	}
	contains(d.t, "adb sync data", sync(), "2 files pushed")
	write(d.t, filepath.Join(out, "data/local/tmp/synced/two"), []byte("22"), 0o644)
	contains(d.t, "adb sync data, after a change", sync(), "1 file pushed, 1 skipped")
	if got := d.shell("cat /data/local/tmp/synced/*"); got != "122" {
		d.t.Errorf("the synced files hold %q, want 122", got)
	}
}

func (d *device) testProperties() {
	d.shell("setprop debug.mios.test 'a value'")
	if got := d.shell("getprop debug.mios.test"); got != "a value" {
		d.t.Errorf("getprop after setprop = %q", got)
	}
	if r := d.try("shell", "setprop ro.build.id 9"); r.Code == 0 || r.Stderr == "" {
		d.t.Errorf("setprop of a ro. property = %+v, want a refusal", r)
	}
	all := d.shell("getprop")
	for name, want := range map[string]string{
		"ro.build.id": "1", "ro.build.type": "userdebug", "ro.debuggable": "1", "ro.product.device": "iot",
		"ro.boot.slot_suffix": "_a", "ro.boot.verifiedbootstate": "green", "sys.boot_completed": "1", "net.online": "1",
		"init.svc.adbd": "running", "init.svc.installd": "running", "sys.mios.health": "healthy",
	} {
		contains(d.t, "getprop", all, fmt.Sprintf("[%s]: [%s]", name, want))
	}
	for _, name := range []string{"ro.boottime.init", "ro.boottime.adbd"} {
		if n, err := strconv.ParseInt(d.shell("getprop "+name), 10, 64); err != nil || n <= 0 {
			d.t.Errorf("getprop %s = %d, %v, want nanoseconds", name, n, err)
		}
	}
}

// testCommands is what a person looks at first.
func (d *device) testCommands() {
	matches(d.t, "ps -A", d.shell("ps -A"), `^root +1 +0 .* miosd init`, `^root +\d+ +1 .* adbd$`, ` installd$`, ` update_engine$`)
	matches(d.t, "df", d.shell("df"), `^/dev/dm-\d+ +\d+ +\d+ +0 100% /$`, `^/dev/vda\d+ +\d+ +\d+ +\d+ +\d+% /data$`)
	matches(d.t, "df -h", d.shell("df -h"), `\dM .* /data$`)
	matches(d.t, "mount", d.shell("mount"), `^/dev/dm-\d+ on / type erofs \(ro`, `^/dev/vda\d+ on /data type ext4 \(rw,nosuid,nodev`, `^proc on /proc type proc`)
	matches(d.t, "dmesg", d.shell("dmesg"), `^\[ *\d+\.\d+\] Linux version 6\.1`, `init: service started`)
	matches(d.t, "ip addr", d.shell("ip addr"), `inet 127\.0\.0\.1/8`, `inet 10\.0\.2\.15/24`, `link/ether [0-9a-f:]{17}`)
	matches(d.t, "ip route", d.shell("ip route"), `^default via 10\.0\.2\.2 dev eth0`)
	matches(d.t, "top", d.shell("top -b -n 1"), `^Tasks: \d+ total`, `PID USER`, `^ +\d+ root .* /system/bin/adbd$`)
	matches(d.t, "free", d.shell("free"), `^Mem: +4\d{5} +\d+ +\d+`)
	matches(d.t, "ping", d.shell("ping -c 1 10.0.2.2"), `1 packets transmitted, 1 received`)
	matches(d.t, "uname -a", d.shell("uname -a"), `^Linux .* 6\.1\..* x86_64`)
	matches(d.t, "id", d.shell("id"), `^uid=0\(root\)`)
	matches(d.t, "cat /proc/cmdline", d.shell("cat /proc/cmdline"), `androidboot\.slot_suffix=_a`)
	sleeper := d.ADB.Command(d.t.Context(), "shell", "setsid sleep 98765")
	if err := sleeper.Start(); err != nil {
		d.t.Fatal(err)
	}
	var pid string
	eventually(d.t, func() error {
		// The program, not the shell that starts it: without the shell nobody would wait for it.
		if pid = d.try("shell", "pgrep -f '^[^ ]*sleep 9876[5]'").Stdout; pid == "" {
			return fmt.Errorf("ps does not list a program that runs:\n%s", d.shell("ps -A -f"))
		}
		return nil
	})
	d.shell("kill " + strings.ReplaceAll(pid, "\n", " "))
	if sleeper.Wait(); sleeper.ProcessState.ExitCode() != 143 {
		d.t.Errorf("a program that was killed ends with status %d, want 143", sleeper.ProcessState.ExitCode())
	}
	if r := d.try("shell", "kill 999999"); r.Code == 0 || r.Stderr == "" {
		d.t.Errorf("kill of no process = %+v", r)
	}
	if r := d.try("shell", "touch /system/x"); r.Code == 0 || !strings.Contains(r.Stderr, "read-only") {
		d.t.Errorf("touch /system/x = %+v, want a refusal", r)
	}
}

func (d *device) testBugreport() {
	d.shell("log -t miosReport marked")
	file := filepath.Join(d.t.TempDir(), "report.zip")
	d.adb("bugreport", file)
	z, err := zip.OpenReader(file)
	if err != nil {
		d.t.Fatal(err)
	}
	defer z.Close()
	for name, want := range map[string]string{
		"getprop.txt": "[ro.build.id]: [1]", "logcat.txt": "miosReport: marked", "dmesg.txt": "Linux version", "ps.txt": "adbd",
		"df.txt": "/data", "mount.txt": "erofs", "update_engine.txt": "slot", "device.json": `"iot"`, "packages.txt": "", "ip_addr.txt": "10.0.2.15",
	} {
		b, err := fs.ReadFile(z, name)
		if err != nil || !strings.Contains(string(b), want) {
			d.t.Errorf("the bug report's %s has no %q: %v\n%s", name, want, err, b)
		}
	}
	for _, f := range z.File {
		if b, err := fs.ReadFile(z, f.Name); err != nil || strings.Contains(string(b), "not found") {
			d.t.Errorf("the bug report's %s: %v\n%s", f.Name, err, b)
		}
	}
}

func (d *device) testReboot() {
	id := d.shell("cat /proc/sys/kernel/random/boot_id")
	for _, how := range [][]string{{"reboot"}, {"shell", "reboot"}} {
		d.try(how...) // the connection may go before the answer comes
		d.healthy()
		d.want("1 _a healthy")
		now := d.shell("cat /proc/sys/kernel/random/boot_id")
		if now == id {
			d.t.Errorf("after adb %q it is the same boot", how)
		}
		id = now
	}
	if got := d.shell("getprop persist.sys.boot.reason"); !strings.HasPrefix(got, "reboot") {
		d.t.Errorf("persist.sys.boot.reason = %q, want reboot", got)
	}
}
