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

// A command is one verb. Each stands in a file of its own, and only reads its
// arguments, calls a package and prints. A name of two words, "ota full", is a
// verb of a family.
type command struct {
	name, args, help string
	run              func(ctx context.Context, e env, args []string) error
}

// env is all of the outside world that a command may touch.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// commands is in the order in which a person meets them.
var commands = []command{
	up, buildCmd,
	keysInit, keysList, keysHelper,
	repoInit, repoProduct, repoStatus, repoRefresh, repoExport, repoSign, repoImport, repoRootShow, repoRootRotate,
	publishOS, publishApp, publishClaim, publishRollout,
	serve,
	emulate,
	kernelPin,
	doctor,
	otaFull,
	appBuild,
}

// errUsage makes run print a command's usage and exit with 2. Wrap it to say
// what was wrong.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, env{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

func run(ctx context.Context, e env, args []string) int {
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		usage(e.stdout)
		return 0
	}
	for _, c := range commands {
		words := strings.Fields(c.name)
		if len(args) < len(words) || strings.Join(args[:len(words)], " ") != c.name {
			continue
		}
		err := c.run(ctx, e, args[len(words):])
		switch {
		case err == nil:
			return 0
		case errors.Is(err, flag.ErrHelp): // the flag set has printed it
			return 0
		case errors.Is(err, errUsage):
			if msg := err.Error(); msg != errUsage.Error() {
				fmt.Fprintf(e.stderr, "mios: %s: %s\n", c.name, msg)
			}
			fmt.Fprintf(e.stderr, "usage: mios %s %s\n", c.name, c.args)
			return 2
		default:
			fmt.Fprintf(e.stderr, "mios: %s: %v\n", c.name, err)
			return 1
		}
	}
	if len(args) > 0 {
		fmt.Fprintf(e.stderr, "mios: no command %q\n", strings.Join(args, " "))
	}
	usage(e.stderr)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: mios COMMAND [ARGUMENT]...")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-16s %s\n", c.name, c.help)
	}
	fmt.Fprintln(w, "mios COMMAND -h tells a command's flags.")
}

// flags returns the flag set of a command: its errors are wrong usage, and -h
// prints the command's help and flags.
func flags(e env, c command) *flag.FlagSet {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(e.stdout)
	fs.Usage = func() {
		fmt.Fprintf(e.stdout, "usage: mios %s %s\n%s\n", c.name, c.args, c.help)
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
