package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"mios"
	"mios/internal/progress"
	"mios/publish/app/fdroid/migrate"
	"mios/publish/app/setup"
)

var storeImportFDroid = command{"store import-fdroid", "[flags] FOLDER", "take over a repository that fdroidserver keeps\n" +
	"FOLDER is the one that holds its metadata and repo. Each version is checked, approved and released to\n" +
	"everybody, those above CurrentVersionCode on beta. What is here already stays; run it again for what is new.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		dir := f.Arg(0)
		if err := readable(dir); err != nil {
			return err
		}
		return f.change(ctx, e, func(s *setup.Opened) (any, string, error) {
			im := migrate.Importer{Store: s.Store, Who: f.who, Why: f.why}
			if im.Why == "" {
				im.Why = "imported from a repository of fdroidserver"
			}
			var out *migrate.Imported
			err := step(ctx, e, "take over "+dir, func(ctx context.Context, t *progress.Task) (err error) {
				im.Progress = func(what string, done, total int) {
					t.Note("%s", what)
					t.Count(int64(done), int64(total))
				}
				out, err = im.Import(ctx, os.DirFS(dir))
				return err
			})
			if err != nil && out != nil && len(out.Apps) > 0 {
				err = fmt.Errorf("after %s: %w: what was taken stays; run the same once more to go on", counted(int64(len(out.Apps)), "app"), err)
			}
			if err != nil {
				return nil, "", err
			}
			return out, describeImport(s, f.storeArg(), out), nil
		})
	}}

// describeImport tells of each app what became of it, and then what was left.
func describeImport(s *setup.Opened, storeArg string, out *migrate.Imported) string {
	var b strings.Builder
	total := map[string]int64{}
	for _, a := range out.Apps {
		n := map[string]int64{}
		for _, v := range a.Versions {
			n[v.State]++
			total[v.State]++
		}
		var said []string
		for _, p := range []struct{ state, words string }{
			{migrate.Taken, "taken"}, {migrate.There, "here already"}, {migrate.Waiting, "not released"}, {migrate.Left, "left"},
		} {
			if n[p.state] > 0 {
				said = append(said, counted(n[p.state], "version")+" "+p.words)
			}
		}
		if a.Listing {
			said = append(said, "texts and pictures")
		}
		if a.Project {
			said = append(said, "author, licence and links")
		}
		fmt.Fprintf(&b, "%s: %s\n", a.Package, strings.Join(said, ", "))
		for _, v := range a.Versions {
			if v.Why != "" {
				fmt.Fprintf(&b, "  %s (version %d), %s: %s\n", printable(v.File), v.VersionCode, stateWords[v.State], printable(v.Why))
			}
		}
		for _, line := range a.Left {
			fmt.Fprintf(&b, "  left: %s\n", printable(line))
		}
	}
	for _, line := range out.Left {
		fmt.Fprintf(&b, "left: %s\n", printable(strings.TrimSuffix(line, ": "+mios.ErrInvalid.Error())))
	}
	if out.Name != "" && out.Name != s.Config.Name {
		fmt.Fprintf(&b, "the repository calls itself %q, this store %q: store.yaml says that\n", out.Name, s.Config.Name)
	}
	fmt.Fprintf(&b, "%s: %s taken, %d here already, %d not released, %d left\n", counted(int64(len(out.Apps)), "app"),
		counted(total[migrate.Taken], "version"), total[migrate.There], total[migrate.Waiting], total[migrate.Left])
	if total[migrate.Waiting] > 0 {
		fmt.Fprintf(&b, "next: mios store list%s shows what waits\n", storeArg)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// stateWords say what became of a version.
var stateWords = map[string]string{
	migrate.Taken: "taken", migrate.There: "here already", migrate.Waiting: "not released", migrate.Left: "left",
}
