// Command mios builds, signs and publishes miOS images, updates and apps, runs
// the cloud, and emulates devices on a desk.
//
// Usage:
//
//	mios COMMAND [ARGUMENT]...
//
// Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"mios/publish/app/worker"
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
	{"The whole thing", []command{up, doctor, versionCmd}},
	{"Keys", []command{keysInit, keysList, keysHelper}},
	{"Make signed artifacts", []command{buildCmd, endpoints, kernelPin}},
	{"A build of AOSP", signCommands},
	{"Updates", []command{otaFull, otaDelta, otaAdaptive, otaInspect, otaVerify, otaExtract, otaApply}},
	{"What is this?", []command{inspectCmd}},
	{"Image tools", []command{sparseInfo, sparseExpand, sparsePack, imageLs, imageCat, imageExtract, imageDiff}},
	{"Boot images", bootCommands},
	{"Super partitions", superCommands},
	{"Verified boot: vbmeta images, footers and hash trees", avbCommands},
	{"The repository that devices trust", []command{
		repoInit, repoProduct, repoStatus, repoRefresh, repoPrune, repoExport, repoSign, repoImport, repoRootShow, repoRootRotate,
	}},
	{"Publish and serve", []command{publishOS, publishZip, publishApp, publishClaim, publishRollout, serveCmd}},
	{"Backups", []command{backupCmd, restoreCmd}},
	{"A store of apps", slices.Concat(storeCommands, storeTokenCommands)},
	{"Android packages", []command{
		appBuild, appSign, appVerify, appInspect, appDiff, appIcon, appGoogle, appCheck, lineageCreate, lineageExtend, lineageShow,
	}},
	{"Devices on this desk", []command{emulate}},
}

// errUsage makes run print a command's usage and exit with 2. Wrap it to say
// what was wrong.
var errUsage = errors.New("wrong usage")

func main() {
	worker.Main() // does not return in a process that parses what strangers made
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends what does not listen to the first
	out := &output{File: os.Stdout}
	status := run(ctx, env{stdin: os.Stdin, stdout: out, stderr: os.Stderr}, os.Args[1:])
	if status == 0 && out.err != nil {
		fmt.Fprintf(os.Stderr, "mios: standard output: %v\n", out.err)
		status = 1
	}
	os.Exit(status)
}

// output is standard output. It keeps the first error, so that a page that is
// cut short is no success.
type output struct {
	*os.File
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.File.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func (o *output) WriteString(s string) (int, error) { return o.Write([]byte(s)) }

func run(ctx context.Context, e env, args []string) int {
	if len(args) > 0 && args[0] == "--version" {
		args = append([]string{versionCmd.name}, args[1:]...)
	}
	help := len(args) > 0 && slices.Contains([]string{"help", "-h", "--help"}, args[0])
	if help {
		args = args[1:]
	}
	c, rest, ok := find(args)
	switch {
	case !ok && help && len(args) == 0:
		usage(e.stdout, "")
		return 0
	case !ok && help:
		return noCommand(e, append(args, "-h"))
	case !ok:
		return noCommand(e, args)
	case help:
		rest = []string{"-h"}
	}
	e.self = c
	err := c.run(ctx, e, rest)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp): // the flag set has printed it
		return 0
	case errors.Is(err, errUsage):
		if msg := strings.TrimPrefix(err.Error(), errUsage.Error()+": "); msg != errUsage.Error() {
			fmt.Fprintf(e.stderr, "mios: %s: %s\n", c.name, msg)
		}
		fmt.Fprintf(e.stderr, "%s\nmios %s -h tells more.\n", c.usage(), c.name)
		return 2
	case ctx.Err() != nil:
		fmt.Fprintf(e.stderr, "mios: %s: interrupted\n", c.name)
		return 130 // as a shell says of a program that Ctrl-C ended
	}
	fmt.Fprintf(e.stderr, "mios: %s: %v\n", c.name, err)
	return 1
}

// noCommand says what there is instead of args: a family's verbs, or all.
func noCommand(e env, args []string) int {
	family, rest := familyOf(args)
	asked := len(rest) == 1 && (rest[0] == "-h" || rest[0] == "--help")
	switch {
	case family != "" && asked:
		usage(e.stdout, family)
		return 0
	case len(rest) == 0:
	case family != "":
		fmt.Fprintf(e.stderr, "mios: no command %q\n", strings.Join(args, " "))
	default:
		fmt.Fprintf(e.stderr, "mios: no command %q: %s\n", args[0], meant(args[0]))
		return 2
	}
	usage(e.stderr, family)
	return 2
}

// meant says which commands have word in their names, or begin with it.
func meant(word string) string {
	var names []string
	for _, group := range commands {
		for _, c := range group.list {
			if slices.Contains(strings.Fields(c.name), word) || strings.HasPrefix(c.name, word) {
				names = append(names, "mios "+c.name)
			}
		}
	}
	if len(names) == 0 {
		return "mios help lists those there are"
	}
	return "there is " + strings.Join(names, ", ")
}

// familyOf returns the longest beginning of args that commands begin with, and
// a space, and what of args follows it.
func familyOf(args []string) (family string, rest []string) {
	for n := len(args); n > 0; n-- {
		family := strings.Join(args[:n], " ") + " "
		for _, group := range commands {
			if slices.ContainsFunc(group.list, func(c command) bool { return strings.HasPrefix(c.name, family) }) {
				return family, args[n:]
			}
		}
	}
	return "", args
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

// usage lists the commands whose names begin with prefix.
func usage(w io.Writer, prefix string) {
	fmt.Fprintf(w, "usage: mios %s [ARGUMENT]...\n", prefix+"COMMAND")
	width := 0
	for _, group := range commands {
		for _, c := range group.list {
			if strings.HasPrefix(c.name, prefix) {
				width = max(width, len(c.name))
			}
		}
	}
	for _, group := range commands {
		title := "\n" + group.title + ":\n"
		for _, c := range group.list {
			if !strings.HasPrefix(c.name, prefix) {
				continue
			}
			line, _, _ := strings.Cut(c.help, "\n")
			fmt.Fprintf(w, "%s  %-*s  %s\n", title, width, c.name, line)
			title = ""
		}
	}
	fmt.Fprintln(w, "\nmios COMMAND -h tells a command's flags.")
}
