package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"mios/internal/lazyregexp"
	"mios/internal/progress"
)

// flags returns the flag set of the command that runs: its errors are wrong
// usage, and -h prints the command's help and flags.
func flags(e env) *flag.FlagSet {
	fs := flag.NewFlagSet(e.self.name, flag.ContinueOnError)
	fs.SetOutput(e.stdout)
	fs.Usage = func() {
		fmt.Fprintf(e.stdout, "%s\n\n%s\n", e.self.usage(), e.self.help)
		printFlags(e.stdout, fs)
	}
	return fs
}

// jsonHelp is what --json does, in every command that has it.
const jsonHelp = "print JSON"

// story returns where a command tells how far it is: standard error, if
// standard output is for JSON.
func (e env) story(asJSON bool) *progress.Story {
	if asJSON {
		return progress.New(e.stderr)
	}
	return progress.New(e.stdout)
}

// namesVar defines a flag for names with commas between them; empty, it is as if it were not there.
func namesVar(fs *flag.FlagSet, to *[]string, name, help string) {
	fs.Func(name, help, func(v string) error {
		var names []string
		if v != "" {
			names = strings.Split(v, ",")
		}
		if slices.Contains(names, "") {
			return errors.New("want names with one comma between two")
		}
		*to = names
		return nil
	})
}

// dateVar defines a flag for a day, as Android writes a security patch level;
// empty, it is as if it were not there.
func dateVar(fs *flag.FlagSet, to *string, name, help string) {
	fs.Func(name, help, func(v string) error {
		if _, err := time.Parse(time.DateOnly, v); v != "" && err != nil {
			return errors.New("want a day, as 2026-11-05")
		}
		*to = v
		return nil
	})
}

// countVar defines a flag for a number that is not negative.
func countVar[T int | int64](fs *flag.FlagSet, to *T, name, help string) {
	fs.Func(name, help, func(v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 || int64(T(n)) != n {
			return errors.New("want a number, 0 or more")
		}
		*to = T(n)
		return nil
	})
}

// printFlags prints the flags as a person types them.
func printFlags(w io.Writer, fs *flag.FlagSet) {
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nflags:\n")
			first = false
		}
		kind, help := flag.UnquoteUsage(f)
		name := dashed(f.Name)
		if kind != "" {
			name += " " + strings.ToUpper(strings.ReplaceAll(kind, " ", "-"))
		}
		fmt.Fprintf(w, "  %-22s  %s", name, help)
		switch f.DefValue {
		case "", "false", "0", "0s":
			fmt.Fprintln(w)
		default:
			value := f.DefValue
			if short, ok := strings.CutSuffix(value, "h0m0s"); ok { // a duration's
				value = short + "h"
			}
			fmt.Fprintf(w, " (default: %s)\n", value)
		}
	})
}

// dashed is a flag as it is written here; package flag takes one dash or two.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// parse parses args with fs, in which flags and words may come in any order;
// what remains must be between min and max words.
func parse(fs *flag.FlagSet, args []string, min, max int) error {
	var words []string
	for {
		if err := parseFlags(fs, args); err != nil {
			return err
		}
		if fs.NArg() == 0 {
			break
		}
		if parsed := len(args) - fs.NArg(); parsed > 0 && args[parsed-1] == "--" {
			words = append(words, fs.Args()...)
			break
		}
		words, args = append(words, fs.Arg(0)), fs.Args()[1:]
	}
	return parseWords(fs, words, min, max)
}

// parseWords takes args as they are: none is a flag, save that -h asks for help.
func parseWords(fs *flag.FlagSet, args []string, min, max int) error {
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		fs.Usage()
		return flag.ErrHelp
	}
	if err := fs.Parse(append([]string{"--"}, args...)); err != nil {
		return err
	}
	switch {
	case fs.NArg() < min:
		return errUsage
	case fs.NArg() > max:
		return fmt.Errorf("%w: unexpected %q", errUsage, fs.Arg(max))
	}
	return nil
}

// parseFlags parses flags up to the first word.
func parseFlags(fs *flag.FlagSet, args []string) error {
	out, usage := fs.Output(), fs.Usage
	fs.SetOutput(io.Discard) // run prints what is wrong, once
	fs.Usage = func() {}
	err := fs.Parse(args)
	fs.SetOutput(out)
	fs.Usage = usage
	if errors.Is(err, flag.ErrHelp) {
		fs.Usage()
		return err
	}
	if err != nil {
		msg := oneDash.ReplaceAllString(err.Error(), " -$1")
		if name, ok := strings.CutPrefix(msg, "flag provided but not defined: "); ok {
			msg += likeFlag(fs, strings.TrimLeft(name, "-"))
		}
		return fmt.Errorf("%w: %s", errUsage, msg)
	}
	return nil
}

// likeFlag names the flag that may have been meant: one that begins with name,
// or that name begins with.
func likeFlag(fs *flag.FlagSet, name string) (like string) {
	fs.VisitAll(func(f *flag.Flag) {
		if len(name) > 1 && len(f.Name) > 1 && (strings.HasPrefix(f.Name, name) || strings.HasPrefix(name, f.Name)) {
			like = ": there is " + dashed(f.Name)
		}
	})
	return like
}

// oneDash finds the flags in what package flag says.
var oneDash = lazyregexp.New(` (-[a-z][a-z-]+)`)
