package ota

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"mios"
)

// ErrUsage is a wrong call of update_engine_client; the error tells how to call
// it.
var ErrUsage = errors.New(`usage: update_engine_client VERB [--follow] [--json]
  --status     what runs, what the updater is at, what went wrong
  --check      look for a release
  --update     look for a release and install it, up to the reboot
  --unmetered  with --update: whatever the product's data budget is
  --follow     a line whenever something changes, until an update is ready or none is under way
  --reboot     reboot into an update that is ready
  --reset-bad  forget which releases did not stay
  --json       print JSON, one object a line`)

// ClientMain is the program update_engine_client.
func ClientMain(ctx context.Context, c Client, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("update_engine_client", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	verbs := map[Verb]*bool{}
	for _, v := range []Verb{VerbStatus, VerbCheck, VerbUpdate, VerbReboot, VerbResetBad} {
		verbs[v] = fs.Bool(string(v), false, "")
	}
	follow, asJSON, unmetered := fs.Bool("follow", false, ""), fs.Bool("json", false, ""), fs.Bool("unmetered", false, "")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return ErrUsage
	case err != nil:
		if _, name, ok := strings.Cut(err.Error(), "not defined: -"); ok {
			err = fmt.Errorf("there is no --%s", name)
		}
		return fmt.Errorf("update_engine_client: %v\n%w", err, ErrUsage)
	case fs.NArg() > 0:
		return fmt.Errorf("update_engine_client: unexpected %q\n%w", fs.Arg(0), ErrUsage)
	}
	call := Call{Follow: *follow, Unmetered: *unmetered}
	for v, set := range verbs {
		if *set && call.Verb != "" {
			return ErrUsage
		}
		if *set {
			call.Verb = v
		}
	}
	if call.Verb == "" {
		if !*follow {
			return ErrUsage
		}
		call.Verb = VerbStatus
	}
	p := &printer{out: out, json: *asJSON}
	s, err := c.Do(ctx, call, p.line)
	if errors.Is(err, mios.ErrNotFound) { // nothing to do is done
		fmt.Fprintln(out, err)
		return nil
	}
	switch {
	case err != nil:
		return err
	case call.Follow && s.State == Reporting:
		return errors.New(s.Error)
	case call.Follow:
		p.line(s)
	case call.Verb == VerbStatus && !*asJSON:
		fmt.Fprint(out, s)
	default:
		p.line(s)
	}
	return p.err
}

// A printer prints statuses, those that look the same once.
type printer struct {
	out  io.Writer
	json bool
	last string
	err  error
}

func (p *printer) line(s Status) {
	text := s.Line()
	if p.json {
		b, err := json.Marshal(s)
		p.err = errors.Join(p.err, err)
		text = string(b)
	}
	if text == p.last {
		return
	}
	p.last = text
	_, err := fmt.Fprintln(p.out, text)
	p.err = errors.Join(p.err, err)
}
