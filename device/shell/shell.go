// Package shell is the device's command line: a POSIX shell on mvdan.cc/sh,
// and the commands that a person or a script on a small device expects.
//
// The shell runs the commands of [Commands] inside its own process, which
// spares a fork and exec of a large binary each; by absolute path, or through
// env and xargs, they run as processes of their own, by the links
// /system/bin/NAME. There is no job control.
package shell

import (
	"context"
	"io"
	"os"
	"path/filepath"
)

// An Env is what a command sees of the world. Stdin, Stdout and Stderr must be
// set.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Dir            string                      // the working directory, absolute
	Lookup         func(string) (string, bool) // a variable of the environment
}

// Path returns name relative to the working directory.
func (e *Env) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(e.Dir, name)
}

// OS returns the environment of this process.
func OS() *Env {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	return &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Dir: dir, Lookup: os.LookupEnv}
}

// A Command is a program of the device's command line.
type Command struct {
	Name  string
	Usage string // its arguments, one line
	// Run executes it and returns the exit status. It must end soon after ctx
	// is done, and must not touch the process it runs in: its working
	// directory, its standard streams, its signals.
	Run func(ctx context.Context, e *Env, args []string) int
}

// Commands returns every command, sorted by name. cmd/miosd makes an applet of
// each, and build/image a link in /system/bin.
func Commands() []Command { return nil }

// Sh is the shell itself: sh [-c COMMAND | FILE] [ARGUMENT]..., interactive
// when its input is a terminal. It returns the exit status.
func Sh(ctx context.Context, args []string) int { return 2 }
