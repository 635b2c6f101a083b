package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mios/internal/tool"
)

// Postgres returns the URL of a new and empty database of a PostgreSQL that
// runs as long as the test process, on a Unix socket. It does not write
// through to the disk: what is tested are programs that are killed, not disks.
func Postgres(tb testing.TB) string {
	tb.Helper()
	needServer(tb, "PostgreSQL")
	s, err := postgres()
	if err != nil {
		tb.Fatal(err)
	}
	name := fmt.Sprintf("test%d", databases.Add(1))
	createdb, err := postgresTool("createdb")
	if err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command(createdb, "-h", s.dir, "-U", "postgres", name).CombinedOutput(); err != nil {
		tb.Fatalf("createdb: %v\n%s", err, out)
	}
	return "postgres://postgres@/" + name + "?host=" + s.dir
}

var databases atomic.Int32

// postgres returns the process's server, started.
var postgres = sync.OnceValues(func() (*server, error) {
	s, err := startPostgres()
	if err != nil {
		return nil, s.fail(fmt.Errorf("start PostgreSQL: %w", err))
	}
	return s, nil
})

func startPostgres() (*server, error) {
	s := new(server)
	initdb, err := postgresTool("initdb")
	if err != nil {
		return s, err
	}
	program, err := postgresTool("postgres")
	if err != nil {
		return s, err
	}
	as, err := postgresUser()
	if err != nil {
		return s, err
	}
	if s.dir, err = tempDir("miospg", as); err != nil {
		return s, err
	}
	data := filepath.Join(s.dir, "data")
	cmd := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return s, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(s.dir))
	}
	err = s.start(as, program, "-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "log_min_messages=fatal", "-c", "log_min_error_statement=panic")
	if err != nil {
		return s, errors.Join(err, os.RemoveAll(s.dir))
	}
	isready, err := postgresTool("pg_isready")
	if err != nil {
		return s, err
	}
	for deadline := time.Now().Add(Patience); ; time.Sleep(20 * time.Millisecond) {
		err := exec.Command(isready, "-q", "-h", s.dir, "-U", "postgres").Run()
		if err == nil || time.Now().After(deadline) {
			return s, err
		}
	}
}

// postgresUser returns whom PostgreSQL runs as, which refuses to be root.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w: run apt-get install postgresql", err)
	}
	uid, errU := strconv.ParseUint(u.Uid, 10, 32)
	gid, errG := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(errU, errG)
}

// postgresTool returns one of PostgreSQL's programs, which Debian keeps beside
// each other, and only some of them on the PATH.
func postgresTool(name string) (string, error) {
	initdb, err := tool.Look("initdb")
	if err == nil {
		initdb, err = filepath.EvalSymlinks(initdb)
	}
	return filepath.Join(filepath.Dir(initdb), name), err
}
