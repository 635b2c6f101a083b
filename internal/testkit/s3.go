package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The S3 server that tests use: it compares and writes in one step, as Amazon's
// does, and is built from source, once for each user.
const (
	versity        = "github.com/versity/versitygw"
	versityVersion = "v1.8.0"
)

// S3 returns the URL of an empty prefix in a bucket of an S3 server that runs
// as long as the test process.
func S3(tb testing.TB) string {
	tb.Helper()
	needServer(tb, "S3 server")
	s, err := s3Server()
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("s3://mios:secret%%2F%%2B@%s/tests/prefix%d?tls=0", s.addr, prefixes.Add(1))
}

var prefixes atomic.Int32

type s3Process struct {
	server
	addr string
}

// s3Server returns the process's server, started.
var s3Server = sync.OnceValues(func() (*s3Process, error) {
	s := new(s3Process)
	program, err := s3Program()
	if err == nil {
		err = s.serve(program)
	}
	if err != nil {
		return nil, s.fail(fmt.Errorf("start S3 server: %w", err))
	}
	return s, nil
})

func (s *s3Process) serve(program string) (err error) {
	if s.dir, err = xattrDir(); err != nil {
		return err
	}
	root := filepath.Join(s.dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "tests"), 0o755); err != nil { // a bucket is a folder
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free now
	if err != nil {
		return err
	}
	s.addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	err = s.start(nil, program, "--port", s.addr, "--access", "mios", "--secret", "secret/+", "--keep-alive", "--quiet", "posix", root)
	if err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	for deadline := time.Now().Add(Patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// xattrDir makes a folder whose files can have attributes, where the server
// keeps what it knows of objects: in /tmp, unless it is a tmpfs of an old kernel.
func xattrDir() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	for _, parent := range []string{"", cache} {
		dir, err := os.MkdirTemp(parent, "mioss3")
		if err != nil {
			return "", err
		}
		if unix.Setxattr(dir, "user.mios", []byte("x"), 0) == nil {
			return dir, nil
		}
		if err := os.Remove(dir); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("neither %s nor %s can keep extended attributes: set TMPDIR to a folder that can", os.TempDir(), cache)
}

func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "mios")
	return cache, os.MkdirAll(cache, 0o755)
}

// s3Program returns the server's program, built by whoever needs it first:
// that takes some minutes.
func s3Program() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	program := filepath.Join(cache, "versitygw-"+versityVersion, "versitygw")
	lock, err := os.OpenFile(filepath.Join(cache, "versitygw.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	// Made in a folder of its own: a build that was broken off leaves no program.
	dir, err := os.MkdirTemp(cache, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "install", "-trimpath", "-ldflags", "-s -w", versity+"/cmd/versitygw@"+versityVersion)
	cmd.Dir = dir // outside of this module
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "GOFLAGS" && name != "GOOS" && name != "GOARCH" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s@%s: %w: it needs a module proxy once\n%s", versity, versityVersion, err, out)
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return "", err
	}
	return program, os.Rename(filepath.Join(dir, "versitygw"), program)
}
