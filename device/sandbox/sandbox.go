// Package sandbox starts a program under a uid of its own with nothing that
// it does not need: no capabilities and no way to new privileges, its own
// mounts, processes and IPC, and no network unless it was granted one.
//
// It is for Linux from 5.11 on and wants to run as root.
package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mios"
)

// The ids of Android's (system/core, private/android_filesystem_config.h).
const (
	FirstUID = 10000 // AID_APP_START
	LastUID  = 19999 // AID_APP_END
	InetGID  = 3003  // AID_INET
)

// StopTime is how long a program has from SIGTERM to SIGKILL.
const StopTime = 5 * time.Second

// A Spec says how to start a program. It travels to the helper as JSON.
type Spec struct {
	Package string            `json:"package"`
	Path    string            `json:"path"` // of the executable, below AppDir
	Args    []string          `json:"args,omitempty"`
	UID     int               `json:"uid"`     // and gid
	Network bool              `json:"network"` // group inet and the device's network; or a lone loopback that is down
	AppDir  string            `json:"app_dir"`
	DataDir string            `json:"data_dir"` // the only folder that it may write to, beside a /tmp of its own
	Env     map[string]string `json:"env,omitempty"`
}

// Check says what is wrong with the spec, or nil.
func (s *Spec) Check() error {
	for _, p := range []string{s.Path, s.AppDir, s.DataDir} {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || p == "/" {
			return fmt.Errorf("sandbox %s: path %q: %w", s.Package, p, mios.ErrInvalid)
		}
	}
	switch {
	case s.UID < FirstUID || s.UID > LastUID:
		return fmt.Errorf("sandbox %s: uid %d is not between %d and %d: %w", s.Package, s.UID, FirstUID, LastUID, mios.ErrInvalid)
	case !strings.HasPrefix(s.Path, s.AppDir+"/"):
		return fmt.Errorf("sandbox %s: %s is not below %s: %w", s.Package, s.Path, s.AppDir, mios.ErrInvalid)
	}
	for k := range s.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") {
			return fmt.Errorf("sandbox %s: environment variable %q: %w", s.Package, k, mios.ErrInvalid)
		}
	}
	return nil
}

func parseSpec(text string) (*Spec, error) {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	s := new(Spec)
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("sandbox: spec: %v: %w", err, mios.ErrInvalid)
	}
	return s, s.Check()
}

// environ is all of the environment that the program gets.
func (s *Spec) environ() []string {
	env := []string{
		"PATH=/system/bin", "ANDROID_ROOT=/system", "ANDROID_DATA=/data",
		"SSL_CERT_FILE=/system/etc/security/cacerts.pem",
		"HOME=" + s.DataDir, "TMPDIR=/tmp", "LANG=C.UTF-8",
	}
	for k, v := range s.Env {
		env = append(env, k+"="+v)
	}
	return env
}

// Command returns a command that starts the program through helper, the words
// that run [Exec] in a new process, such as "/system/bin/miosd", "sandbox".
// When ctx ends the program gets SIGTERM, and [StopTime] later SIGKILL, as it
// does at once when the caller dies. All that it started dies with it.
func Command(ctx context.Context, s Spec, helper ...string) (*exec.Cmd, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, helper[0], append(helper[1:len(helper):len(helper)], string(text))...)
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = StopTime
	flags := syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC
	if !s.Network {
		flags |= syscall.CLONE_NEWNET
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: uintptr(flags)}
	return cmd, nil
}
