package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mios"
	"mios/internal/progress"
	"mios/publish/app"
	"mios/publish/app/check"
	"mios/publish/app/setup"
)

var storeSubmit = command{"store submit", "[flags] FILE...", "hand in a version of an app for review\n" +
	"FILE is an APK, or several are a base package and its splits. They are checked at once; what is\n" +
	"refused leaves nothing behind.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		note := f.String("note", "", "`text` for people: what is new")
		listing := f.String("listing", "", "`folder` in fastlane's layout (metadata/android): what people see in the store")
		approve := f.Bool("approve", false, "approve it at once")
		if err := parse(f.FlagSet, args, 1, check.MaxFiles); err != nil {
			return err
		}
		u := app.Upload{Note: *note}
		if *listing != "" {
			if err := readable(*listing); err != nil {
				return err
			}
			u.Listing = os.DirFS(*listing)
		}
		for _, path := range f.Args() {
			file, _, err := openPackage(path)
			if err != nil {
				return err
			}
			defer file.Close()
			u.Files = append(u.Files, app.UploadFile{Name: filepath.Base(path), Content: file})
		}
		return f.change(ctx, e, func(s *setup.Opened) (any, string, error) { return f.submit(ctx, e, s, u, *approve) })
	}}

func (f *storeFlags) submit(ctx context.Context, e env, s *setup.Opened, u app.Upload, approve bool) (any, string, error) {
	var sub *app.Submission
	err := step(ctx, e, "check the upload", func(ctx context.Context, _ *progress.Task) (err error) {
		sub, err = s.Submit(ctx, f.who, u)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if approve && sub.State == app.Review {
		if sub, err = s.Review(ctx, f.who, sub.ID, true, f.why); err != nil {
			return nil, "", err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "submission %s: %s %s, %s\n", sub.ID, sub.Package, versionOf(sub.VersionName, sub.VersionCode), sub.State.Said())
	describeFindings(&b, sub)
	return sub, b.String() + f.nextOf(sub), nil
}

// nextOf says what there is to do with a submission.
func (f *storeFlags) nextOf(sub *app.Submission) string {
	switch sub.State {
	case app.Review:
		return fmt.Sprintf("next: mios store review %s --approve%s", sub.ID, f.storeArg())
	case app.Approved:
		return fmt.Sprintf("next: mios store release %s%s", sub.ID, f.storeArg())
	}
	return "next: raise the version code, and hand it in anew"
}

// describeFindings says what a reviewer has to know, a line each.
func describeFindings(b *strings.Builder, sub *app.Submission) {
	if sub.First {
		fmt.Fprintf(b, "  first version of the package: approval claims it for the signer %s\n", signersOf(sub.Signers))
	}
	if sub.Domain != "" {
		fmt.Fprintf(b, "  warn  domain: %s\n", sub.Domain)
	}
	for _, a := range sub.Alike {
		fmt.Fprintf(b, "  warn  looks like %s (%s): %s\n", a.Package, printable(a.Label), a.Why)
	}
	for _, f := range sub.Findings {
		line := f.Detail
		if f.Advice != "" && f.Severity != check.Note {
			line = line + " " + f.Advice
		}
		fmt.Fprintf(b, "  %-4s  %s: %s\n", f.Severity, f.ID, printable(line))
	}
	for _, text := range sub.LeftOut {
		fmt.Fprintf(b, "  note  listing: %s\n", printable(text))
	}
}

// signersOf names certificates by the beginning of their SHA-256.
func signersOf(list []mios.Digest) string {
	var names []string
	for _, d := range list {
		names = append(names, d.String()[:16])
	}
	return strings.Join(names, ", ")
}
