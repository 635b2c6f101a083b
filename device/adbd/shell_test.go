package adbd_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"mios/device/shell"
	"mios/internal/testkit"
)

// TestMain lets the test's binary be the device's shell and commands, by the
// name it is called by, as miosd is.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	i := slices.IndexFunc(shell.Commands(), func(c shell.Command) bool { return c.Name == name })
	if i >= 0 {
		os.Exit(shell.Commands()[i].Run(context.Background(), shell.OS(), os.Args[1:]))
	}
	// Under nohup, which ignores it, all that the shells start would ignore it, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(m.Run())
}

// shellArgv links all commands into the device's /system/bin.
func shellArgv(t *testing.T, root string) []string {
	t.Helper()
	bin := filepath.Join(root, "system/bin")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range shell.Commands() {
		if err := os.Symlink(exe, filepath.Join(bin, c.Name)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{filepath.Join(bin, "sh")}
}

func shellEnv(root string) []string {
	return []string{"PATH=" + filepath.Join(root, "system/bin") + ":/usr/bin:/bin", "HOME=/", "ANDROID_DATA=" + filepath.Join(root, "data"),
		"ANDROID_SOCKET_DIR=" + filepath.Join(root, "dev/socket"), "PS1=$ "}
}

// A terminal is a person's: what is typed, and what is on the screen.
type terminal struct {
	t      *testing.T
	pty    *os.File
	mu     sync.Mutex
	screen bytes.Buffer
	ended  chan struct{}
}

func (d *desk) terminal(args ...string) (*terminal, *exec.Cmd) {
	d.t.Helper()
	cmd := d.cmd(append([]string{"-s", d.addr}, args...)...)
	cmd.Env = append(cmd.Env, "TERM=vt100")
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 111})
	if err != nil {
		d.t.Fatal(err)
	}
	term := &terminal{t: d.t, pty: f, ended: make(chan struct{})}
	go func() {
		defer close(term.ended)
		io.Copy(term, f)
	}()
	d.t.Cleanup(func() { f.Close(); cmd.Process.Kill(); cmd.Wait() })
	return term, cmd
}

func (term *terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.Write(p)
}

// expect waits for text on the screen, clears it, and returns what was before it.
func (term *terminal) expect(text string) string {
	term.t.Helper()
	end := time.Now().Add(testkit.Patience)
	for {
		term.mu.Lock()
		s := term.screen.String()
		if at := strings.Index(s, text); at >= 0 {
			term.screen.Next(at + len(text))
			term.mu.Unlock()
			return s[:at]
		}
		term.mu.Unlock()
		if time.Now().After(end) {
			term.t.Fatalf("screen shows %q, want %q", s, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (term *terminal) typed(text string) {
	term.t.Helper()
	if _, err := io.WriteString(term.pty, text); err != nil {
		term.t.Fatal(err)
	}
}

func TestTerminal(t *testing.T) {
	d := newDesk(t, true)
	term, cmd := d.terminal("shell")
	term.expect("$ ")
	term.typed("echo size $(/usr/bin/stty size) $TERM\r")
	term.expect("size 33 111 vt100\r\n$ ")
	term.typed("cat\rtyped ahead\r")
	term.expect("typed ahead\r\n")
	term.typed("\x04")
	term.expect("$ ")
	for _, sleep := range []string{"sleep", "/usr/bin/sleep"} {
		term.typed("echo be''gin; " + sleep + " 1000; echo not this\r")
		term.expect("begin\r\n")
		term.typed("\x03")
		if s := term.expect("$ "); strings.Contains(s, "not") {
			t.Errorf("after ^C: %q", s)
		}
	}
	term.typed("not this\x03echo editx\x7fed\x1b[D\x1b[D\x1b[Dlong-\r")
	term.expect("edilong-ted\r\n$ ")
	term.typed("if true\rthen echo multi\rfi\r")
	term.expect("> ")
	term.expect("\r\nmulti\r\n$ ")
	term.typed("ls syst\t/bi\tech\t\r")
	term.expect("echo\r\n$ ")
	for cols := range uint16(50) { // the host misses a signal that comes with input
		pty.Setsize(term.pty, &pty.Winsize{Rows: 20, Cols: 70 + cols})
		time.Sleep(20 * time.Millisecond)
		term.typed("stty size\r")
		term.expect("size\r\n")
		if got := term.expect("\r\n$ "); got == fmt.Sprintf("20 %d", 70+cols) {
			break
		} else if cols == 49 {
			t.Errorf("stty size = %q after 50 changes", got)
		}
	}
	term.typed("exit 7\r")
	<-term.ended
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("adb shell ended with %v, want exit status 7", err)
	}
}

func TestTerminalHangsUp(t *testing.T) {
	d := newDesk(t, true)
	term, cmd := d.terminal("shell", "-t", "echo pid $$; /usr/bin/sleep 1000")
	term.expect("pid ")
	waitFor(t, func() bool {
		term.mu.Lock()
		defer term.mu.Unlock()
		return strings.Contains(term.screen.String(), "\n")
	})
	pid := strings.TrimSpace(term.screen.String())
	cmd.Process.Kill()
	cmd.Wait()
	waitFor(t, func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
}

func TestBugreport(t *testing.T) {
	d := newDesk(t, true)
	out := filepath.Join(t.TempDir(), "report.zip")
	// The shell is not confined to the root, so the path that it names is
	// made to exist below it too.
	if err := os.MkdirAll(filepath.Join(d.root, filepath.Dir(d.root)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(d.root, filepath.Join(d.root, d.root)); err != nil {
		t.Fatal(err)
	}
	d.must("bugreport", out)
	z, err := zip.OpenReader(out)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	text := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		text[f.Name] = string(b)
	}
	for name, want := range map[string]string{"ps.txt": "CMD", "df.txt": "Filesystem", "mount.txt": " type ", "getprop.txt": "exit status 1", "logcat.txt": "not found"} {
		if !strings.Contains(text[name], want) {
			t.Errorf("%s: %.200q, want %q in it", name, text[name], want)
		}
	}
}

// TestInstall uses the way that adb takes with the feature "cmd": the APK on
// the input of "cmd package install -S SIZE".
func TestInstall(t *testing.T) {
	d := newDesk(t, true)
	d.write("system/bin/cmd", "#!/bin/sh\nfor last; do :; done\necho \"$@\" > cmdline\nhead -c $last > apk\ncase $2 in uninstall) echo Success; exit;; esac\n[ $(stat -c %s apk) = $last ] && echo Success\n")
	os.Chmod(filepath.Join(d.root, "system/bin/cmd"), 0o755)
	apk := filepath.Join(t.TempDir(), "a.apk")
	want := noise(t, 300_001)
	if err := os.WriteFile(apk, want, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := d.must("install", "-r", apk); !strings.Contains(out, "Success") {
		t.Errorf("adb install: %s", out)
	}
	if got, _ := os.ReadFile(filepath.Join(d.root, "apk")); !bytes.Equal(got, want) {
		t.Errorf("the device got %d bytes that are not the APK's %d", len(got), len(want))
	}
	if got, _ := os.ReadFile(filepath.Join(d.root, "cmdline")); string(got) != fmt.Sprintf("package install -r -S %d\n", len(want)) {
		t.Errorf("cmd's arguments: %s", got)
	}
	if out := d.must("uninstall", "org.example"); !strings.Contains(out, "Success") {
		t.Errorf("adb uninstall: %s", out)
	}
}
