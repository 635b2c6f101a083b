package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"

	"mios/internal/progress"
	"mios/key"
	"mios/publish/app"
	"mios/publish/app/setup"
)

// storeCommands are a store's, on its folder: they need no server.
var storeCommands = []command{
	storeInit, storeSubmit, storeList, storeShow, storeReview, storeRelease, storeShare, storeHalt, storeResume, storeRollback,
	storeListing, storeDevelopers, storeHistory, storeAudit, storeStatus, storeCompile, storeFDroid, storeImportFDroid,
}

// storeFlags are what the commands on a store share.
type storeFlags struct {
	*flag.FlagSet
	dir, keys string
	who, why  string
	json      bool
	noWait    bool // said by a flag
	urgent    bool // no deltas are made after it: it has none to make, and others' may take minutes
}

// newStoreFlags returns the flags of a command that looks.
func newStoreFlags(e env) *storeFlags {
	f := &storeFlags{FlagSet: flags(e)}
	f.StringVar(&f.dir, "store", "store", "`folder` of the store")
	f.BoolVar(&f.json, "json", false, jsonHelp)
	return f
}

// newChangeFlags returns those of a command that changes.
func newChangeFlags(e env) *storeFlags {
	f := newStoreFlags(e)
	f.StringVar(&f.keys, "keys", "", "`folder` of keys (default: store.yaml's)")
	f.StringVar(&f.who, "as", "", "`name` of who does it, for the history (default: the user's)")
	f.StringVar(&f.why, "why", "", "`text` for the history: the reason")
	return f
}

// look opens the store without keys.
func (f *storeFlags) look(ctx context.Context) (*setup.Opened, error) {
	return setup.Open(ctx, f.dir, setup.Options{NoKeys: true})
}

// open opens the store with the keys at hand, and takes up what a killed command
// has left.
func (f *storeFlags) open(ctx context.Context, e env) (*setup.Opened, error) {
	if f.who == "" {
		u, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("%w: say who does it with --as: %v", errUsage, err)
		}
		f.who = u.Username
	}
	s, err := setup.Open(ctx, f.dir, setup.Options{Keys: f.keys, Passphrase: passphrase(e)})
	if err == nil && key.IsDevelopment(s.Keys.Dir()) {
		fmt.Fprintf(e.stderr, "mios: %s holds DEVELOPMENT KEYS: never ship a device that trusts them\n", s.Keys.Dir())
	}
	return s, err
}

// change opens the store, lets fn change it, brings the repository to what the
// store says, and says what became of that.
func (f *storeFlags) change(ctx context.Context, e env, fn func(s *setup.Opened) (result any, done string, err error)) error {
	s, err := f.open(ctx, e)
	if err != nil {
		return err
	}
	defer s.Close()
	result, done, err := fn(s)
	if err != nil {
		return err
	}
	if f.json {
		if err := printJSON(e, result); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(e.stdout, done)
	}
	return f.finish(ctx, e, s)
}

// step does one thing, and tells on standard error how far it is if it takes
// over a second.
func step(ctx context.Context, e env, what string, fn func(ctx context.Context, t *progress.Task) error) error {
	return progress.New(e.stderr).Step(ctx, what, fn)
}

// finish does what a change has left to do: publish, and compare versions.
func (f *storeFlags) finish(ctx context.Context, e env, s *setup.Opened) error {
	st, err := s.Status(ctx)
	if err != nil || len(st.Outbox) == 0 {
		return err
	}
	var c *app.Compiled
	err = step(ctx, e, "publish", func(ctx context.Context, _ *progress.Task) (err error) {
		c, err = s.Compile(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("the store has it, and not all devices see it yet: %w: when that is mended, run mios store compile%s", err, f.storeArg())
	}
	if f.tell(e, s, c); f.urgent {
		return f.tellLater(ctx, e, s)
	}
	err = f.compare(ctx, e, s)
	if err != nil && ctx.Err() != nil {
		fmt.Fprintf(e.stderr, "mios: it is published, without all deltas: mios store compile%s goes on, and so does mios serve\n", f.storeArg())
	}
	return err
}

// tellLater says who makes the deltas that this command leaves.
func (f *storeFlags) tellLater(ctx context.Context, e env, s *setup.Opened) error {
	st, err := s.Status(ctx)
	if err == nil && f.noWait && st.Outbox["delta"] > 0 {
		fmt.Fprintf(e.stderr, "mios: it is published; deltas follow: mios serve --store makes them, or mios store compile%s\n", f.storeArg())
	}
	return err
}

// compare makes the deltas that a change has left to make.
func (f *storeFlags) compare(ctx context.Context, e env, s *setup.Opened) error {
	st, err := s.Status(ctx)
	if err != nil || st.Outbox["delta"] == 0 {
		return err
	}
	err = step(ctx, e, "it is published; compare with the versions that devices have", func(ctx context.Context, t *progress.Task) error {
		return s.MakeDeltas(ctx, func(what string) { t.Note("%s", what) })
	})
	if err != nil {
		return fmt.Errorf("it is published, without all deltas: %w: mios store compile%s tries again", err, f.storeArg())
	}
	c, err := s.Compile(ctx)
	if err != nil {
		return err
	}
	if len(c.Packages) > 0 && !f.json {
		fmt.Fprintf(e.stdout, "published deltas of %s\n", strings.Join(c.Packages, ", "))
	}
	return nil
}

// tell says what was published, and what waits for whom.
func (f *storeFlags) tell(e env, s *setup.Opened, c *app.Compiled) {
	out := e.stdout
	if f.json {
		out = e.stderr
	}
	if c.Result != nil && c.Result.Published {
		fmt.Fprintf(out, "published %s (timestamp %d)\n", strings.Join(c.Packages, ", "), c.Result.Timestamp)
	}
	if c.Result != nil {
		for _, w := range c.Result.Warnings {
			fmt.Fprintf(e.stderr, "mios: warning: %s\n", w)
		}
	}
	if len(c.Waiting) > 0 {
		f.tellWaiting(e, s, c.Waiting)
	}
}

func (f *storeFlags) tellWaiting(e env, s *setup.Opened, pkgs []string) {
	out := e.stdout
	if f.json {
		out = e.stderr
	}
	dir := joinWords([]string{s.Repo().Dir()})
	fmt.Fprintf(out, "%s: no device sees it until the claims role's key has signed whose the package is\n", strings.Join(pkgs, ", "))
	fmt.Fprintf(out, "next: mios repo export -o bundle.json %s; where that key is: mios repo sign bundle.json; here: mios repo import %s bundle.json, then mios store compile%s\n",
		dir, dir, f.storeArg())
}

// storeArg is what other commands need to find the same store.
func (f *storeFlags) storeArg() string {
	if f.dir == "store" {
		return ""
	}
	return " --store " + joinWords([]string{f.dir})
}

// table is a table on standard output.
func table(e env, head string) *tabwriter.Writer {
	w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, head)
	return w
}

// readable fails early, and by the right name, where a folder is none.
func readable(dir string) error {
	fi, err := os.Stat(dir)
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("%s: it is no folder", dir)
	}
	return err
}
