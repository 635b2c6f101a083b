package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mios/build/inspect"
	"mios/internal/progress"
)

var inspectCmd = command{"inspect", "[flags] FILE...", "say what a file or folder is: who signed it, what is in it, what is wrong with it\n" +
	"Knows Android packages, APEXes, update packages and payloads, boot, vbmeta, super,\n" +
	"sparse and file system images, disks, ramdisks, device trees, target-files, builds,\n" +
	"repositories, certificates and keys, and says which are AOSP's public test keys.\n" +
	"Exit status 1: something is wrong with a file. docs/inspect.md has all formats,\n" +
	"and the fields of the JSON.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		deep := fs.Bool("deep", false, "verify every hash, however long it takes, and look into everything")
		kinds := fs.Bool("kinds", false, "list the formats that are known")
		most := 1 << 16
		if err := parse(fs, args, 0, most); err != nil {
			return err
		}
		if *kinds {
			return printKinds(e, *asJSON)
		}
		if fs.NArg() == 0 {
			return fmt.Errorf("%w: give a file or a folder", errUsage)
		}
		var list []*inspect.Report
		bad := 0
		for _, name := range fs.Args() {
			r, err := inspectFile(ctx, e, name, *deep)
			if err != nil {
				return err
			}
			list = append(list, r)
			if !r.OK() {
				bad++
			}
		}
		if err := printReports(e, list, *asJSON); err != nil {
			return err
		}
		if bad > 0 {
			return inspectVerdict(list)
		}
		return nil
	}}

// inspectVerdict is the error of reports of which some are not right.
func inspectVerdict(list []*inspect.Report) error {
	n := 0
	var names []string
	for _, r := range list {
		if !r.OK() {
			n += r.Count(inspect.Error)
			names = append(names, r.Name)
		}
	}
	if n == 1 {
		return errors.New(names[0] + ": something is wrong with it: it is told above")
	}
	return fmt.Errorf("%s: %d things are wrong: they are told above", strings.Join(names, ", "), n)
}

// inspectFile inspects one file; what takes over a second tells how far it is.
func inspectFile(ctx context.Context, e env, name string, deep bool) (r *inspect.Report, err error) {
	o := inspect.Options{Deep: deep}
	if !deep {
		return inspect.Inspect(ctx, name, o)
	}
	err = progress.New(e.stderr).Step(ctx, "inspect "+printable(name), func(ctx context.Context, t *progress.Task) error {
		o.Progress = func(what string, done, total int64) {
			t.Note("%s", what)
			t.Bytes(done, total)
		}
		r, err = inspect.Inspect(ctx, name, o)
		return err
	})
	return r, err
}

// printKinds lists the formats.
func printKinds(e env, asJSON bool) error {
	type kind struct {
		Kind  string `json:"kind"`
		Title string `json:"title"`
	}
	var list []kind
	width := 0
	for _, k := range inspect.Kinds() {
		list = append(list, kind{k[0], k[1]})
		width = max(width, len(k[0]))
	}
	if asJSON {
		return printJSON(e, list)
	}
	for _, k := range list {
		fmt.Fprintf(e.stdout, "%-*s  %s\n", width, k.Kind, k.Title)
	}
	return nil
}

// printReports prints the reports: as JSON one alone is an object, several are
// a list.
func printReports(e env, list []*inspect.Report, asJSON bool) error {
	if asJSON {
		if len(list) == 1 {
			return printJSON(e, list[0])
		}
		return printJSON(e, list)
	}
	p := newPage(e.stdout)
	for i, r := range list {
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		(&reportPage{page: p}).print(r)
	}
	return nil
}
