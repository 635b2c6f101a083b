package testkit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// A server is a program that serves the tests of one process, from its first
// use to the end of the process, however it ends.
type server struct {
	dir string // its own folder, removed at the end
	log *Buffer
	cmd *exec.Cmd
	end io.Closer // of the guard
}

// guard waits until the test process is gone, which closes the pipe, and then
// ends the server and removes its folder.
const guard = `read line; kill -9 "$1" 2>/dev/null; n=0
while kill -0 "$1" 2>/dev/null && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
rm -rf "$2"`

// start runs a program in a folder of its own, as the given user or as who
// runs the tests.
func (s *server) start(as *syscall.Credential, name string, args ...string) error {
	s.log = new(Buffer)
	s.cmd = exec.Command(name, args...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as} // Ctrl-C is for the tests alone
	if err := s.cmd.Start(); err != nil {
		return err
	}
	g := exec.Command("sh", "-c", guard, "guard", strconv.Itoa(s.cmd.Process.Pid), s.dir)
	g.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end, err := g.StdinPipe()
	if err == nil {
		err = g.Start()
	}
	if err != nil {
		return errors.Join(err, s.cmd.Process.Kill())
	}
	s.end = end
	return nil
}

// fail describes what became of a server that does not work.
func (s *server) fail(err error) error {
	if s.log == nil {
		return err
	}
	return fmt.Errorf("%w\n%s", err, s.log.String())
}

// needServer skips a test that needs a server, in the fast suite.
func needServer(tb testing.TB, name string) {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("%s: not with -short", name)
	}
}

// tempDir makes a folder for a server that the whole process uses, owned by
// whom it runs as.
func tempDir(pattern string, as *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("", pattern)
	if err == nil && as != nil {
		err = os.Chown(dir, int(as.Uid), int(as.Gid))
	}
	return dir, err
}
