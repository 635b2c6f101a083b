//go:build !ramdisk

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mios/device/app/store"
	"mios/internal/progress"
)

const storeUsage = `usage: store search WORD...             apps for this device
       store show PACKAGE
       store install PACKAGE            and keep it up to date
       store update [--unmetered] [--all | PACKAGE...]
                                        --unmetered: whatever the data budget is
       store list                       what is installed, and who keeps it up to date
       store report                     what was updated and what not, and why
`

// store is what a person asks of the store of apps.
func (t *tool) store(ctx context.Context, args []string) int {
	verbs := map[string]func(context.Context, *store.Client, []string) error{
		"search": t.storeSearch, "show": t.storeShow, "install": t.storeInstall, "update": t.storeUpdate, "list": t.storeList, "report": t.storeReport,
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		fmt.Fprint(t.err, storeUsage)
		return 2
	}
	story := progress.New(t.err)
	if args[0] == "list" || args[0] == "report" { // they ask nobody, and take no time
		story = progress.New(io.Discard)
	}
	err := story.Step(ctx, args[0], func(ctx context.Context, task *progress.Task) error {
		return verbs[args[0]](ctx, &store.Client{App: t.client, Say: teller(task)}, args[1:])
	})
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(t.err, "store: %v\n%s", err, storeUsage)
		return 2
	case err != nil:
		fmt.Fprintf(t.err, "store: %v\n", err)
		return 1
	}
	return 0
}

func (t *tool) storeSearch(ctx context.Context, c *store.Client, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: want words", errUsage)
	}
	found, err := c.Search(ctx, strings.Join(args, " "))
	if err != nil {
		return err
	}
	for _, e := range found.Apps {
		fmt.Fprintf(t.out, "%s\t%s\n", e.Package, e.Name)
	}
	switch {
	case found.More:
		fmt.Fprintln(t.out, "there are more: add a word")
	case len(found.Apps) == 0:
		return fmt.Errorf("no app for this device has %q: try fewer words", strings.Join(args, " "))
	}
	return nil
}

// search is the same for who knows pm.
func (t *tool) search(ctx context.Context, args []string) error {
	return progress.New(t.err).Step(ctx, "search", func(ctx context.Context, task *progress.Task) error {
		return t.storeSearch(ctx, &store.Client{App: t.client, Say: teller(task)}, args)
	})
}

func (t *tool) storeShow(ctx context.Context, c *store.Client, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: want one package", errUsage)
	}
	s, err := c.Show(ctx, args[0])
	if err != nil {
		return err
	}
	row := func(name string, value any) {
		if text := fmt.Sprint(value); text != "" && text != "[]" {
			fmt.Fprintf(t.out, "%-10s %s\n", name, text)
		}
	}
	row("package", s.Package)
	if s.Text != nil {
		row("name", s.Text.Name)
		row("summary", s.Text.Summary)
	}
	if l := s.Listing; l != nil {
		row("author", l.Author)
		row("license", l.License)
		row("web", cmp.Or(l.Web, l.Source))
		row("categories", strings.Join(l.Categories, ", "))
		row("warnings", strings.Join(l.AntiFeatures, ", "))
	}
	if i := s.Installed; i != nil {
		row("installed", fmt.Sprintf("%s (%d)", i.VersionName, i.VersionCode))
		row("kept by", cmp.Or(i.Installer, "nobody: it came as a file"))
	}
	if r := s.Release; r != nil {
		row("available", fmt.Sprintf("%s (%d), %s to fetch (%s)", r.VersionName, r.VersionCode, progress.Size(s.Fetch), s.Way))
		row("new", r.Notes)
	}
	row("none", s.Why)
	if s.Text != nil && s.Text.Description != "" {
		fmt.Fprintf(t.out, "\n%s\n", strings.TrimSpace(s.Text.Description))
	}
	return nil
}

func (t *tool) storeInstall(ctx context.Context, c *store.Client, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: want one package", errUsage)
	}
	r, err := c.Install(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(t.out, r)
	return nil
}

func (t *tool) storeUpdate(ctx context.Context, c *store.Client, args []string) error {
	var o store.Options
	var pkgs []string
	all := len(args) == 0
	for _, a := range args {
		switch {
		case a == "--unmetered":
			o.Unmetered = true
		case a == "--all":
			all = true
		case strings.HasPrefix(a, "-"):
			return fmt.Errorf("%w: there is no option %s", errUsage, a)
		default:
			pkgs = append(pkgs, a)
		}
	}
	if all && len(pkgs) > 0 {
		return fmt.Errorf("%w: want packages, or --all", errUsage)
	}
	list, err := c.Update(ctx, pkgs, o)
	if err != nil {
		return err
	}
	for _, r := range list {
		fmt.Fprintln(t.out, r)
		if err == nil && r.Outcome != store.Foreign {
			err = r.Err()
		}
	}
	return err
}

func (t *tool) storeList(ctx context.Context, c *store.Client, args []string) error {
	if len(args) != 0 {
		return errUsage
	}
	list, err := c.List(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(t.err, "no apps are installed: store search finds some")
	}
	for _, l := range list {
		outcome := ""
		if l.Result != nil {
			outcome = string(l.Result.Outcome)
		}
		fmt.Fprintf(t.out, "%s\t%s (%d)\t%s\t%s\n", l.Package, l.VersionName, l.VersionCode, cmp.Or(l.Installer, "file"), outcome)
	}
	return nil
}

func (t *tool) storeReport(ctx context.Context, c *store.Client, args []string) error {
	if len(args) != 0 {
		return errUsage
	}
	return t.updates(ctx, nil)
}

// updates prints the store's report.
func (t *tool) updates(ctx context.Context, args []string) error {
	if len(args) != 0 {
		return fmt.Errorf("%w: updates takes no argument", errUsage)
	}
	r, err := (&store.Client{App: t.client}).Report(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(t.out, r)
	return nil
}

// teller shows how far the store is.
func teller(task *progress.Task) store.Say {
	return func(p store.Progress) {
		what := strings.TrimSpace(p.Step + " " + p.Package)
		if p.Way != "" {
			what += " (" + string(p.Way) + ")"
		}
		task.Note("%s", what)
		if p.Total > 0 {
			task.Bytes(p.Have, p.Total)
		}
	}
}
