package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	api "mios/api/repo"
	"mios/publish/app"
	"mios/publish/app/setup"
)

var storeRelease = command{"store release", "[flags] SUBMISSION", "release an approved submission\n" +
	"On production it begins with 1 % of the devices unless --share says otherwise; with --every it grows by itself,\n" +
	"while mios serve runs or mios store compile is run.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		var o app.ReleaseOptions
		f.StringVar(&o.Track, "track", api.TrackProduction, "`track`: internal, beta or production")
		share := f.String("share", "", "`per cent` of the devices that it is for today (default: the first step on production, else 100)")
		regions := f.String("regions", "", "`regions`, ISO 3166 with commas between: DE,AT (default: everywhere)")
		classes := f.String("classes", "", "`classes` of devices, with commas between: phone, watch, iot, car (default: all)")
		steps := f.String("steps", "1,5,20,100", "`SHARES` in per cent, with commas between, in which it grows")
		f.DurationVar(&o.Every, "every", 0, "`time` between two steps: 24h (default: it grows only when told)")
		f.addNoWait()
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		f.urgent = f.noWait
		o.Why, o.Regions, o.Classes = f.why, words(*regions), words(*classes)
		for _, text := range words(*steps) {
			step, err := api.ParseShare(text)
			if err != nil {
				return fmt.Errorf("%w: %v", errUsage, err)
			}
			o.Steps = append(o.Steps, step)
		}
		if *share != "" {
			var err error
			if o.Share, err = api.ParseShare(*share); err != nil {
				return fmt.Errorf("%w: %v", errUsage, err)
			}
		}
		return f.change(ctx, e, func(s *setup.Opened) (any, string, error) {
			return released(s.Release(ctx, f.who, f.Arg(0), o))
		})
	}}

// addNoWait adds the flag of commands that new deltas follow.
func (f *storeFlags) addNoWait() {
	f.BoolVar(&f.noWait, "no-wait", false, "end once it is published: mios serve makes the deltas, or mios store compile")
}

// words are what stands between commas.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// released says what a release is now.
func released(r *app.Release, err error) (any, string, error) {
	if err != nil {
		return nil, "", err
	}
	what := "release"
	if r.Rollback {
		what = "rollback: release"
	}
	return r, fmt.Sprintf("%s %d of %s: %s on %s, %s", what, r.Number, r.Package, versionOf(printable(r.VersionName), r.VersionCode), r.Track, releaseState(r)), nil
}

var storeShare = command{"store share", "[flags] PACKAGE SHARE", "say how many devices a release is for\n" +
	"SHARE is in per cent: 20, 100. Devices that have the release already keep it.",
	func(ctx context.Context, e env, args []string) error {
		f, which := newReleaseFlags(e)
		if err := parse(f.FlagSet, args, 2, 2); err != nil {
			return err
		}
		share, err := api.ParseShare(f.Arg(1))
		if err != nil {
			return fmt.Errorf("%w: %v", errUsage, err)
		}
		return f.onRelease(ctx, e, which, func(s *setup.Opened, n int64) (*app.Release, error) {
			return s.SetShare(ctx, f.who, f.Arg(0), n, share, f.why)
		})
	}}

var storeHalt = command{"store halt", "[flags] PACKAGE", "let no further device take a release, until told otherwise",
	func(ctx context.Context, e env, args []string) error {
		f, which := newReleaseFlags(e)
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		return f.onRelease(ctx, e, which, func(s *setup.Opened, n int64) (*app.Release, error) {
			return s.Halt(ctx, f.who, f.Arg(0), n, f.why)
		})
	}}

var storeResume = command{"store resume", "[flags] PACKAGE", "let devices take a halted release again",
	func(ctx context.Context, e env, args []string) error {
		f, which := newReleaseFlags(e)
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		return f.onRelease(ctx, e, which, func(s *setup.Opened, n int64) (*app.Release, error) {
			return s.Resume(ctx, f.who, f.Arg(0), n, f.why)
		})
	}}

var storeRollback = command{"store rollback", "[flags] PACKAGE", "release an older version again, and withdraw the newer ones\n" +
	"Devices go down to it. Apps that cannot read what the newer version wrote lose data: that is the app's to know.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		track := f.String("track", api.TrackProduction, "`track`: internal, beta or production")
		to := f.Int64("to", 0, "the `release` to go back to (default: the newest with an older version)")
		f.addNoWait()
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		f.urgent = f.noWait
		return f.change(ctx, e, func(s *setup.Opened) (any, string, error) {
			return released(s.Rollback(ctx, f.who, f.Arg(0), *track, *to, f.why))
		})
	}}

// releaseChoice are the flags that name a release.
type releaseChoice struct {
	track  string
	number int64
}

// newReleaseFlags returns the flags of a command that changes a release.
func newReleaseFlags(e env) (*storeFlags, *releaseChoice) {
	f, which := newChangeFlags(e), new(releaseChoice)
	f.urgent = true
	f.StringVar(&which.track, "track", api.TrackProduction, "`track` whose current release is meant")
	f.Int64Var(&which.number, "release", 0, "`number` of the release that is meant")
	return f, which
}

// onRelease changes the release that flags name.
func (f *storeFlags) onRelease(ctx context.Context, e env, which *releaseChoice, fn func(s *setup.Opened, number int64) (*app.Release, error)) error {
	return f.change(ctx, e, func(s *setup.Opened) (any, string, error) {
		n := which.number
		if n == 0 {
			a, err := s.App(ctx, f.Arg(0))
			if err != nil {
				return nil, "", err
			}
			r := a.Current(which.track)
			if r == nil {
				return nil, "", fmt.Errorf("%s: nothing of it is released on %s: mios store show %s lists what is", a.Package, strconv.Quote(which.track), a.Package)
			}
			n = r.Number
		}
		return released(fn(s, n))
	})
}
