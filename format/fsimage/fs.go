package fsimage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// An FS is a view of a file system image as an [fs.FS], with what that has no
// words for. Symbolic links are followed within the image: / is its root.
type FS struct {
	format string
	src    Source
	image  io.ReaderAt
	kept   store
}

// New returns a view of what src reads from an image of that format.
func New(format string, src Source, image io.ReaderAt) *FS {
	return &FS{format: format, src: src, image: image}
}

// bad says what is wrong with an inode.
func (f *FS) bad(n Node, format string, args ...any) error {
	return &FormatError{Format: f.format, Off: n.Info().Off, Msg: fmt.Sprintf("inode %d: ", n.Info().Num) + fmt.Sprintf(format, args...)}
}

var _ interface {
	fs.ReadDirFS
	fs.ReadLinkFS
	fs.StatFS
} = (*FS)(nil)

// Root is the topmost folder.
func (f *FS) Root() (Node, error) {
	n, err := f.src.Node(f.src.Root())
	if err == nil && !n.Info().Mode.IsDir() {
		return nil, f.bad(n, "the root is of mode %v, not a folder", n.Info().Mode)
	}
	return n, err
}

// Node reads the inode of that number.
func (f *FS) Node(num uint64) (Node, error) { return f.src.Node(num) }

// maxLinks is how many symbolic links a path may lead through, as in Linux.
const maxLinks = 40

// errLoop is ELOOP.
var errLoop = errors.New("too many symbolic links")

// Lookup returns the file of that path, such as "system/etc/hosts", "." or
// "/system". If it is a symbolic link, follow says whether that is meant, or
// what it leads to. The error of a path that is not there wraps
// [fs.ErrNotExist].
func (f *FS) Lookup(name string, follow bool) (Node, error) {
	n, err := f.Root()
	if err != nil {
		return nil, err
	}
	stack := []Node{n}
	parts := split(name)
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		dir := stack[len(stack)-1]
		switch part {
		case ".":
			continue
		case "..":
			stack = stack[:max(1, len(stack)-1)]
			continue
		}
		if !dir.Info().Mode.IsDir() {
			return nil, fs.ErrNotExist
		}
		if n, err = f.child(dir, part); err != nil {
			return nil, err
		}
		if n.Info().Mode&fs.ModeSymlink == 0 || len(parts) == 0 && !follow {
			stack = append(stack, n)
			continue
		}
		if links++; links > maxLinks {
			return nil, errLoop
		}
		target, err := n.Target()
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(target, "/") {
			stack = stack[:1]
		}
		parts = append(split(target), parts...)
	}
	return stack[len(stack)-1], nil
}

func split(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// child returns the file of that name in a folder.
func (f *FS) child(dir Node, name string) (Node, error) {
	for e, err := range dir.Entries() {
		switch {
		case err != nil:
			return nil, err
		case e.Name == name:
			return f.src.Node(e.Num)
		}
	}
	return nil, fs.ErrNotExist
}

func (f *FS) lookup(op, name string, follow bool) (Node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, err := f.Lookup(name, follow)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// Stat implements [fs.StatFS]. Sys of what it returns is the [Node].
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.lookup("stat", name, true)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), n}, nil
}

// Lstat implements [fs.ReadLinkFS].
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.lookup("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), n}, nil
}

// ReadLink implements [fs.ReadLinkFS].
func (f *FS) ReadLink(name string) (string, error) {
	n, err := f.lookup("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.Info().Mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.Target()
}

// ReadDir implements [fs.ReadDirFS].
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.lookup("readdir", name, true)
	if err != nil {
		return nil, err
	}
	list, err := f.readDir(n)
	if err != nil {
		err = &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return list, err
}

// readDir lists a folder, sorted by name.
func (f *FS) readDir(n Node) ([]fs.DirEntry, error) {
	if !n.Info().Mode.IsDir() {
		return nil, errors.New("not a folder")
	}
	var list []fs.DirEntry
	for e, err := range n.Entries() {
		if err != nil {
			return list, err
		}
		if e.Type == fs.ModeIrregular {
			child, err := f.src.Node(e.Num)
			if err != nil {
				return list, err
			}
			e.Type = child.Info().Mode.Type()
		}
		list = append(list, dirEntry{e, f})
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// Open implements [fs.FS]. Files are [io.ReaderAt] and [io.Seeker], too.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.lookup("open", name, true)
	if err != nil {
		return nil, err
	}
	info := fileInfo{path.Base(name), n}
	if n.Info().Mode.IsDir() {
		return &folder{fileInfo: info, f: f, name: name}, nil
	}
	if !n.Info().Mode.IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%v: not a file with data", n.Info().Mode)}
	}
	return &file{f.Data(n), info}, nil
}

type file struct {
	*io.SectionReader
	info fileInfo
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

type folder struct {
	fileInfo
	f    *FS
	name string
	list []fs.DirEntry
	read bool
}

func (d *folder) Stat() (fs.FileInfo, error) { return d.fileInfo, nil }
func (d *folder) Close() error               { return nil }

func (d *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a folder")}
}

// ReadDir implements [fs.ReadDirFile].
func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		list, err := d.f.readDir(d.node)
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: d.name, Err: err}
		}
		d.list, d.read = list, true
	}
	if n <= 0 {
		n = len(d.list)
	} else if len(d.list) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.list))
	out := d.list[:n:n]
	d.list = d.list[n:]
	return out, nil
}

type fileInfo struct {
	name string
	node Node
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.node.Info().Size }
func (i fileInfo) Mode() fs.FileMode  { return i.node.Info().Mode }
func (i fileInfo) ModTime() time.Time { return i.node.Info().ModTime }
func (i fileInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i fileInfo) Sys() any           { return i.node }

type dirEntry struct {
	e Entry
	f *FS
}

func (d dirEntry) Name() string      { return d.e.Name }
func (d dirEntry) IsDir() bool       { return d.e.Type.IsDir() }
func (d dirEntry) Type() fs.FileMode { return d.e.Type }

func (d dirEntry) Info() (fs.FileInfo, error) {
	n, err := d.f.src.Node(d.e.Num)
	if err != nil {
		return nil, err
	}
	return fileInfo{d.e.Name, n}, nil
}

func (d dirEntry) String() string { return fs.FormatDirEntry(d) }
