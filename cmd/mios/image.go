package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"text/tabwriter"

	"mios/build/fstree"
	"mios/format/fsimage"
)

// imageHelp is which images the commands of the family take.
const imageHelp = "IMAGE holds erofs or ext4, as it is or as an Android sparse image."

var imageLs = command{"image ls", "[flags] IMAGE [PATH]", "list the files of a file system image\n" + imageHelp +
	"\nNames of types and fields of the JSON are those of mios image diff.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		long := fs.Bool("l", false, "print modes, links, owners, sizes and times, too")
		all := fs.Bool("R", false, "list what is in folders in folders, too")
		labels := fs.Bool("Z", false, "print SELinux labels, too")
		extents := fs.Bool("extents", false, "with --json: say where the bytes of files lie in the image")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 2); err != nil {
			return err
		}
		if *extents && !*asJSON {
			return fmt.Errorf("%w: --extents goes with --json", errUsage)
		}
		m, closer, err := openTree(fs.Arg(0))
		if err != nil {
			return err
		}
		defer closer.Close()
		l := lister{e: e, m: m, long: *long, labels: *labels, extents: *extents, asJSON: *asJSON}
		if err := l.list(ctx, imagePath(fs.Arg(1)), *all); err != nil {
			return fmt.Errorf("%s: %w", fs.Arg(0), err)
		}
		return nil
	}}

// imagePath is a path in an image as it is printed.
func imagePath(arg string) string { return path.Join("/", arg) }

// openTree opens a file system image of whatever kind.
func openTree(name string) (*fstree.Image, io.Closer, error) {
	f, size, err := openImage(name)
	if err != nil {
		return nil, nil, err
	}
	m, err := fstree.Open(f, size)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, f, nil
}

// A lister prints files, each as it comes to it.
type lister struct {
	e                             env
	m                             *fstree.Image
	long, labels, extents, asJSON bool

	tw    *tabwriter.Writer
	items int
}

// list prints the file at a path, or what is in the folder there.
func (l *lister) list(ctx context.Context, name string, all bool) error {
	n, err := l.m.Lookup(name, true)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	l.tw = tabwriter.NewWriter(l.e.stdout, 0, 0, 1, ' ', 0)
	if l.asJSON {
		fmt.Fprint(l.e.stdout, "[")
	}
	err = l.m.Walk(name, n, func(full string, n fsimage.Node) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		top := full == name
		if top && n.Info().Mode.IsDir() {
			return nil
		}
		shown := full
		if !all && !top {
			shown = path.Base(full)
		}
		if err := l.print(shown, full, n); err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
		if n.Info().Mode.IsDir() && !all {
			return fs.SkipDir
		}
		return nil
	})
	if l.asJSON {
		fmt.Fprintln(l.e.stdout, "\n]")
	}
	if flushed := l.tw.Flush(); err == nil {
		err = flushed
	}
	return err
}

// flushEvery is how many lines share the width of columns.
const flushEvery = 1000

func (l *lister) print(shown, full string, n fsimage.Node) error {
	if l.asJSON {
		return l.printJSON(full, n)
	}
	info := n.Info()
	if l.items++; l.items%flushEvery == 0 {
		if err := l.tw.Flush(); err != nil {
			return err
		}
	}
	if l.long {
		size := strconv.FormatInt(info.Size, 10)
		if info.Mode&fs.ModeDevice != 0 {
			size = fmt.Sprintf("%d,%d", info.Major, info.Minor)
		}
		fmt.Fprintf(l.tw, "%v\t%d\t%d\t%d\t%s\t%s\t", info.Mode, info.Links, info.UID, info.GID, size, info.ModTime.UTC().Format("2006-01-02 15:04"))
	}
	if l.labels {
		label, err := fstree.Label(n)
		if err != nil {
			return err
		}
		if label == "" {
			label = "-"
		}
		fmt.Fprintf(l.tw, "%s\t", printable(label))
	}
	fmt.Fprint(l.tw, printable(shown))
	if l.long && info.Mode&fs.ModeSymlink != 0 {
		target, err := n.Target()
		if err != nil {
			return err
		}
		fmt.Fprint(l.tw, " -> ", printable(target))
	}
	_, err := fmt.Fprintln(l.tw)
	return err
}

// A treeFile is a file of an image in JSON.
type treeFile struct {
	Path      string            `json:"path"`
	Inode     uint64            `json:"inode"`
	Type      string            `json:"type"` // file, folder, link, character device, block device, fifo, socket
	Mode      string            `json:"mode"` // octal, as chmod takes it
	UID       uint32            `json:"uid"`
	GID       uint32            `json:"gid"`
	Links     uint32            `json:"links"`
	Size      int64             `json:"size"`
	Modified  string            `json:"modified"` // RFC 3339
	Device    string            `json:"device,omitempty"`
	Target    string            `json:"target,omitempty"`
	Label     string            `json:"label,omitempty"`  // SELinux
	Xattrs    map[string][]byte `json:"xattrs,omitempty"` // values in base64
	Encrypted bool              `json:"encrypted,omitempty"`
	Verity    bool              `json:"verity,omitempty"`
	Extents   []treeExtent      `json:"extents,omitempty"`
}

// A treeExtent is where bytes of a file lie.
type treeExtent struct {
	Offset   int64  `json:"offset"`             // in the file
	Length   int64  `json:"length"`             // in the file
	At       *int64 `json:"at,omitempty"`       // in the image; none: zeros
	Size     int64  `json:"size"`               // in the image
	Codec    string `json:"codec,omitempty"`    // how it is compressed
	Skip     int64  `json:"skip,omitempty"`     // of what it unpacks to, before the file's
	Unpacked int64  `json:"unpacked,omitempty"` // bytes
	Inline   bool   `json:"inline,omitempty"`   // among the metadata
}

func newTreeFile(name string, n fsimage.Node) (*treeFile, error) {
	info := n.Info()
	out := &treeFile{
		Path: name, Inode: info.Num, Type: fstree.Kind(n), Mode: fmt.Sprintf("%04o", fsimage.Permissions(info.Mode)), UID: info.UID, GID: info.GID, Links: info.Links,
		Size: info.Size, Modified: info.ModTime.UTC().Format("2006-01-02T15:04:05.999999999Z07:00"),
		Encrypted: info.Encrypted, Verity: info.Verity,
	}
	if info.Mode&fs.ModeDevice != 0 {
		out.Device = fmt.Sprintf("%d:%d", info.Major, info.Minor)
	}
	var err error
	if info.Mode&fs.ModeSymlink != 0 {
		if out.Target, err = n.Target(); err != nil {
			return nil, err
		}
	}
	list, err := n.Xattrs()
	if err != nil {
		return nil, err
	}
	if out.Label, err = fstree.Label(n); err != nil {
		return nil, err
	}
	for _, x := range list {
		if out.Xattrs == nil {
			out.Xattrs = map[string][]byte{}
		}
		out.Xattrs[x.Name] = x.Value
	}
	return out, nil
}

func (l *lister) printJSON(name string, n fsimage.Node) error {
	f, err := newTreeFile(name, n)
	if err != nil {
		return err
	}
	if l.extents {
		for x, err := range n.Extents(0) {
			if err != nil {
				return err
			}
			out := treeExtent{Offset: x.Off, Length: x.Len, Size: x.Size, Skip: x.Skip, Inline: x.Inline}
			if x.At != fsimage.Hole {
				out.At = &x.At
			}
			if x.Codec != fsimage.Plain {
				out.Codec, out.Unpacked = x.Codec.String(), x.Full
			}
			f.Extents = append(f.Extents, out)
		}
	}
	b, err := json.MarshalIndent(f, "  ", "  ")
	if err != nil {
		return err
	}
	sep := ",\n  "
	if l.items++; l.items == 1 {
		sep = "\n  "
	}
	_, err = fmt.Fprintf(l.e.stdout, "%s%s", sep, b)
	return err
}

var imageCat = command{"image cat", "IMAGE PATH...", "print files of a file system image\n" + imageHelp,
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		if err := parse(fs, args, 2, 1<<16); err != nil {
			return err
		}
		m, closer, err := openTree(fs.Arg(0))
		if err != nil {
			return err
		}
		defer closer.Close()
		for _, name := range fs.Args()[1:] {
			n, err := m.Lookup(name, true)
			if err == nil && !n.Info().Mode.IsRegular() {
				err = fmt.Errorf("a %s has nothing to print: name a file", fstree.Kind(n))
			}
			if err == nil {
				_, err = m.Copy(&untilDone{ctx, e.stdout}, n)
			}
			if err != nil {
				return fmt.Errorf("%s: %s: %w", fs.Arg(0), name, err)
			}
		}
		return nil
	}}

// untilDone is a writer that ends with its context.
type untilDone struct {
	ctx context.Context
	io.Writer
}

func (w *untilDone) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}
