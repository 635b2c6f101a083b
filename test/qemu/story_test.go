package qemu_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStory is README's two commands' first: `make run ONCE=1` from nothing,
// and then `make run`, which stays, and what README tells to do next.
func TestStory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, link := range []string{"products", "examples", "out/cache"} {
		target, err := filepath.Abs(filepath.Join("../..", link))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755)
		}
		if err == nil {
			err = os.Symlink(target, filepath.Join(dir, link)) // the kernel was fetched before
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := makeRun(t, dir, "ONCE=1").CombinedOutput()
	t.Logf("make run ONCE=1:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"DEVELOPMENT KEYS made", "kernel 6.1", "release 1: built signed images", "serve is up at http://127.0.0.1:", "release 1 published",
		"org.mios.hello 1.0 published", "has booted release 1 from slot _a", "org.mios.hello installed", "org.mios.hello runs",
		"release 2: built", "release 2 published", "written to the other slot and verified", "runs release 2 from slot _b, is healthy",
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the story does not say %q", want)
		}
	}
	if left := processes(t, dir); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
	again(t, dir)
}

// again is the second story, on ports that are taken, from what the first one
// left.
func again(t *testing.T, dir string) {
	for _, port := range []int{8480, 5555, 8080} {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer l.Close()
		}
	}
	r, w := io.Pipe()
	cmd := makeRun(t, dir)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		w.Close()
	}()
	told, stays := "", false
	lines := bufio.NewScanner(r)
	for !stays && lines.Scan() {
		told += lines.Text() + "\n"
		stays = strings.Contains(told, "Ctrl-C ends it.")
	}
	t.Logf("make run:\n%s", told)
	if !stays {
		t.Fatalf("make run ended: %v", <-ended)
	}
	for _, want := range []string{
		"DEVELOPMENT KEYS reused", "release 1: reused", "release 1 is published already", "app org.mios.hello 1.0 is published already", "release 2: reused",
		"127.0.0.1:8480 is taken", "port 5555 is taken", "port 8080 is taken",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the second story does not say %q", want)
		}
	}
	nextSteps(t, dir, told)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil { // what a terminal does on Ctrl-C
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || strings.Contains(string(rest), "mios: up:") {
		t.Errorf("after Ctrl-C it says %v:\n%s", err, rest)
	}
	<-ended
	if left := processes(t, dir); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}

// nextSteps does as the story and README say while the device runs.
func nextSteps(t *testing.T, dir, told string) {
	find := func(expr string) string {
		m := regexp.MustCompile(`(?m)^  ` + expr + `$`).FindStringSubmatch(told)
		if m == nil {
			t.Fatalf("the story does not print %s", expr)
		}
		return m[1]
	}
	if got := typed(t, dir, find(`adb +(\S.*) shell`)+" shell getprop ro.build.id"); got != "2\n" {
		t.Errorf("adb says that build %q runs, want 2", got)
	}
	if _, err := os.Stat(find(`console +tail -f (/\S+)`)); err != nil {
		t.Error(err)
	}
	for _, address := range []string{find(`repository +(http\S+)`), find(`the app +(http\S+)`)} {
		resp, err := http.Get(address)
		if err != nil {
			t.Error(err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", address, resp.Status)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile("(?m)`(bin/mios [^`]+)`|^ +(bin/mios .+)$").FindAllStringSubmatch(string(readme), -1)
	if len(steps) == 0 {
		t.Error("README tells to type nothing with bin/mios")
	}
	for _, m := range steps {
		t.Logf("%s:\n%s", m[1]+m[2], typed(t, dir, m[1]+m[2]))
	}
}

// typed runs a line as a person types it.
func typed(t *testing.T, dir, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s%s", line, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// makeRun is make run with everything below dir, in a process group of its own.
func makeRun(t *testing.T, dir string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "make", append([]string{"-C", "../..", "run", "BIN=" + filepath.Join(dir, "bin"), "OUT=" + filepath.Join(dir, "out")}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second // for it to end what it started
	return cmd
}

// processes returns the command lines of what runs for the story in dir: QEMU,
// adb's server, mios.
func processes(t *testing.T, dir string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(all) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, p := range all {
		line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(p, "environ")) // a process that has ended has none
		if bytes.Contains(line, []byte(dir)) || bytes.Contains(environ, []byte(dir)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
