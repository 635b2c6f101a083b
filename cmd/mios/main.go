// Command mios builds, signs and publishes miOS images, updates and apps, runs
// the cloud, and emulates devices on a desk.
//
// Usage:
//
//	mios COMMAND [ARGUMENT]...
//
// Exit status: 0 done, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// A command is one verb. Each only reads its arguments, calls a package and
// prints. A name of two words, "ota full", is a verb of a family. The first
// line of help stands in the list of commands; -h prints all of it.
type command struct {
	name, args, help string
	run              func(ctx context.Context, e env, args []string) error
}

// usage is the line that says how the command is called.
func (c command) usage() string { return strings.TrimSpace("usage: mios " + c.name + " " + c.args) }

// env is all of the outside world that a command may touch.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	self           command // the one that runs
}

// commands are in groups, in the order in which a person meets them.
var commands = []struct {
	title string
	list  []command
}{
	{"The whole thing", []command{up, doctor}},
	{"Keys", []command{keysInit, keysList, keysHelper}},
	{"Make signed artifacts", []command{buildCmd, otaFull, appBuild, kernelPin}},
	{"The repository that devices trust", []command{
		repoInit, repoProduct, repoStatus, repoRefresh, repoExport, repoSign, repoImport, repoRootShow, repoRootRotate,
	}},
	{"Publish and serve", []command{publishOS, publishApp, publishClaim, publishRollout, serveCmd}},
	{"Devices on this desk", []command{emulate}},
}

// errUsage makes run print a command's usage and exit with 2. Wrap it to say
// what was wrong.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:]))
}

func run(ctx context.Context, e env, args []string) int {
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		usage(e.stdout)
		return 0
	}
	c, rest, ok := find(args)
	if !ok {
		if len(args) > 0 {
			fmt.Fprintf(e.stderr, "mios: no command %q\n", strings.Join(args, " "))
		}
		usage(e.stderr)
		return 2
	}
	e.self = c
	err := c.run(ctx, e, rest)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp): // the flag set has printed it
		return 0
	case errors.Is(err, errUsage):
		if msg := err.Error(); msg != errUsage.Error() {
			fmt.Fprintf(e.stderr, "mios: %s: %s\n", c.name, msg)
		}
		fmt.Fprintln(e.stderr, c.usage())
		return 2
	}
	fmt.Fprintf(e.stderr, "mios: %s: %v\n", c.name, err)
	return 1
}

// find returns the command that args begin with, and its own arguments.
func find(args []string) (c command, rest []string, ok bool) {
	for _, group := range commands {
		for _, c := range group.list {
			n := len(strings.Fields(c.name))
			if len(args) >= n && strings.Join(args[:n], " ") == c.name {
				return c, args[n:], true
			}
		}
	}
	return command{}, nil, false
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: mios COMMAND [ARGUMENT]...")
	for _, group := range commands {
		fmt.Fprintf(w, "\n%s:\n", group.title)
		for _, c := range group.list {
			line, _, _ := strings.Cut(c.help, "\n")
			fmt.Fprintf(w, "  %-16s  %s\n", c.name, line)
		}
	}
	fmt.Fprintln(w, "\nmios COMMAND -h tells a command's flags.")
}

// flags returns the flag set of the command that runs: its errors are wrong
// usage, and -h prints the command's help and flags.
func flags(e env) *flag.FlagSet {
	fs := flag.NewFlagSet(e.self.name, flag.ContinueOnError)
	fs.SetOutput(e.stdout)
	fs.Usage = func() {
		fmt.Fprintf(e.stdout, "%s\n\n%s\n", e.self.usage(), e.self.help)
		fs.PrintDefaults()
	}
	return fs
}

// parse parses args with fs; what remains must be between min and max words.
func parse(fs *flag.FlagSet, args []string, min, max int) error {
	out := fs.Output()
	usage := fs.Usage
	fs.SetOutput(io.Discard) // run prints what is wrong, once
	fs.Usage = func() {}
	err := fs.Parse(args)
	fs.SetOutput(out)
	fs.Usage = usage
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.Usage()
		return err
	case err != nil:
		return fmt.Errorf("%w: %v", errUsage, err)
	case fs.NArg() < min:
		return errUsage
	case fs.NArg() > max:
		return fmt.Errorf("%w: unexpected %q", errUsage, fs.Arg(max))
	}
	return nil
}
