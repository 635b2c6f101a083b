// Package shell is the device's command line: a POSIX shell on mvdan.cc/sh,
// and the commands that a person or a script on a small device expects.
//
// The shell runs the commands of [Commands] inside its own process, which
// spares a fork and exec of a large binary each; what xargs and other programs
// start are processes of their own, by the links /system/bin/NAME. There is no
// job control, and "kill %1" and "fg" do not exist.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// An Env is what a command sees of the world. Stdin, Stdout and Stderr must be
// set.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Dir            string   // the working directory, absolute
	Vars           []string // the environment, NAME=VALUE
}

// Path returns name relative to the working directory.
func (e *Env) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(e.Dir, name)
}

// Lookup returns a variable of the environment: the last one of that name.
func (e *Env) Lookup(name string) (string, bool) {
	for i := len(e.Vars) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(e.Vars[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// Getenv returns a variable of the environment, or other where it is not set.
func (e *Env) Getenv(name, other string) string {
	if v, ok := e.Lookup(name); ok {
		return v
	}
	return other
}

// OS returns the environment of this process.
func OS() *Env {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	return &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Dir: dir, Vars: os.Environ()}
}

// A Command is a program of the device's command line.
type Command struct {
	Name  string
	Usage string // its arguments, one line
	run   func(ctx context.Context, e *Env, args []string) error
}

// Run executes the command and returns the exit status: 0 done, 1 failed, 2
// wrong usage, or one of the command's own. It ends soon after ctx is done, and
// does not touch the process it runs in: its working directory, its standard
// streams, its signals.
func (c Command) Run(ctx context.Context, e *Env, args []string) int {
	err := c.run(ctx, e, args)
	var status exitStatus
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, syscall.EPIPE): // as if SIGPIPE had ended it
		return 128 + int(syscall.SIGPIPE)
	case ctx.Err() != nil:
		return 128 + int(syscall.SIGINT)
	case errors.As(err, &usage):
		if usage != "" {
			fmt.Fprintf(e.Stderr, "%s: %s\n", c.Name, string(usage))
		}
		fmt.Fprintf(e.Stderr, "usage: %s %s\n", c.Name, c.Usage)
		return 2
	}
	fmt.Fprintf(e.Stderr, "%s: %v\n", c.Name, err)
	return 1
}

// An exitStatus is an error that has been told already.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// A usageError is wrong usage; it says what is wrong, or nothing.
type usageError string

func (u usageError) Error() string { return string(u) }

// each calls f for every name. A failure is told and does not keep the others
// from their turn.
func each(e *Env, command string, names []string, f func(name string) error) error {
	var failed error
	for _, name := range names {
		err := f(name)
		var told exitStatus
		switch {
		case errors.Is(err, syscall.EPIPE):
			return err
		case errors.As(err, &told):
			failed = err
		case err != nil:
			fmt.Fprintf(e.Stderr, "%s: %v\n", command, err)
			failed = exitStatus(1)
		}
	}
	return failed
}

// An input is a named file or the standard input.
type input struct {
	name string
	io.Reader
}

// inputs calls f with each file, or with the standard input where there are
// none; "-" is the standard input too.
func inputs(ctx context.Context, e *Env, command string, names []string, f func(in input) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	return each(e, command, names, func(name string) error {
		if name == "-" {
			return f(input{"-", ctxReader{ctx, e.Stdin}})
		}
		file, err := os.Open(e.Path(name))
		if err != nil {
			return err
		}
		defer file.Close()
		return f(input{name, ctxReader{ctx, file}})
	})
}

// A ctxReader ends when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
