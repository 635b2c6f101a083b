package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mios/internal/lazyregexp"
	"mios/internal/tool"
)

// An ADB is Debian's adb with a server of its own, talking to one device.
type ADB struct {
	Serial string // 127.0.0.1:PORT
	path   string
	key    string
	port   int
	env    []string
}

// A Result is what a command printed and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// NewADB returns adb with the private key in keyFile, and state in dir. Its
// server starts with the first call, on a port that is free.
func NewADB(serial, keyFile, dir string) (*ADB, error) {
	path, err := tool.Look("adb")
	if err != nil {
		return nil, err
	}
	if keyFile, err = filepath.Abs(keyFile); err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	return &ADB{Serial: serial, path: path, key: keyFile, port: port, env: append(os.Environ(),
		"HOME="+dir, "ADB_VENDOR_KEYS="+keyFile, "ADB_MDNS_OPENSCREEN=0", "TMPDIR="+dir,
	)}, nil
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Command returns the command that runs adb with args, for callers that wire
// its streams themselves.
func (a *ADB) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, a.path, append([]string{"-P", strconv.Itoa(a.port), "-s", a.Serial}, args...)...)
	cmd.Env = a.env
	cmd.WaitDelay = time.Second
	return cmd
}

// Typed returns what a person types before adb's verb: it reaches the same
// server, and starts it again, with its key, if their adb is of another version.
func (a *ADB) Typed() string {
	return fmt.Sprintf("ADB_VENDOR_KEYS=%s adb -P %d -s %s", word(a.key), a.port, a.Serial)
}

// Environment returns what a person exports so that any adb command of theirs
// reaches the same server, and this device among those that adb finds.
func (a *ADB) Environment() string {
	return fmt.Sprintf("ADB_VENDOR_KEYS=%s ANDROID_ADB_SERVER_PORT=%d ANDROID_SERIAL=%s", word(a.key), a.port, a.Serial)
}

// word quotes a word for a shell if it has to be.
func word(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

var plain = lazyregexp.New(`^[\w@%+=:,./-]+$`)

// Run runs adb and returns what it printed. A status other than 0 is not an
// error.
func (a *ADB) Run(ctx context.Context, args ...string) (Result, error) {
	var out, errOut bytes.Buffer
	cmd := a.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	r := Result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
	if _, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		err = nil
	}
	if err != nil {
		return r, fmt.Errorf("adb %s: %w", strings.Join(args, " "), err)
	}
	return r, nil
}

// Shell runs a command on the device and returns its output without the last
// newline. A status other than 0 is an error.
func (a *ADB) Shell(ctx context.Context, command string) (string, error) {
	r, err := a.Run(ctx, "shell", command)
	if err != nil {
		return "", err
	}
	if r.Code != 0 {
		return "", fmt.Errorf("adb shell %s: status %d: %s", command, r.Code, strings.TrimSpace(r.Stdout+r.Stderr))
	}
	return strings.TrimRight(r.Stdout, "\r\n"), nil
}

// Connect waits until the device answers: adb has a transport to it that is
// authorised.
func (a *ADB) Connect(ctx context.Context) error {
	for {
		err := a.try(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("adb: no device at %s: %w", a.Serial, err)
		case <-time.After(100 * time.Millisecond): // between attempts to connect
		}
	}
}

// try makes one attempt. QEMU accepts a connection before the guest listens,
// so adb may hang on one that leads nowhere.
func (a *ADB) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := a.Run(ctx, "connect", a.Serial)
	if err != nil {
		return err
	}
	if !strings.Contains(r.Stdout, "connected to") {
		return errors.New(strings.TrimSpace(r.Stdout + r.Stderr))
	}
	if _, err := a.Run(ctx, "wait-for-device"); err != nil {
		a.Run(context.WithoutCancel(ctx), "disconnect", a.Serial)
		return err
	}
	return nil
}

// Close ends the server.
func (a *ADB) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.path, "-P", strconv.Itoa(a.port), "kill-server")
	cmd.Env = a.env
	return cmd.Run()
}
