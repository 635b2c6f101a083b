package fstree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mios/format/fsimage"
)

// Options say what [Extract] does beside names, data, permissions, times and
// symbolic links.
type Options struct {
	// Owner gives files their owners and setuid bits, and makes devices. It
	// wants root.
	Owner bool
	// Xattrs gives files their extended attributes. Those of security and
	// trusted want root.
	Xattrs bool
	// Progress is told how many bytes of files are written, from several
	// goroutines. It may be nil.
	Progress func(bytes int64)
}

// A Result says what [Extract] made.
type Result struct {
	Files, Folders, Links, Special int
	Bytes                          int64    // of files' data, holes included
	LeftOut                        []string // devices and sockets, without Options.Owner
}

// buffers are for what is being copied.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// kinds are types of files, for people.
var kinds = map[fs.FileMode]string{
	0: "file", fs.ModeDir: "folder", fs.ModeSymlink: "link", fs.ModeDevice | fs.ModeCharDevice: "character device",
	fs.ModeDevice: "block device", fs.ModeNamedPipe: "fifo", fs.ModeSocket: "socket",
}

// Extract puts the file, or the folder with all that is in it, at a path of the image
// into dir, which must not be there yet: if it fails, what is there is not whole.
// Nothing is written outside of dir, whatever the image says: names are single
// names, and no symbolic link is followed. Holes stay holes, and names of one file
// stay that. Files are written on all processors.
func Extract(ctx context.Context, f *fsimage.FS, name, dir string, o Options) (*Result, error) {
	dir = filepath.Clean(dir)
	n, err := f.Lookup(name, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("%s: %w: give a name that is not there yet", dir, fs.ErrExist)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := &extractor{f: f, o: o, ctx: ctx, fail: cancel, jobs: make(chan func() error, 64), top: int(parent.Fd()), made: map[uint64]string{}}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(x.work)
	}
	top := &folder{fd: x.top}
	top.refs.Store(1) // parent is not ours to close
	x.walk(top, filepath.Base(dir), n)
	close(x.jobs)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return &x.result, nil
}

// An extractor walks the image in one goroutine, which makes folders and
// links, and writes files in others.
type extractor struct {
	f      *fsimage.FS
	o      Options
	ctx    context.Context
	fail   context.CancelCauseFunc
	jobs   chan func() error
	top    int               // what dir is in
	made   map[uint64]string // files with several names, and the first of them
	result Result

	written atomic.Int64 // bytes of files
}

// A folder is one that is being filled. Its own attributes are set when nobody
// needs it any more, for what is written into it changes its times.
type folder struct {
	fd     int
	path   string // from what dir is in
	name   string
	node   fsimage.Node
	refs   atomic.Int64
	parent *folder
}

func (d *folder) release(x *extractor) {
	if d.refs.Add(-1) > 0 {
		return
	}
	err := x.attributes(d.parent, d.name, d.fd, d.node)
	unix.Close(d.fd)
	if err != nil {
		x.fail(fmt.Errorf("%s: %w", d.path, err))
	}
	d.parent.release(x)
}

// work does what is to be done until there is nothing more.
func (x *extractor) work() {
	for job := range x.jobs {
		if err := job(); err != nil {
			x.fail(err)
		}
	}
}

// walk makes all that is in the image from n on, as name in d.
func (x *extractor) walk(d *folder, name string, n fsimage.Node) {
	dirs := map[string]*folder{}
	err := x.f.Walk(name, n, func(full string, n fsimage.Node) error {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		parent, base := dirs[path.Dir(full)], path.Base(full)
		if full == name {
			parent, base = d, name
		}
		for p, dir := range dirs { // those that the walk has left
			if p != path.Dir(full) && !within(full, p) {
				delete(dirs, p)
				dir.release(x)
			}
		}
		if n.Info().Mode.IsDir() {
			made, err := x.mkdir(parent, base, n)
			if err != nil {
				return fmt.Errorf("%s: %w", full, err)
			}
			dirs[full] = made
			return nil
		}
		if err := x.make(parent, base, n); err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
		return nil
	})
	for _, dir := range dirs {
		dir.release(x)
	}
	if err != nil {
		x.fail(err)
	}
}

// within reports whether a path lies in a folder.
func within(name, dir string) bool {
	return len(name) > len(dir) && name[:len(dir)] == dir && name[len(dir)] == '/'
}

func (x *extractor) mkdir(d *folder, name string, n fsimage.Node) (*folder, error) {
	if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	x.result.Folders++
	made := &folder{fd: fd, path: path.Join(d.path, name), name: name, node: n, parent: d}
	made.refs.Store(1)
	d.refs.Add(1)
	return made, nil
}

// make makes what is no folder.
func (x *extractor) make(d *folder, name string, n fsimage.Node) error {
	info := n.Info()
	if first, ok := x.made[info.Num]; ok && info.Links > 1 { // on its way are only folders made here
		return unix.Linkat(x.top, first, d.fd, name, 0)
	}
	var err error
	switch mode := info.Mode; {
	case mode.IsRegular():
		x.result.Files++
		x.result.Bytes += info.Size
		err = x.file(d, name, n)
	case mode&fs.ModeSymlink != 0:
		x.result.Links++
		err = x.symlink(d, name, n)
	case mode&fs.ModeNamedPipe != 0 || x.o.Owner:
		x.result.Special++
		err = x.special(d, name, n)
	default:
		x.result.LeftOut = append(x.result.LeftOut, path.Join(d.path, name))
		return nil
	}
	if err == nil && info.Links > 1 {
		x.made[info.Num] = path.Join(d.path, name)
	}
	return err
}

func (x *extractor) symlink(d *folder, name string, n fsimage.Node) error {
	target, err := n.Target()
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(target, d.fd, name); err != nil {
		return err
	}
	return x.named(d, name, n)
}

func (x *extractor) special(d *folder, name string, n fsimage.Node) error {
	info := n.Info()
	kind := map[fs.FileMode]uint32{
		fs.ModeNamedPipe: unix.S_IFIFO, fs.ModeSocket: unix.S_IFSOCK,
		fs.ModeDevice: unix.S_IFBLK, fs.ModeDevice | fs.ModeCharDevice: unix.S_IFCHR,
	}[info.Mode.Type()]
	if err := unix.Mknodat(d.fd, name, kind|0o600, int(unix.Mkdev(info.Major, info.Minor))); err != nil {
		return err
	}
	if err := x.named(d, name, n); err != nil {
		return err
	}
	return unix.Fchmodat(d.fd, name, x.mode(n), 0) // nobody else has put a link there
}

// named gives what cannot be opened its owner, time and attributes.
func (x *extractor) named(d *folder, name string, n fsimage.Node) error {
	info := n.Info()
	if x.o.Owner {
		if err := unix.Fchownat(d.fd, name, int(info.UID), int(info.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	if x.o.Xattrs {
		err := x.xattrs(n, func(attr string, value []byte) error {
			return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", d.fd, name), attr, value, 0)
		})
		if err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(d.fd, name, times(n), unix.AT_SYMLINK_NOFOLLOW)
}

// attributes gives an open file or folder, name in d, its owner, mode,
// attributes and time.
func (x *extractor) attributes(d *folder, name string, fd int, n fsimage.Node) error {
	info := n.Info()
	if x.o.Owner {
		if err := unix.Fchown(fd, int(info.UID), int(info.GID)); err != nil {
			return err
		}
	}
	if x.o.Xattrs {
		err := x.xattrs(n, func(attr string, value []byte) error { return unix.Fsetxattr(fd, attr, value, 0) })
		if err != nil {
			return err
		}
	}
	if err := unix.Fchmod(fd, x.mode(n)); err != nil {
		return err
	}
	return unix.UtimesNanoAt(d.fd, name, times(n), unix.AT_SYMLINK_NOFOLLOW)
}

// mode is the mode that a file gets. Without its owner, setuid would make it
// somebody else's.
func (x *extractor) mode(n fsimage.Node) uint32 {
	mode := fsimage.Permissions(n.Info().Mode)
	if !x.o.Owner {
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	return mode
}

func (x *extractor) xattrs(n fsimage.Node, set func(attr string, value []byte) error) error {
	list, err := n.Xattrs()
	if err != nil {
		return err
	}
	for _, a := range list {
		if err := set(a.Name, a.Value); err != nil {
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) {
				return fmt.Errorf("attribute %s: %w: be root, have a file system that takes it, or leave attributes out", a.Name, err)
			}
			return fmt.Errorf("attribute %s: %w", a.Name, err)
		}
	}
	return nil
}

func times(n fsimage.Node) []unix.Timespec {
	at := n.Info().ModTime
	ts := unix.Timespec{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}
	return []unix.Timespec{ts, ts}
}
