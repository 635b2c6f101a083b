package main

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mios"
	api "mios/api/repo"
	"mios/build/image"
	buildota "mios/build/ota"
	"mios/format/chunks"
	"mios/key"
	"mios/publish/app"
	"mios/publish/ota"
	"mios/publish/repo"
)

var publishOS = command{"publish os", "[flags] BUILD", "publish a build's payload as an OS release\n" +
	"BUILD is the folder that mios build made.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		dir := f.String("repo", "repo", "`folder` of the repository")
		payload := f.String("payload", "", "payload `file` (default: BUILD/ota/payload.bin)")
		var channels []string
		namesVar(f.FlagSet, &channels, "channel", "`channels`, with commas between (default: the build's)")
		var deltas []string
		f.Func("delta", "`file` of a delta to this build, or folder with its payload.bin; may be given again (default: those in BUILD/ota/*/)", func(s string) error {
			deltas = append(deltas, s)
			return nil
		})
		folder := f.String("chunks", "", "`folder` with the build's chunks (default: BUILD/ota, if mios ota adaptive made them there)")
		share := f.String("share", "", "`per cent` of the devices that it is for today (default: as before, or as many as may be)")
		limit := f.String("max-share", "100", "`per cent` that the rollout may never go beyond")
		notes := f.String("notes", "", "`text` for people: what is new")
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		rel, err := releaseOf(f.Arg(0), channels, *limit)
		if err != nil {
			return err
		}
		rel.Notes = *notes
		today := repo.SameShare
		if *share != "" {
			if today, err = api.ParseShare(*share); err != nil {
				return fmt.Errorf("%w: %v", errUsage, err)
			}
		}
		rel.Chunks = *folder
		if err := ways(&rel, filepath.Join(f.Arg(0), "ota"), deltas); err != nil {
			return err
		}
		r, keys, err := f.open(e, *dir)
		if err != nil {
			return err
		}
		if rel.Keys, err = payloadKeys(keys); err != nil {
			return err
		}
		if *payload == "" {
			*payload = filepath.Join(f.Arg(0), "ota", buildota.PayloadFile)
			if _, err := os.Stat(*payload); errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("%s: %w: make it with mios ota full %s", *payload, mios.ErrNotFound, f.Arg(0))
			}
		}
		out, res, err := ota.Publish(ctx, r, rel, *payload, today)
		if err != nil {
			return err
		}
		if _, err := ota.UpdateViews(ctx, r); err != nil {
			return err
		}
		to := ""
		if today != repo.SameShare {
			to = fmt.Sprintf(", to %s of the devices", today)
		}
		return f.print(e, res, fmt.Sprintf("published %s %s for %s in %s%s (%s)",
			out.Product, out.Version, out.Arch, strings.Join(out.Channels, ", "), to, out.Ways()))
	}}

// ways sets what is published beside the payload: what is asked for, or what is
// in the folder where mios ota puts it.
func ways(rel *ota.Release, dir string, deltas []string) error {
	if len(deltas) == 0 {
		found, err := filepath.Glob(filepath.Join(dir, "*", buildota.PayloadFile))
		if err != nil {
			return err
		}
		deltas = found
	}
	for _, d := range deltas {
		if fi, err := os.Stat(d); err == nil && fi.IsDir() {
			d = filepath.Join(d, buildota.PayloadFile)
		}
		rel.Deltas = append(rel.Deltas, d)
	}
	if rel.Chunks == "" {
		if _, err := os.Stat(filepath.Join(dir, chunks.IndexFile)); err == nil {
			rel.Chunks = dir
		}
	}
	return nil
}

// releaseOf describes the build in a folder as a release.
func releaseOf(build string, channels []string, limit string) (rel ota.Release, err error) {
	m, err := image.ReadManifest(build)
	if err != nil {
		return rel, err
	}
	rel = ota.Release{
		Product: m.Product, Arch: m.Arch, Version: m.Version, BuildTime: m.BuildTime,
		Channels: []string{m.Channel}, Regions: m.Regions,
	}
	if len(channels) > 0 {
		rel.Channels = channels
	}
	if rel.MaxShare, err = api.ParseShare(limit); err != nil {
		return rel, fmt.Errorf("%w: %v", errUsage, err)
	}
	return rel, nil
}

// payloadKeys are the public ota keys at hand, to check a payload with before
// devices do.
func payloadKeys(keys *key.Set) (list []*rsa.PublicKey, err error) {
	names, err := keys.Names(key.OTA)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		pub, err := keys.PublicKey(name)
		if err != nil {
			return nil, err
		}
		if k, ok := pub.(*rsa.PublicKey); ok {
			list = append(list, k)
		}
	}
	return list, nil
}

var publishApp = command{"publish app", "[flags] APK...", "publish apps\n" +
	"Each becomes the newest release of its package.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		dir := f.String("repo", "repo", "`folder` of the repository")
		claim := f.Bool("claim", false, "let the signer own a package that nobody owns")
		if err := parse(f.FlagSet, args, 1, 1<<16); err != nil {
			return err
		}
		r, _, err := f.open(e, *dir)
		if err != nil {
			return err
		}
		for _, path := range f.Args() {
			rel, res, err := app.Publish(ctx, r, path, *claim)
			if err != nil {
				return err
			}
			if err := f.print(e, res, fmt.Sprintf("published %s %s (%d)", rel.Package, rel.VersionName, rel.VersionCode)); err != nil {
				return err
			}
		}
		return nil
	}}

var publishClaim = command{"publish claim", "[flags] PACKAGE SHA256...", "say which signers own a package\n" +
	"A signer is the SHA-256 of its certificate. What was said of the package before is replaced.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		dir := f.String("repo", "repo", "`folder` of the repository")
		if err := parse(f.FlagSet, args, 2, 100); err != nil {
			return err
		}
		c := api.Claim{Package: f.Arg(0)}
		for _, s := range f.Args()[1:] {
			d, err := mios.ParseDigest(s)
			if err != nil {
				return fmt.Errorf("%w: %v", errUsage, err)
			}
			c.Signers = append(c.Signers, d)
		}
		r, _, err := f.open(e, *dir)
		if err != nil {
			return err
		}
		res, err := r.Claim(ctx, c)
		if err != nil {
			return err
		}
		return f.print(e, res, "claimed "+c.Package)
	}}

var publishRollout = command{"publish rollout", "[flags] PRODUCT VERSION", "say how far a release goes today\n" +
	"It goes up to what the release's offline keys allow. What is halted keeps its share, and --resume gives\n" +
	"it back; --resume --share another one. Devices that have the release keep it.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		dir := f.String("repo", "repo", "`folder` of the repository")
		var to rolloutChange
		f.StringVar(&to.share, "share", "", "`per cent` of the devices that it is for: 20, 100")
		f.BoolVar(&to.halt, "halt", false, "let no further device take it, until told otherwise")
		f.BoolVar(&to.resume, "resume", false, "let devices take what is halted again")
		f.BoolVar(&to.withdraw, "withdraw", false, "take it back for good")
		if err := parse(f.FlagSet, args, 2, 2); err != nil {
			return err
		}
		if err := to.check(); err != nil {
			return err
		}
		r, _, err := f.open(e, *dir)
		if err != nil {
			return err
		}
		n, res, err := rollout(ctx, r, f.Arg(0), f.Arg(1), to)
		if err != nil {
			return err
		}
		if _, err := ota.UpdateViews(ctx, r); err != nil {
			return fmt.Errorf("%w: the rollout is published, and updaters of others do not see it: run the command again", err)
		}
		return f.print(e, res, fmt.Sprintf("%s %s goes to %s", f.Arg(0), f.Arg(1), n))
	}}

// A rolloutChange is what publish rollout is asked for.
type rolloutChange struct {
	share                  string
	halt, resume, withdraw bool
}

// check refuses to guess: a forgotten flag would offer a release to everybody.
func (c *rolloutChange) check() error {
	n := 0
	for _, set := range []bool{c.halt, c.withdraw, c.resume || c.share != ""} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("%w: want one of --share, --halt, --resume and --withdraw", errUsage)
	}
	if c.share != "" {
		if _, err := api.ParseShare(c.share); err != nil {
			return fmt.Errorf("%w: %v", errUsage, err)
		}
	}
	return nil
}

// of returns how far a release goes after the change.
func (c *rolloutChange) of(rel *api.OSRelease) (n api.Narrow, err error) {
	n = api.Narrow{Share: rel.Share, Halted: c.halt, Withdrawn: c.withdraw}
	if c.share == "" {
		return n, nil
	}
	if rel.Halted && !c.resume {
		return n, fmt.Errorf("release %s of %s is halted: %w: --resume lets devices take it again", rel.Version, rel.Product, mios.ErrConflict)
	}
	n.Share, err = api.ParseShare(c.share)
	return n, err
}

// rollout narrows all releases of a version: one for each architecture.
func rollout(ctx context.Context, r *repo.Repo, product, version string, to rolloutChange) (n api.Narrow, res *repo.Result, err error) {
	s, err := r.Status(ctx)
	if err != nil {
		return n, nil, err
	}
	for i := range s.Releases {
		rel := &s.Releases[i]
		if rel.Product != product || rel.Version != version {
			continue
		}
		if n, err = to.of(rel); err != nil {
			return n, nil, err
		}
		if res, err = r.SetRollout(ctx, product, rel.Target.SHA256, n); err != nil {
			return n, nil, err
		}
	}
	if res == nil {
		return n, nil, fmt.Errorf("release %s of %s: %w: mios repo status lists those there are", version, product, mios.ErrNotFound)
	}
	return n, res, nil
}
