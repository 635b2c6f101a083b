package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"mios/publish/app/check"
)

var appCheck = command{"app check", "[flags] FILE [SPLIT]...", "check an Android app as a store does before it is released\n" +
	"With --previous against the version before it. The checks, and how a policy changes them,\n" +
	"are in docs/checks.md. Exit status 1 if the app would be refused.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		previous := fs.String("previous", "", "`file` of the version before, of which the base package is enough")
		policyFile := fs.String("policy", "", "YAML `file` with the store's policy")
		if err := parse(fs, args, 1, check.MaxFiles); err != nil {
			return err
		}
		policy := check.DefaultPolicy()
		if *policyFile != "" {
			b, err := os.ReadFile(*policyFile)
			if err == nil {
				policy, err = check.ParsePolicy(b)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", *policyFile, err)
			}
		}
		var old *check.Facts
		if *previous != "" {
			var err error
			if old, err = inspectFiles(ctx, []string{*previous}); err != nil {
				return err
			}
		}
		facts, err := inspectFiles(ctx, fs.Args())
		if err != nil {
			return err
		}
		findings := check.Judge(facts, old, policy)
		if *asJSON {
			if findings == nil {
				findings = []check.Finding{}
			}
			if err := printJSON(e, findings); err != nil {
				return err
			}
		} else {
			printFindings(newPage(e.stdout), facts, findings)
		}
		if check.Worst(findings) == check.Refuse {
			return fmt.Errorf("%s: it would be refused", fs.Arg(0))
		}
		return nil
	}}

// severityTitles head the findings of each severity, the worst first.
var severityTitles = []struct {
	severity check.Severity
	title    string
}{
	{check.Refuse, "Refused"}, {check.Warn, "A reviewer decides"}, {check.Note, "Good to know"},
}

// findingIndent is that of what findings say, in characters.
const findingIndent = 22

func printFindings(p *page, facts *check.Facts, list []check.Finding) {
	p.line("%s %s", facts.App.Package, versionOf(facts.App.VersionName, facts.App.VersionCode))
	if len(list) == 0 {
		p.line("")
		p.line("Nothing to say against it.")
	}
	for _, s := range severityTitles {
		first := true
		for _, f := range list {
			if f.Severity != s.severity {
				continue
			}
			if first {
				p.section("%s", s.title)
				first = false
			}
			p.wrap(fmt.Sprintf("  %-*s ", findingIndent-3, f.ID), findingIndent, strings.Fields(f.Detail+" "+f.Advice))
		}
	}
}
