package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"mios/format/apk"
	"mios/internal/progress"
	"mios/publish/app/report"
)

var appInspect = command{"app inspect", "[flags] FILE [SPLIT]...", "say what an Android package is: a page, or JSON\n" +
	"Who signed it, what it may do, what other apps can start, what its size comes from; of\n" +
	"splits, what each is for, and whether a device needs it.\n" +
	"The fields of the JSON are in docs/apks.md.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		all := fs.Bool("all", false, "list all components and errors, however many")
		locale := fs.String("locale", "en-US", "`language` of the label, as BCP 47 has it: de, pt-BR")
		skip := fs.Bool("no-verify", false, "leave the signature unjudged, which is quicker for large files")
		device := fs.String("device", "", "which splits a device needs: its `traits`, such as arm64-v8a,420dpi,de")
		if err := parse(fs, args, 1, 1<<10); err != nil {
			return err
		}
		if !new(apk.Config).SetLocale(*locale) {
			return fmt.Errorf("%w: locale %q: want one such as fr-CA", errUsage, *locale)
		}
		a, err := describeFiles(ctx, fs.Args(), report.Options{Locale: *locale, SkipVerify: *skip}, *device)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(e, a)
		}
		printApp(newPage(e.stdout), a, *all)
		return nil
	}}

// describeFiles describes a package, or a base package and its splits.
func describeFiles(ctx context.Context, paths []string, o report.Options, traits string) (*report.App, error) {
	var device *apk.Device
	if traits != "" {
		var err error
		if device, err = report.ParseDevice(traits); err != nil {
			return nil, fmt.Errorf("%w: %v", errUsage, err)
		}
	}
	var list []report.Package
	for _, path := range paths {
		f, size, err := openPackage(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		list = append(list, report.Package{ReaderAt: f, Name: path, Size: size})
	}
	if len(list) > 1 || device != nil {
		return report.DescribeSet(ctx, list, o, device)
	}
	a, err := report.Describe(ctx, list[0], list[0].Size, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", paths[0], err)
	}
	return a, nil
}

// openPackage opens the file of a package, which must be closed. It looks at
// what is there first: opening a pipe waits for somebody to write to it.
func openPackage(path string) (*os.File, int64, error) {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, err
	case fi.IsDir():
		return nil, 0, fmt.Errorf("%s: a folder: give the file of a package", path)
	case !fi.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%s: not a regular file: packages are read from their end, so put it into one", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if fi, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// printApp prints the page of a package.
func printApp(p *page, a *report.App, all bool) {
	if a.Label != "" {
		p.line("%s", a.Label)
	}
	p.line("%s %s", a.Package, versionOf(a.VersionName, a.VersionCode))
	p.line("")
	if a.Split != "" {
		p.fact("split", "%s of %s", a.Split, a.Package)
	}
	printFor(p, a)
	printSigners(p, a, all)
	printPermissions(p, a)
	printExported(p, a, all)
	printFeatures(p, a)
	printSizes(p, a)
	printSplits(p, a)
}

func versionOf(name string, code int64) string {
	if name == "" {
		return fmt.Sprintf("version %d", code)
	}
	return fmt.Sprintf("%s (version %d)", name, code)
}

// printFor prints which devices the package is for.
func printFor(p *page, a *report.App) {
	what := make([]string, len(a.Devices))
	for i, d := range a.Devices {
		what[i] = string(d)
	}
	p.fact("devices", "%s", cmp.Or(strings.Join(what, ", "), "any"))
	android := report.Android(a.MinSDK)
	if a.MaxSDK > 0 {
		android += " to " + report.Android(a.MaxSDK)
	} else {
		android += " and newer"
	}
	if a.Split == "" {
		p.fact("runs on", "%s; made for %s", android, report.Android(a.TargetSDK))
	} else {
		p.fact("runs on", "what its base runs on")
	}
	abis := cmp.Or(strings.Join(a.ABIs, ", "), "any")
	switch {
	case len(a.Native) == 0:
		abis += "; no native code"
	case a.PageSize.OK:
		abis += "; memory pages of 16 KiB: yes"
	default:
		abis += "; memory pages of 16 KiB: no"
	}
	p.fact("processor", "%s", abis)
	for _, problem := range a.PageSize.Problems {
		p.fact("", "%s", problem)
	}
	if n := len(a.Locales); n > 0 && n < 6 {
		p.fact("languages", "%s, beside the default", strings.Join(a.Locales, ", "))
	} else if n > 0 {
		p.fact("languages", "%d beside the default", n)
	}
	if a.Debuggable {
		p.fact("BEWARE", "debuggable: whoever has the device can read and change what it does")
	}
	if a.TestOnly {
		p.fact("BEWARE", "for tests only: devices install it only when told to")
	}
}

// printSigners prints who signed the package, and whether it is as they did.
func printSigners(p *page, a *report.App, all bool) {
	s := a.Signature
	switch {
	case s == nil:
		p.fact("signature", "not looked at")
		return
	case s.Verified:
		p.fact("signature", "verified for %s and newer, by scheme %s", report.Android(s.MinSDK), strings.Join(s.Schemes, ", "))
	case len(s.Signers) == 0 && len(s.Errors) == 1 && s.Errors[0].Name == "JAR_SIG_NO_MANIFEST":
		p.fact("SIGNATURE", "NONE: devices refuse the package until mios app sign has signed it")
		return
	default:
		p.fact("SIGNATURE", "DOES NOT VERIFY")
	}
	printIssues(p, "", s.Errors, all)
	if a.Split == "" && a.MinSDK < report.TodaySDK {
		p.fact("", "older platforms heed v1: mios app verify judges it for them")
	}
	for _, who := range s.Signers {
		name := "signer"
		if !who.Current {
			name = "also"
		}
		printCertificate(p, name, who.Certificate)
		if who.MaxSDK > 0 {
			p.fact("", "counts up to %s", report.Android(who.MaxSDK))
		}
		if n := len(who.Lineage); n > 1 {
			p.fact("", "succeeds %d older certificates (mios app lineage show)", n-1)
		}
	}
	if s.Stamp != nil {
		p.fact("stamp", "%s", s.Stamp.Status)
	}
}

func printCertificate(p *page, name string, c report.Certificate) {
	p.fact(name, "%s", cmp.Or(c.Subject, "certificate without a name"))
	p.fact("SHA-256", "%s", c.Digest)
	if c.Key != "" {
		p.fact("key", "%s", c.Key)
	}
}

// permissionGroups are the groups of permissions, in the order in which a
// person cares.
var permissionGroups = []struct{ group, title string }{
	{report.GroupPerson, "the person is asked"},
	{report.GroupSetting, "the person switches on in the settings"},
	{report.GroupInstall, "granted on installing"},
	{report.GroupOther, "of other packages, or its own"},
}

func printPermissions(p *page, a *report.App) {
	if len(a.Permissions) == 0 {
		p.section("Permissions: none")
		return
	}
	p.section("Permissions: %d", len(a.Permissions))
	for _, g := range permissionGroups {
		about := make(map[string][]string)
		var order []string
		for _, perm := range a.Permissions {
			if perm.Group != g.group {
				continue
			}
			if about[perm.About] == nil {
				order = append(order, perm.About)
			}
			about[perm.About] = append(about[perm.About], permissionName(perm))
		}
		if len(order) == 0 {
			continue
		}
		slices.Sort(order)
		p.line("  %s", g.title)
		width := 0
		for _, name := range order {
			width = max(width, len(name))
		}
		for _, name := range order {
			lead := "    "
			if width > 0 {
				lead += fmt.Sprintf("%-*s  ", width, name)
			}
			p.list(lead, about[name])
		}
	}
}

// permissionName is a permission without what all have, and when it counts.
func permissionName(perm report.Permission) string {
	s := strings.TrimPrefix(perm.Name, "android.permission.")
	if perm.MinSDK > 0 {
		s += fmt.Sprintf(" (from SDK %d)", perm.MinSDK)
	}
	if perm.MaxSDK > 0 {
		s += fmt.Sprintf(" (to SDK %d)", perm.MaxSDK)
	}
	if perm.Implied != "" {
		s += " (implied)"
	}
	return s
}

// mostShown is how many components of a kind a page has.
const mostShown = 25

func printExported(p *page, a *report.App, all bool) {
	open := slices.DeleteFunc(slices.Clone(a.Components), func(c report.Component) bool { return !c.Exported })
	if len(open) == 0 {
		p.section("Open to other apps: none of %d components", len(a.Components))
		return
	}
	p.section("Open to other apps: %d of %d components", len(open), len(a.Components))
	shown := make(map[apk.Kind]int)
	for i, c := range open {
		if shown[c.Kind]++; shown[c.Kind] <= mostShown || all {
			printComponent(p, "  ", a.Package, c)
		}
		if last := i+1 == len(open) || open[i+1].Kind != c.Kind; last && shown[c.Kind] > mostShown && !all {
			p.line("  %-14s and %d more: --all shows them", c.Kind, shown[c.Kind]-mostShown)
		}
	}
}

// printComponent prints what a component is, its name without the package's.
func printComponent(p *page, lead, pkg string, c report.Component) {
	name := c.Name
	if rest, ok := strings.CutPrefix(name, pkg+"."); ok {
		name = "." + rest
	}
	facts := componentFacts(c)
	if len(facts) > 0 {
		name += ":"
	}
	lead = fmt.Sprintf("%s%-14s %s ", lead, c.Kind, name)
	p.wrap(lead, pageIndent+5, commas(facts))
}

func componentFacts(c report.Component) []string {
	var out []string
	if c.Permission != "" {
		out = append(out, "needs "+strings.TrimPrefix(c.Permission, "android.permission."))
	}
	for _, action := range c.Actions {
		out = append(out, action[strings.LastIndexByte(action, '.')+1:])
	}
	return append(out, c.Links...)
}

func printFeatures(p *page, a *report.App) {
	if len(a.Features)+len(a.Libraries) == 0 {
		return
	}
	p.section("Needs of the device")
	var must, may, implied, libraries []string
	for _, f := range a.Features {
		name := strings.TrimPrefix(f.Name, "android.hardware.")
		switch {
		case len(f.Implied) > 0:
			implied = append(implied, name)
		case f.Required:
			must = append(must, name)
		default:
			may = append(may, name)
		}
	}
	for _, l := range a.Libraries {
		name := l.Name
		if !l.Required {
			name += " (if there)"
		}
		libraries = append(libraries, name)
	}
	for _, l := range []struct {
		title string
		names []string
	}{{"must have", must}, {"implied", implied}, {"may use", may}, {"libraries", libraries}} {
		if len(l.names) > 0 {
			p.list(fmt.Sprintf("  %-*s ", pageIndent-3, l.title), l.names)
		}
	}
}

// partTitles say what the parts are.
var partTitles = map[string]string{
	"code": "code (DEX)", "native": "native code", "resources": "resources", "assets": "assets",
	"signature": "JAR signature", "other": "other files", "packing": "packing",
}

func printSizes(p *page, a *report.App) {
	p.section("Size: %s", progress.Size(a.Size))
	for _, part := range a.Parts {
		share := float64(part.Size) / float64(max(1, a.Size))
		p.line("  %-14s %9s %3.0f %%  %s", partTitles[part.Name], progress.Size(part.Size), share*100, bar(share, p.width-36))
	}
}

func printSplits(p *page, a *report.App) {
	if len(a.Splits) == 0 {
		return
	}
	p.section("Splits: %d", len(a.Splits))
	width, total, asked := 0, a.Size, false
	for _, s := range a.Splits {
		width = max(width, len(s.Name))
	}
	for _, s := range a.Splits {
		mark := " "
		if s.Needed != nil {
			asked = true
			if *s.Needed {
				mark = "✓"
				total += s.Size
			}
		}
		lead := fmt.Sprintf("  %s %-*s %9s  ", mark, width, s.Name, progress.Size(s.Size))
		p.list(lead, splitFacts(a, s))
	}
	if asked {
		p.line("  The device needs those with ✓: %s with the base.", progress.Size(total))
	}
}

// splitFacts says what a split is for.
func splitFacts(a *report.App, s report.Split) []string {
	var out []string
	if s.Feature != "" {
		out = append(out, "feature "+s.Feature)
	}
	out = append(append(out, s.ABIs...), s.Locales...)
	if s.Density > 0 {
		out = append(out, fmt.Sprintf("%d dpi", s.Density))
	}
	if len(out) == 0 {
		out = append(out, "all devices")
	}
	if !s.SameSigner && a.Signature != nil {
		out = append(out, "NOT SIGNED AS THE BASE: devices refuse it")
	}
	return out
}
