package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"mios/internal/progress"
	"mios/publish/app/report"
)

var appDiff = command{"app diff", "[flags] OLD NEW", "say what differs between two versions of an app\n" +
	"Permissions, what is open to other apps, signers, size, native code, and which classes of\n" +
	"others the code refers to. The fields of the JSON are in docs/apks.md.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		all := fs.Bool("all", false, "list all, however many, and references to the platform too")
		if err := parse(fs, args, 2, 2); err != nil {
			return err
		}
		var sides [2]report.Package
		for i, path := range fs.Args() {
			f, size, err := openPackage(path)
			if err != nil {
				return err
			}
			defer f.Close()
			sides[i] = report.Package{ReaderAt: f, Name: path, Size: size}
		}
		d, err := report.Compare(ctx, sides[0], sides[1], report.Options{})
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(e, d)
		}
		printDiff(newPage(e.stdout), d, *all)
		return nil
	}}

func printDiff(p *page, d *report.Diff, all bool) {
	p.line("%s", d.New.Package)
	p.line("")
	p.fact("old", "%s, %s", versionOf(d.Old.VersionName, d.Old.VersionCode), progress.Size(d.Old.Size))
	p.fact("new", "%s, %s", versionOf(d.New.VersionName, d.New.VersionCode), progress.Size(d.New.Size))
	if d.Update.OK {
		p.fact("update", "devices with the old version take the new one")
	} else {
		p.fact("UPDATE", "devices with the old version REFUSE the new one")
		for _, why := range d.Update.Reasons {
			p.fact("", "%s", why)
		}
	}
	for _, c := range d.Changes {
		switch c.Name {
		case "version_code", "version_name":
		default:
			p.fact(strings.ReplaceAll(c.Name, "_", " "), "%s → %s", cmp.Or(c.Old, "not stated"), cmp.Or(c.New, "not stated"))
		}
	}
	printLists(p, all, "Permissions", d.Permissions, func(lead string, perm report.Permission) {
		about := ""
		if perm.Group == report.GroupPerson || perm.Group == report.GroupSetting {
			about = " (" + perm.About + ")"
		}
		p.line("%s%s%s", lead, permissionName(perm), about)
	})
	printLists(p, all, "Open to other apps", d.Components, func(lead string, c report.Component) { printComponent(p, lead, d.New.Package, c) })
	printLists(p, all, "Features", d.Features, func(lead string, f report.Feature) {
		p.line("%s%s", lead, strings.TrimPrefix(f.Name, "android.hardware."))
	})
	printLists(p, all, "Signers", d.Signers, func(lead string, s report.Signer) {
		p.line("%s%s", lead, s.Subject)
		p.line("    %s", s.Digest)
	})
	native := d.Native
	printLists(p, all, "Native code", native, func(lead, name string) { p.line("%slib/%s", lead, name) })
	if len(d.NativeChange) > 0 {
		if native.Empty() {
			p.section("Native code")
		}
		p.list("  changed: ", d.NativeChange)
	}
	printReferences(p, d, all)
	printPartChanges(p, d)
}

func orNone(s string) string { return cmp.Or(s, "none") }

// printLists prints what was added and removed, or nothing.
func printLists[T any](p *page, all bool, title string, l report.Lists[T], item func(lead string, v T)) {
	if l.Empty() {
		return
	}
	p.section("%s", title)
	for _, side := range []struct {
		lead string
		list []T
	}{{"  + ", l.Added}, {"  - ", l.Removed}} {
		for i, v := range side.list {
			if i == mostShown && !all {
				p.line("%sand %d more: --all shows them", side.lead, len(side.list)-i)
				break
			}
			item(side.lead, v)
		}
	}
}

// printReferences prints what the code refers to anew and no more, by class:
// those of others first, for they say whose libraries and services an app needs.
func printReferences(p *page, d *report.Diff, all bool) {
	if d.References.Empty() {
		return
	}
	p.section("References to classes of others")
	for _, side := range []struct {
		sign string
		list []report.Reference
	}{{"+", d.References.Added}, {"-", d.References.Removed}} {
		list := slices.Clone(side.list)
		platform := 0
		if !all {
			list = slices.DeleteFunc(list, func(r report.Reference) bool {
				if r.Platform() {
					platform++
				}
				return r.Platform()
			})
		}
		for i, r := range list {
			if i == mostShown && !all {
				p.line("  %s and %d more classes: --all shows them", side.sign, len(list)-i)
				break
			}
			printReference(p, side.sign, r)
		}
		if platform > 0 {
			p.line("  %s %d classes of the platform: --all shows them", side.sign, platform)
		}
	}
}

// printReference prints a class, what of it is new or gone if it is not the
// whole class, and where the code uses it.
func printReference(p *page, sign string, r report.Reference) {
	p.line("  %s %s", sign, r.Class)
	if !r.Whole {
		p.wrap("      ", 6, r.Members)
	}
	if len(r.Where) > 0 {
		p.wrap("      in ", 9, commas(r.Where))
	}
}

func printPartChanges(p *page, d *report.Diff) {
	p.section("Size: %s → %s (%s)", progress.Size(d.Old.Size), progress.Size(d.New.Size), signed(d.New.Size-d.Old.Size))
	for _, c := range d.Parts {
		if c.Old != c.New {
			p.line("  %-14s %9s → %9s  %s", partTitles[c.Name], progress.Size(c.Old), progress.Size(c.New), signed(c.New-c.Old))
		}
	}
}

func signed(n int64) string {
	if n < 0 {
		return "-" + progress.Size(-n)
	}
	return "+" + progress.Size(n)
}
