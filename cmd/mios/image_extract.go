package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mios/build/fstree"
	"mios/format/fsimage"
	"mios/internal/progress"
)

var imageExtract = command{"image extract", "[flags] IMAGE DIR [PATH]", "put the files of a file system image into a new folder\n" + imageHelp + `
DIR must not be there yet; nothing is written outside of it. With PATH, it gets that
folder's files. Permissions, times, links and holes are kept. Without --owner, files
are yours, setuid bits are dropped, and devices and sockets are left out.`,
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		owner := fs.Bool("owner", false, "keep owners and setuid bits, and make devices: as root")
		xattrs := fs.Bool("xattrs", false, "keep extended attributes, SELinux labels among them: as root")
		if err := parse(fs, args, 2, 3); err != nil {
			return err
		}
		name, dir, from := fs.Arg(0), fs.Arg(1), imagePath(fs.Arg(2))
		m, closer, err := openTree(name)
		if err != nil {
			return err
		}
		defer closer.Close()
		var result *fstree.Result
		err = e.story(false).Step(ctx, "extract "+name, func(ctx context.Context, t *progress.Task) error {
			o := fstree.Options{Owner: *owner, Xattrs: *xattrs, Progress: func(n int64) { t.Bytes(n, 0) }}
			var err error
			if result, err = fstree.Extract(ctx, m.FS, from, dir, o); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			t.Done("%s: %s", dir, resultLine(result))
			return nil
		})
		if err != nil {
			return err
		}
		for _, left := range result.LeftOut {
			fmt.Fprintf(e.stderr, "mios: image extract: left out %s: a device or socket; --owner makes it, as root\n", printable(left))
		}
		return nil
	}}

func resultLine(r *fstree.Result) string {
	parts := []string{fmt.Sprintf("%d files (%s), %d folders", r.Files, progress.Size(r.Bytes), r.Folders)}
	if r.Links > 0 {
		parts = append(parts, fmt.Sprintf("%d links", r.Links))
	}
	if r.Special > 0 {
		parts = append(parts, fmt.Sprintf("%d others", r.Special))
	}
	return strings.Join(parts, ", ")
}

var imageDiff = command{"image diff", "[flags] OLD NEW", "say which files differ between two file system images\n" + imageHelp + `
A line is + for a file that is new, - for one that is gone, and ~ for one that is not
the same: its size, data, mode, owner, target, device, or extended attributes, SELinux
labels among them. Times are not compared. Status is 0 whether there are differences or not.`,
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 2, 2); err != nil {
			return err
		}
		var sides [2]*fstree.Image
		for i, name := range fs.Args() {
			m, closer, err := openTree(name)
			if err != nil {
				return err
			}
			defer closer.Close()
			sides[i] = m
		}
		d := differ{e: e, asJSON: *asJSON}
		if d.asJSON {
			fmt.Fprint(e.stdout, "[")
		}
		err := fstree.Compare(ctx, sides[0].FS, sides[1].FS, d.tell)
		switch {
		case d.asJSON:
			fmt.Fprintln(e.stdout, "\n]")
		case err == nil && d.added+d.removed+d.changed == 0:
			fmt.Fprintln(e.stdout, "the same files")
		case err == nil:
			fmt.Fprintf(e.stdout, "%d new, %d gone, %d changed\n", d.added, d.removed, d.changed)
		}
		return err
	}}

// A differ prints differences as they are found.
type differ struct {
	e                       env
	asJSON                  bool
	added, removed, changed int
}

// A treeChange is a difference in JSON.
type treeChange struct {
	Path    string           `json:"path"`
	Old     *treeFile        `json:"old,omitempty"` // none: the file is new
	New     *treeFile        `json:"new,omitempty"` // none: the file is gone
	Changes []propertyChange `json:"changes,omitempty"`
}

type propertyChange struct {
	Name string `json:"name"` // type, mode, owner, size, data, target, device, or "xattr " and its name
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

func (d *differ) tell(x fstree.Difference) error {
	switch {
	case x.Old == nil:
		d.added++
	case x.New == nil:
		d.removed++
	default:
		d.changed++
	}
	if d.asJSON {
		return d.tellJSON(x)
	}
	var err error
	name := printable(x.Path)
	switch {
	case x.Old == nil:
		_, err = fmt.Fprintf(d.e.stdout, "+ %s  %s\n", name, brief(x.New))
	case x.New == nil:
		_, err = fmt.Fprintf(d.e.stdout, "- %s  %s\n", name, brief(x.Old))
	default:
		var what []string
		for _, c := range x.Changes {
			if c.Name == "data" {
				what = append(what, "data")
				continue
			}
			what = append(what, fmt.Sprintf("%s %s → %s", c.Name, printable(orNone(c.Old)), printable(orNone(c.New))))
		}
		_, err = fmt.Fprintf(d.e.stdout, "~ %s  %s\n", name, strings.Join(what, ", "))
	}
	return err
}

// brief says what a file is that only one image has.
func brief(n fsimage.Node) string {
	if n.Info().Mode.IsRegular() {
		return progress.Size(n.Info().Size)
	}
	return fstree.Kind(n)
}

func (d *differ) tellJSON(x fstree.Difference) error {
	out := treeChange{Path: x.Path}
	var err error
	for _, side := range []struct {
		node fsimage.Node
		to   **treeFile
	}{{x.Old, &out.Old}, {x.New, &out.New}} {
		if side.node == nil {
			continue
		}
		f, fileErr := newTreeFile(x.Path, side.node)
		err = errors.Join(err, fileErr)
		*side.to = f
	}
	if err != nil {
		return fmt.Errorf("%s: %w", x.Path, err)
	}
	for _, c := range x.Changes {
		out.Changes = append(out.Changes, propertyChange(c))
	}
	b, err := json.MarshalIndent(out, "  ", "  ")
	if err != nil {
		return err
	}
	sep := ",\n  "
	if d.added+d.removed+d.changed == 1 {
		sep = "\n  "
	}
	_, err = fmt.Fprintf(d.e.stdout, "%s%s", sep, b)
	return err
}
