package main

import (
	"context"
	"fmt"
	"strings"

	"mios/publish/app/check"
	"mios/publish/app/google"
	"mios/publish/app/worker"
)

var appGoogle = command{"app google", "[flags] FILE [SPLIT]...", "say which of Google's services an Android app calls, and where\n" +
	"And so whether it works, works in part or does not work without them: from its code, its\n" +
	"manifest, layouts and libraries. A library that nothing calls is told apart.\n" +
	"The fields of the JSON, and what is looked for, are in docs/checks.md.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		all := fs.Bool("all", false, "show libraries that nothing calls too, and all evidence")
		if err := parse(fs, args, 1, check.MaxFiles); err != nil {
			return err
		}
		facts, err := inspectFiles(ctx, fs.Args())
		switch {
		case err != nil:
			return err
		case facts.Google == nil:
			return fmt.Errorf("%s: its code cannot be read: %s", fs.Arg(0), facts.Code)
		case *asJSON:
			return printJSON(e, facts.Google)
		}
		printGoogle(newPage(e.stdout), facts, *all)
		return nil
	}}

// inspectFiles reads a package, or a base package and its splits, in a worker.
func inspectFiles(ctx context.Context, paths []string) (*check.Facts, error) {
	var files []worker.File
	for _, path := range paths {
		f, size, err := openPackage(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		files = append(files, worker.File{ReaderAt: f, Name: path, Size: size})
	}
	return new(worker.Worker).Inspect(ctx, files)
}

func printGoogle(p *page, facts *check.Facts, all bool) {
	r := facts.Google
	p.line("%s %s", facts.App.Package, versionOf(facts.App.VersionName, facts.App.VersionCode))
	p.line("")
	p.line("Without Google's services it %s.", r.Verdict)
	idle := 0
	for _, s := range r.Services {
		if s.Level == google.Bundled && !all {
			idle++
			continue
		}
		printService(p, s, all)
	}
	if len(r.Asks) > 0 {
		p.section("It asks whether they are there, which is a sign that it is prepared to do without")
		printEvidence(p, r.Asks, all)
	}
	if idle > 0 {
		p.line("")
		p.wrap("", 0, strings.Fields(fmt.Sprintf("Libraries or names of %d more, which nothing calls: --all shows them.", idle)))
	}
}

func printService(p *page, s google.Service, all bool) {
	p.section("%s", s.Name)
	if s.Level == google.Called {
		p.fact("without", "%s: %s", s.Verdict, s.Says)
	}
	if s.Verdict != google.Works {
		p.fact("instead", "%s", s.Instead)
	}
	level := map[google.Level]string{
		google.Called: "the app calls it", google.Declared: "it is set up, and nothing is seen to call it", google.Bundled: "it is there, and nothing calls it",
	}[s.Level]
	if s.Uses > 0 {
		level += fmt.Sprintf(", in %d places", s.Uses)
	}
	p.fact("use", "%s", level)
	printEvidence(p, s.Evidence, all)
}

// shownEvidence is how many pieces of evidence a page has.
const shownEvidence = 5

func printEvidence(p *page, list []google.Evidence, all bool) {
	for i, e := range list {
		if i == shownEvidence && !all {
			p.line("    and more: --all shows them")
			return
		}
		where := e.Where
		if e.File != "" && e.File != e.What {
			where = strings.TrimSpace(where + " (" + e.File + ")")
		}
		if e.Count > 1 {
			where += fmt.Sprintf(" x%d", e.Count)
		}
		p.wrap(fmt.Sprintf("    %-9s ", e.Kind), 16, strings.Fields(e.What+"  "+where))
	}
}
