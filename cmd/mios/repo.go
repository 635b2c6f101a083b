package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	api "mios/api/repo"
	"mios/internal/units"
	"mios/key"
	"mios/publish/repo"
)

// repoFlags are what the commands on a repository share.
type repoFlags struct {
	*flag.FlagSet
	keys string
	json bool
}

// newRepoFlags returns the flags of a command that signs.
func newRepoFlags(e env) *repoFlags {
	f := &repoFlags{FlagSet: flags(e)}
	f.StringVar(&f.keys, "keys", "keys", "`folder` of keys")
	f.BoolVar(&f.json, "json", false, jsonHelp)
	return f
}

// open returns the repository in the folder dir, with the keys at hand.
func (f *repoFlags) open(e env, dir string) (*repo.Repo, *key.Set, error) {
	keys, err := openKeys(e, f.keys)
	if err != nil {
		return nil, nil, err
	}
	r, err := repo.Open(dir, repo.WithKeys(keys))
	return r, keys, err
}

// print says what became of a change: done is the sentence if all of it was
// published.
func (f *repoFlags) print(e env, res *repo.Result, done string) error {
	if f.json {
		return printJSON(e, res)
	}
	if len(res.Waiting) == 0 {
		fmt.Fprintf(e.stdout, "%s (timestamp %d)\n", done, res.Timestamp)
	}
	for _, w := range res.Waiting {
		fmt.Fprintf(e.stdout, "%s version %d waits for signatures: %d of %d; next: mios repo export, sign, import\n", w.Role, w.Version, w.Have, w.Need)
	}
	for _, w := range res.Warnings {
		fmt.Fprintf(e.stderr, "mios: warning: %s\n", w)
	}
	return nil
}

var repoInit = command{"repo init", "[flags] DIR", "make a repository for releases and apps\n" +
	"DIR/public is what a web server serves.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		bits := f.Int("app-bits", 0, "spread apps over 2^`N` files (default: 7, for some thousands; 9 for 20,000)")
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		keys, err := openKeys(e, f.keys)
		if err != nil {
			return err
		}
		if _, err := repo.Init(ctx, f.Arg(0), keys, repo.InitOptions{AppBits: *bits}); err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "made the repository %s; devices trust %s/%s/metadata/1.root.json first\n", f.Arg(0), f.Arg(0), repo.PublicDir)
		return nil
	}}

var repoProduct = command{"repo product", "[flags] DIR PRODUCT", "let a set of os keys sign a product's releases",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		threshold := f.Int("threshold", 0, "`how many` of the os keys must sign (default: 2)")
		if err := parse(f.FlagSet, args, 2, 2); err != nil {
			return err
		}
		r, keys, err := f.open(e, f.Arg(0))
		if err != nil {
			return err
		}
		res, err := r.AddProduct(ctx, f.Arg(1), keys, *threshold)
		if err != nil {
			return err
		}
		return f.print(e, res, "added product "+f.Arg(1))
	}}

var repoStatus = command{"repo status", "[--json] DIR", "print what a repository has published",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		r, err := repo.Open(fs.Arg(0))
		if err != nil {
			return err
		}
		s, err := r.Status(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(e, s)
		}
		printStatus(e, s)
		return nil
	}}

func printStatus(e env, s *repo.Status) {
	fmt.Fprintf(e.stdout, "root %d, timestamp %d, %s\n", s.Root, s.Timestamp, goodUntil(s.Expires, "mios repo refresh"))
	for _, r := range s.Releases {
		fmt.Fprintf(e.stdout, "os %s %s %s in %s, %s, at most to %s\n", r.Product, r.Arch, r.Version, strings.Join(r.Channels, ", "),
			goesTo(r.Share, r.Halted, r.Withdrawn), r.MaxShare)
	}
	for _, a := range s.Apps {
		fmt.Fprintf(e.stdout, "app %s %s (%d) on %s, %s\n", a.Package, a.VersionName, a.VersionCode, strings.Join(a.Tracks, ", "),
			goesTo(a.Share, a.Halted, a.Withdrawn))
	}
	for _, w := range s.Waiting {
		fmt.Fprintf(e.stdout, "%s version %d waits for signatures: %d of %d\n", w.Role, w.Version, w.Have, w.Need)
	}
}

// goodUntil says until when devices take what is published, and, if that is over
// or soon to be, what signs it anew.
func goodUntil(t time.Time, how string) string {
	when := t.UTC().Format(time.DateTime) + " UTC"
	switch left := time.Until(t); {
	case left <= 0:
		return "EXPIRED on " + when + ": devices install nothing: sign it again with " + how
	case left < 4*time.Hour:
		return "good until " + when + " only: sign it again with " + how
	}
	return "good until " + when
}

// goesTo says how far a release goes.
func goesTo(share api.Share, halted, withdrawn bool) string {
	switch {
	case withdrawn:
		return "withdrawn"
	case halted:
		return "halted at " + share.String()
	}
	return "to " + share.String()
}

var repoRefresh = command{"repo refresh", "[flags] DIR", "sign freshness again\n" +
	"It needs the online keys, and wants to be run more often than once a day.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		r, _, err := f.open(e, f.Arg(0))
		if err != nil {
			return err
		}
		res, err := r.Refresh(ctx)
		if err != nil {
			return err
		}
		return f.print(e, res, "refreshed")
	}}

var repoRootShow = command{"repo root show", "DIR", "print the root.json that a new build trusts first",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		r, err := repo.Open(fs.Arg(0))
		if err != nil {
			return err
		}
		b, err := r.RootMetadata(ctx)
		if err != nil {
			return err
		}
		_, err = e.stdout.Write(b)
		return err
	}}

var repoRootRotate = command{"repo root rotate", "[flags] DIR", "make a new root, with new keys for some roles\n" +
	"The keys of both folders sign what they can; the rest waits for signatures.",
	func(ctx context.Context, e env, args []string) error {
		f := newRepoFlags(e)
		var roles []string
		namesVar(f.FlagSet, &roles, "roles", "`roles` that get new keys: root,targets,snapshot,timestamp,claims,apps,rollout,os-PRODUCT (default: none, a new life for the root)")
		newKeys := f.String("new-keys", "", "`folder` of the new keys")
		bits := map[string]*int{}
		for role, name := range map[string]string{"apps": "app-bits", "claims": "claim-bits"} {
			bits[role] = f.Int(name, 0, "spread "+role+" over 2^`N` files from now on (default: as they are)")
		}
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		old, err := openKeys(e, f.keys)
		if err != nil {
			return err
		}
		o, keys := repo.Rotation{Keys: old}, []repo.Keys{old}
		if len(roles) > 0 {
			if *newKeys == "" {
				return fmt.Errorf("%w: --roles wants --new-keys", errUsage)
			}
			fresh, err := openKeys(e, *newKeys)
			if err != nil {
				return err
			}
			o.Roles, o.Keys, keys = roles, fresh, append(keys, fresh)
		}
		o.Bits = map[string]int{}
		for role, n := range bits {
			if *n == 0 {
				continue
			}
			o.Bits[role] = *n
			if !slices.Contains(o.Roles, role) {
				if len(roles) > 0 {
					return fmt.Errorf("%w: another number of files for %s wants --roles %s, or none", errUsage, role, role)
				}
				o.Roles = append(o.Roles, role) // with the keys it has
			}
		}
		r, err := repo.Open(f.Arg(0), repo.WithKeys(keys...))
		if err != nil {
			return err
		}
		res, err := r.Rotate(ctx, o)
		if err != nil {
			return err
		}
		return f.print(e, res, "rotated")
	}}

var repoPrune = command{"repo prune", "[flags] DIR", "remove old metadata that nothing names any more\n" +
	"What a device that looked for news in the last --keep days may still fetch\nstays, and so do payloads, APKs and images.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		days := fs.Int("keep", 30, "keep what was named in the last `N` days")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		r, err := repo.Open(fs.Arg(0))
		if err != nil {
			return err
		}
		p, err := r.Prune(ctx, time.Duration(*days)*24*time.Hour)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(e, p)
		}
		fmt.Fprintf(e.stdout, "removed %d files of %s; %d stay\n", p.Files, units.Binary(p.Bytes), p.Kept)
		return nil
	}}
