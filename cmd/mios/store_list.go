package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/publish/app"
	"mios/publish/app/setup"
)

var storeList = command{"store list", "[flags]", "print submissions, or apps\n" +
	"The newest submission stands first.",
	func(ctx context.Context, e env, args []string) error {
		f := newStoreFlags(e)
		var filter app.Filter
		state := f.String("state", "", "only those that are `STATE`: review, approved, rejected, checking")
		f.StringVar(&filter.Package, "package", "", "only those of a `package`")
		f.StringVar(&filter.By, "by", "", "only those of a `developer`")
		f.StringVar(&filter.Before, "before", "", "only those before a `submission`: the next page")
		f.IntVar(&filter.Limit, "limit", 100, "at most `N`")
		apps := f.Bool("apps", false, "print the apps instead")
		if err := parse(f.FlagSet, args, 0, 0); err != nil {
			return err
		}
		filter.State = app.State(*state)
		s, err := f.look(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		if *apps {
			return f.listApps(ctx, e, s, filter)
		}
		list, err := s.Submissions(ctx, filter)
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(e, list)
		}
		w := table(e, "ID\tPACKAGE\tVERSION\tSTATE\tBY\tSINCE (UTC)")
		for _, sub := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", sub.ID, orDash(sub.Package), versionOf(printable(sub.VersionName), sub.VersionCode), sub.State, printable(sub.By), sub.At.Format(time.DateTime))
		}
		return w.Flush()
	}}

func (f *storeFlags) listApps(ctx context.Context, e env, s *setup.Opened, filter app.Filter) error {
	list, err := s.Apps(ctx, filter.Package, filter.Limit)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(e, list)
	}
	w := table(e, "PACKAGE\tNAME\tRELEASES\tPRODUCTION\tDEVELOPERS")
	for _, a := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", a.Package, printable(a.Label), len(a.Releases), productionOf(&a), printable(strings.Join(a.Developers, ", ")))
	}
	return w.Flush()
}

// productionOf says what most devices get.
func productionOf(a *app.App) string {
	for _, r := range a.Releases {
		if r.Track == api.TrackProduction && !r.Withdrawn {
			return versionOf(printable(r.VersionName), r.VersionCode) + " " + releaseState(&r)
		}
	}
	return "-"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// releaseState says how far a release goes today.
func releaseState(r *app.Release) string {
	switch {
	case r.Withdrawn:
		return "withdrawn"
	case r.Halted:
		return "halted at " + r.Share.String()
	}
	state := "to " + r.Share.String()
	if r.Schedule != nil {
		state += ", next step " + r.Schedule.Next.UTC().Format(time.DateTime) + " UTC"
	}
	return state
}

var storeShow = command{"store show", "[flags] SUBMISSION|PACKAGE", "print all of a submission or of an app",
	func(ctx context.Context, e env, args []string) error {
		f := newStoreFlags(e)
		facts := f.Bool("facts", false, "with --json: all that was found out about a submission's files")
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		s, err := f.look(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		if _, err := strconv.ParseInt(f.Arg(0), 10, 64); err == nil {
			return f.showSubmission(ctx, e, s, f.Arg(0), *facts)
		}
		a, err := s.App(ctx, f.Arg(0))
		if errors.Is(err, mios.ErrNotFound) && !strings.Contains(f.Arg(0), ".") {
			return fmt.Errorf("%s: %w: it is neither a submission's number nor a package: mios store list tells what there is", f.Arg(0), mios.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(e, a)
		}
		return f.showApp(e, s, a)
	}}

func (f *storeFlags) showSubmission(ctx context.Context, e env, s *setup.Opened, id string, facts bool) error {
	if facts {
		v, err := s.Facts(ctx, id)
		if err != nil {
			return err
		}
		return printJSON(e, v)
	}
	sub, err := s.Submission(ctx, id)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(e, sub)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "submission %s: %s %s, %s\n", sub.ID, sub.Package, versionOf(printable(sub.VersionName), sub.VersionCode), sub.State.Said())
	fmt.Fprintf(&b, "  %s, by %s on %s UTC, signed by %s\n", printable(sub.Label), printable(sub.By), sub.At.Format(time.DateTime), signersOf(sub.Signers))
	for _, file := range sub.Files {
		name := "base package"
		if file.Split != "" {
			name = "split " + file.Split
		}
		fmt.Fprintf(&b, "  %s, %d bytes, SHA-256 %s\n", name, file.Size, file.SHA256)
	}
	if sub.Note != "" {
		fmt.Fprintf(&b, "  new: %s\n", printable(sub.Note))
	}
	describeFindings(&b, sub)
	if v := sub.Verdict; v != nil {
		what := "rejected"
		if v.Approved {
			what = "approved"
		}
		fmt.Fprintf(&b, "  %s by %s on %s UTC %s\n", what, printable(v.By), v.At.Format(time.DateTime), printable(v.Why))
	}
	fmt.Fprint(e.stdout, b.String())
	return nil
}

func (f *storeFlags) showApp(e env, s *setup.Opened, a *app.App) error {
	fmt.Fprintf(e.stdout, "%s: %s, of %s\n", a.Package, printable(a.Label), printable(strings.Join(a.Developers, ", ")))
	fmt.Fprintf(e.stdout, "owned by the signer %s; signed now by %s\n", signersOf(a.Owner), signersOf(a.Signers))
	if a.Claim == app.ClaimWaits {
		f.tellWaiting(e, s, []string{a.Package})
	} else if a.Pending {
		fmt.Fprintf(e.stdout, "devices do not see the newest state yet: mios store compile%s\n", f.storeArg())
	}
	w := table(e, "RELEASE\tVERSION\tTRACK\tSTATE\tFOR\tSUBMISSION\tBY\tSINCE (UTC)")
	for _, r := range a.Releases {
		state := releaseState(&r)
		if r.Rollback {
			state += ", back to an older version"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Number, versionOf(printable(r.VersionName), r.VersionCode), r.Track, state, audience(&r), r.Submission, printable(r.By), r.At.Format(time.DateTime))
	}
	return w.Flush()
}

// audience says which devices a release is for.
func audience(r *app.Release) string {
	if len(r.Regions)+len(r.Classes) == 0 {
		return "all"
	}
	return strings.Join(append(append([]string{}, r.Classes...), r.Regions...), ",")
}
