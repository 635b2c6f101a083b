package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/publish/app"
	"mios/publish/app/setup"
)

var storeReview = command{"store review", "[flags] SUBMISSION", "approve or reject a submission\n" +
	"mios store show tells what there is to know of it. The first approval of a package claims it for the signer.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		approve := f.Bool("approve", false, "let it be released")
		reject := f.Bool("reject", false, "refuse it, with --why")
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		if *approve == *reject {
			return fmt.Errorf("%w: want one of --approve and --reject", errUsage)
		}
		return f.change(ctx, e, func(s *setup.Opened) (any, string, error) {
			sub, err := s.Review(ctx, f.who, f.Arg(0), *approve, f.why)
			if err != nil {
				return nil, "", err
			}
			done := fmt.Sprintf("rejected submission %s: %s %s", sub.ID, sub.Package, versionOf(sub.VersionName, sub.VersionCode))
			if *approve {
				done = fmt.Sprintf("approved submission %s: %s %s\nnext: mios store release %s%s", sub.ID, sub.Package, versionOf(sub.VersionName, sub.VersionCode), sub.ID, f.storeArg())
			}
			return sub, done, nil
		})
	}}

var storeListing = command{"store listing", "[flags] PACKAGE FOLDER", "replace what people see of an app\n" +
	"FOLDER is in fastlane's layout, with a folder for each language: metadata/android of a project.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		if err := parse(f.FlagSet, args, 2, 2); err != nil {
			return err
		}
		if err := readable(f.Arg(1)); err != nil {
			return err
		}
		return f.change(ctx, e, func(s *setup.Opened) (any, string, error) {
			a, left, err := s.SetListing(ctx, f.who, f.Arg(0), os.DirFS(f.Arg(1)), f.why)
			for _, text := range left {
				fmt.Fprintf(e.stderr, "mios: note: %s\n", printable(text))
			}
			return a, "replaced the listing of " + f.Arg(0), err
		})
	}}

var storeDevelopers = command{"store developers", "[flags] PACKAGE NAME...", "say who may submit versions of an app\n" +
	"Those that are not named may no longer.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		if err := parse(f.FlagSet, args, 2, 100); err != nil {
			return err
		}
		return f.change(ctx, e, func(s *setup.Opened) (any, string, error) {
			a, err := s.SetDevelopers(ctx, f.who, f.Arg(0), f.Args()[1:], f.why)
			return a, "set the developers of " + f.Arg(0), err
		})
	}}

var storeHistory = command{"store history", "[flags] PACKAGE", "print what was done to an app: who, when, what and why\n" +
	"It verifies the whole history before, and says where it breaks.",
	func(ctx context.Context, e env, args []string) error {
		f := newStoreFlags(e)
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		s, err := f.look(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		list, err := s.History(ctx, f.Arg(0))
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(e, list)
		}
		w := table(e, "EVENT\tWHEN (UTC)\tWHO\tWHAT\tWHY\tEXACTLY")
		for _, ev := range list {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", ev.Seq, ev.Time.Format("2006-01-02 15:04:05"), printable(ev.Who), ev.What, orDash(printable(ev.Why)), exactly(ev.Data))
		}
		return w.Flush()
	}}

// exactly says what an event's data do: to a release, to a submission, or
// anything else as it is.
func exactly(data json.RawMessage) string {
	var d struct {
		Number      int64     `json:"number"`
		Submission  string    `json:"submission"`
		VersionCode int64     `json:"version_code"`
		Track       string    `json:"track"`
		Share       api.Share `json:"share"`
		Claims      []mios.Digest
	}
	switch err := json.Unmarshal(data, &d); {
	case err == nil && d.Number > 0:
		return fmt.Sprintf("release %d: version %d on %s, %s", d.Number, d.VersionCode, d.Track, d.Share)
	case err == nil && d.Submission != "" && len(d.Claims) > 0:
		return fmt.Sprintf("submission %s: version %d, claims the package for %s", d.Submission, d.VersionCode, signersOf(d.Claims))
	case err == nil && d.Submission != "":
		return fmt.Sprintf("submission %s: version %d", d.Submission, d.VersionCode)
	}
	return printable(string(data))
}

var storeAudit = command{"store audit", "[flags]", "verify the history of everything\n" +
	"Each event's hash covers the one before it. Whoever keeps the head that is printed can show later, with\n" +
	"--head, that nothing before it was changed.",
	func(ctx context.Context, e env, args []string) error {
		f := newStoreFlags(e)
		head := f.String("head", "", "`hash` that an earlier audit printed: it must still be in the history")
		if err := parse(f.FlagSet, args, 0, 0); err != nil {
			return err
		}
		var earlier mios.Digest
		if *head != "" {
			var err error
			if earlier, err = mios.ParseDigest(*head); err != nil {
				return fmt.Errorf("%w: --head: %v", errUsage, err)
			}
		}
		s, err := f.look(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		a, err := s.Audit(ctx, earlier)
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(e, a)
		}
		fmt.Fprintf(e.stdout, "%d events, whole; head %s\n", a.Events, a.Head)
		return nil
	}}

var storeStatus = command{"store status", "[flags]", "print what a store has, and what waits",
	func(ctx context.Context, e env, args []string) error {
		f := newStoreFlags(e)
		if err := parse(f.FlagSet, args, 0, 0); err != nil {
			return err
		}
		s, err := f.look(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		expires, err := s.Repo().Expires(ctx)
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(e, struct {
				*app.Status
				Expires time.Time `json:"expires"`
			}{st, expires})
		}
		fmt.Fprintf(e.stdout, "%s, %s in the history\n", counted(st.Apps, "app"), counted(st.Events, "event"))
		fmt.Fprintf(e.stdout, "repository %s\n", goodUntil(expires, "mios serve --store "+joinWords([]string{f.dir})))
		for _, state := range []app.State{app.Checking, app.Review, app.Approved, app.Rejected} {
			if n := st.Submissions[state]; n > 0 {
				fmt.Fprintf(e.stdout, "%s: %s\n", counted(n, "submission"), state.Said())
			}
		}
		if len(st.Waiting) > 0 {
			f.tellWaiting(e, s, st.Waiting)
		}
		left := -int64(len(st.Waiting))
		for _, n := range st.Outbox {
			left += n
		}
		if left > 0 || st.Submissions[app.Checking] > 0 {
			fmt.Fprintf(e.stdout, "something was not brought to its end: mios store compile%s\n", f.storeArg())
		}
		return nil
	}}

var storeCompile = command{"store compile", "[flags]", "bring what devices see to what the store says\n" +
	"Other commands do so themselves; this one goes on after a kill, after claims were signed elsewhere, and when a\n" +
	"scheduled share is due.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		if err := parse(f.FlagSet, args, 0, 0); err != nil {
			return err
		}
		s, err := f.open(ctx, e)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.Recover(ctx, 0); err != nil {
			return err
		}
		if err := s.Grow(ctx); err != nil {
			return err
		}
		if err := f.finish(ctx, e, s); err != nil {
			return err
		}
		if _, err := s.Compile(ctx); err != nil { // F-Droid's indexes may be missing though nothing has changed
			return err
		}
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(e, st)
		}
		if len(st.Outbox) == 0 {
			fmt.Fprintln(e.stdout, "devices see what the store says")
		}
		return nil
	}}

// counted is so many of a thing, for people.
func counted(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
