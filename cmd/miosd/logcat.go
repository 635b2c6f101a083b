//go:build !ramdisk

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"mios/device/logd"
)

// logcat shows the system's log, as AOSP's logcat does.
func logcat(ctx context.Context, args []string) int {
	err := runLogcat(ctx, "", args, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "logcat: %v\n", err)
		return 1
	}
	return 0
}

// A logcatCall is what logcat's arguments ask for.
type logcatCall struct {
	query  logd.Query
	clear  bool
	format logd.Format
	filter logd.Filter
	regex  *regexp.Regexp // nil means any message
	max    int            // entries to show; 0 means all
}

func parseLogcat(args []string, usage io.Writer) (logcatCall, error) {
	var c logcatCall
	set := flag.NewFlagSet("logcat", flag.ContinueOnError)
	set.SetOutput(usage)
	set.Usage = func() {
		fmt.Fprintln(usage, "usage: logcat [OPTION]... [TAG:PRIORITY]...   (priorities: V D I W E F S)")
		set.PrintDefaults()
	}
	dump := set.Bool("d", false, "show what there is and end")
	silent := set.Bool("s", false, "show only what a filter names")
	set.BoolVar(&c.clear, "c", false, "clear the log and end")
	recent := set.Int("t", 0, "show only the newest `N` entries and end")
	tail := set.Int("T", 0, "begin with the newest `N` entries")
	form := set.String("v", "threadtime", "`FORMAT`: brief, process, tag, thread, raw, time, threadtime or long; behind commas usec, year, UTC, epoch")
	set.IntVar(&c.max, "m", 0, "end after `N` entries")
	set.IntVar(&c.query.PID, "pid", 0, "show only what the process `PID` wrote")
	expr := set.String("e", "", "show only messages that match `REGEX`")
	set.Func("b", "show only the `BUFFER`: main, system, crash, kernel, all, default", func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			if name == "all" || name == "default" {
				continue
			}
			id, ok := logd.ParseID(name)
			if !ok {
				return fmt.Errorf("no buffer is called %q", name)
			}
			c.query.IDs = append(c.query.IDs, id)
		}
		return nil
	})
	var specs []string // may stand among the options, as AOSP's getopt has it
	for rest := args; ; {
		if err := set.Parse(rest); err != nil {
			return c, err
		}
		if set.NArg() == 0 {
			break
		}
		specs, rest = append(specs, set.Arg(0)), set.Args()[1:]
	}
	c.query.Follow = !*dump && *recent == 0
	c.query.Tail = max(*tail, *recent)
	var err error
	if c.format, err = logd.ParseFormat(*form); err != nil {
		return c, err
	}
	if *expr != "" {
		if c.regex, err = regexp.Compile(*expr); err != nil {
			return c, err
		}
	}
	c.filter, err = logd.ParseFilter(specs, *silent)
	return c, err
}

// errEnough ends the reading after -m entries.
var errEnough = errors.New("enough entries")

// runLogcat is logcat on the socket at path.
func runLogcat(ctx context.Context, path string, args []string, stdout, stderr io.Writer) error {
	c, err := parseLogcat(args, stderr)
	if err != nil {
		return err
	}
	if c.clear {
		return logd.Clear(ctx, path, c.query)
	}
	out := bufio.NewWriter(stdout)
	begun := make(map[logd.ID]bool)
	shown := 0
	err = logd.Read(ctx, path, c.query, func(e logd.Entry) error {
		if !c.filter.Match(e) || c.regex != nil && !c.regex.MatchString(e.Message) {
			return nil
		}
		if !begun[e.ID] {
			begun[e.ID] = true
			fmt.Fprintf(out, "--------- beginning of %s\n", e.ID)
		}
		out.WriteString(c.format.Entry(e))
		if shown++; shown == c.max {
			return errEnough
		}
		if c.query.Follow {
			return out.Flush()
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return errors.Join(err, out.Flush())
}
