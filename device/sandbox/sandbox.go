// Package sandbox starts a program under a uid of its own with nothing that
// it does not need: no capabilities, no way to new privileges, namespaces of
// its own, and no network unless it was granted one.
package sandbox

import (
	"context"
	"errors"
	"os/exec"
)

// A Spec says how to start a program. It travels to the helper as JSON.
type Spec struct {
	Package string            `json:"package"`
	Path    string            `json:"path"` // of the executable
	Args    []string          `json:"args,omitempty"`
	UID     int               `json:"uid"`
	Network bool              `json:"network"` // group inet and the device's network, or a lone loopback
	AppDir  string            `json:"appDir"`  // what it may read
	DataDir string            `json:"dataDir"` // what it may write
	Env     map[string]string `json:"env,omitempty"`
}

// Command returns a command that starts the program through helper, the words
// that run [Exec] in a new process, such as "/system/bin/miosd", "sandbox".
func Command(ctx context.Context, s Spec, helper ...string) (*exec.Cmd, error) {
	return nil, errors.ErrUnsupported
}

// Exec is the helper's side: it becomes the program that the arguments
// describe, and returns only if it cannot.
func Exec(args []string) error { return errors.ErrUnsupported }
