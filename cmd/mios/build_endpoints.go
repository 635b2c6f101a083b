package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"mios/build/endpoint"
	"mios/build/image/aosp"
	"mios/internal/progress"
)

var endpoints = command{"endpoints", "[flags] PATH", "list which of Google's servers a build still names\n" +
	"PATH is a build, an image, a zip of target-files, a package, or a folder of them.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o endpoint.Options
		fs.BoolVar(&o.Harmless, "all", false, "list names that nobody asks too, as those of XML namespaces")
		fs.IntVar(&o.MaxFiles, "files", 3, "how many `files` to list of each host; 0 for all")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		return runEndpoints(ctx, e, fs.Arg(0), o, *asJSON)
	}}

func runEndpoints(ctx context.Context, e env, name string, o endpoint.Options, asJSON bool) error {
	r, err := aosp.ReadResult(name)
	switch {
	case err == nil:
		o.Answered = r.Answered()
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
		return err
	}
	var report *endpoint.Report
	err = e.story(true).Step(ctx, "read "+name, func(ctx context.Context, _ *progress.Task) (err error) {
		report, err = endpoint.Scan(ctx, name, o)
		return err
	})
	if err != nil {
		return err
	}
	if report.Unknown {
		fmt.Fprintf(e.stderr, "mios: %s is in no format that is known: what is compressed in it was not seen\n", name)
	}
	if asJSON {
		return printJSON(e, report)
	}
	for _, f := range report.Findings {
		set := f.Set
		if f.Answered {
			set += ": answered by the product"
		}
		fmt.Fprintf(e.stdout, "%s: %s (%s)\n", f.Host, f.Service, set)
		for _, file := range f.Files {
			fmt.Fprintf(e.stdout, "  %s\n", file)
		}
	}
	files := "files"
	if report.Files == 1 {
		files = "file"
	}
	fmt.Fprintf(e.stdout, "%d hosts in %d %s\n", len(report.Findings), report.Files, files)
	return nil
}
