package erofs

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"mios/format/fsimage"
)

// An Editor changes an image. In one with files that LZ4 compressed new data is
// compressed, too, if that helps; all other data is written as it is.
//
// A file's new data takes the blocks that only its old data used, or others that
// became free, or new ones at the end; its inode stays in its place, unless
// it is compressed. New inodes, and folders that have outgrown their place, go the same way. Attributes
// that the image shares are shared. Blocks that nobody uses any more keep their
// bytes.
type Editor struct {
	file   fsimage.File
	f      *FS
	o      fsimage.EditOptions
	space  *fsimage.Space
	shared map[sharedKey]uint32 // numbers of attributes that are shared
	nodes  map[uint64]*node     // of the image, as far as they were asked for
	made   []*node              // without a place yet, in the order of making
	dirs   []*node              // of the image, that hold something else now
	count  int64                // inodes that the image has more

	packing packing
}

var _ fsimage.Editor = (*Editor)(nil)

// A node is a file that is, or has become, part of the image.
type node struct {
	*inode              // in the image; nil before it has a place
	attr   fsimage.Attr // of one that is made
	links  uint32
	parent *node // of a folder

	entries []dirent // of a folder that was asked for, sorted
	loaded  bool
	changed bool // entries are

	size    int64 // of one that is made: of its data, which is in blocks and tail
	runs    []fsimage.Run
	tail    []byte
	indexes []byte // of data that is packed into so many blocks
	packed  int64
	num     uint64 // once it has a place
	at      int64
}

// A dirent is a name in a folder.
type dirent struct {
	name string
	kind fs.FileMode
	num  uint64
	made *node // whose number is not known yet; or nil
}

// NewEditor returns an editor of the image in the first size bytes of file. What
// is in file behind the file system will be written over, or cut off. The errors
// are those of [Open]; images with a metabox are [ErrUnsupported].
func NewEditor(file fsimage.File, size int64, o fsimage.EditOptions) (*Editor, error) {
	f, err := Open(file, size)
	if err != nil {
		return nil, err
	}
	if f.Incompat&incompatMetabox != 0 {
		return nil, fmt.Errorf("erofs: changing an image with a metabox: %w: make it anew, with mkfs.erofs", ErrUnsupported)
	}
	if f.Blocks > maxBlocks {
		return nil, fmt.Errorf("erofs: changing an image of %d blocks, more than %d: %w", f.Blocks, int64(maxBlocks), ErrUnsupported)
	}
	end := f.Blocks * f.BlockSize
	if f.metaStart >= end {
		return nil, bad(superOffset+40, "inodes begin at %#x, the image ends at %#x", f.metaStart, end)
	}
	f.size = end
	f.cache.Resize(end)
	e := &Editor{
		file: file, f: f, o: o, space: fsimage.NewSpace(f.Blocks),
		shared: map[sharedKey]uint32{}, nodes: map[uint64]*node{},
	}
	if err := e.scan(); err != nil {
		return nil, err
	}
	return e, e.readPacking()
}

// maxBlocks is how many blocks have numbers of 32 bits, of which the last means none.
const maxBlocks = 1<<32 - 2

// scan notes who uses which block, and which attributes are shared.
func (e *Editor) scan() error {
	root, err := e.f.Root()
	if err != nil {
		return err
	}
	seen := map[uint64]bool{}
	err = e.f.Walk("", root, func(name string, n fsimage.Node) error {
		if seen[n.Info().Num] {
			return nil
		}
		seen[n.Info().Num] = true
		if err := e.note(n.(*inode)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil || e.f.packed == 0 || e.f.Incompat&incompatFragments == 0 {
		return err
	}
	packed, err := e.f.packedOnce()
	if err != nil {
		return err
	}
	if err := e.note(packed); err != nil {
		return err
	}
	for x, err := range packed.Extents(0) {
		if err != nil {
			return err
		}
		e.space.Pin(e.blocks(x))
	}
	return nil
}

// note notes what an inode uses.
func (e *Editor) note(n *inode) error {
	bs := e.f.BlockSize
	e.space.Pin(fsimage.Run{Start: n.off / bs, Count: (n.end+bs-1)/bs - n.off/bs})
	for x, err := range n.Extents(0) {
		switch {
		case err != nil:
			return err
		case x.At == fsimage.Hole:
		case x.Inline:
			e.space.Pin(e.blocks(x))
		default:
			e.packing.seen = e.packing.seen || x.Codec == fsimage.LZ4
			e.space.Use(e.blocks(x))
		}
	}
	return e.noteShared(n)
}

// blocks are those that an extent lies in.
func (e *Editor) blocks(x fsimage.Extent) fsimage.Run {
	if x.At == fsimage.Hole {
		return fsimage.Run{}
	}
	bs := e.f.BlockSize
	return fsimage.Run{Start: x.At / bs, Count: (x.At+x.Size+bs-1)/bs - x.At/bs}
}

// alloc takes n blocks that follow each other: of own if they fit there, of what
// is free, or at the end.
func (e *Editor) alloc(n int64, own []fsimage.Run) (int64, error) {
	if start, ok := e.space.Fit(n, own); ok && start*e.f.BlockSize >= e.f.metaStart {
		e.space.Take(fsimage.Run{Start: start, Count: n})
		return start, nil
	}
	tail := e.space.Tail()
	start := e.space.Blocks() - tail
	limit := int64(maxBlocks)
	if e.o.MaxSize > 0 {
		limit = min(limit, e.o.MaxSize/e.f.BlockSize)
	}
	if start+n > limit {
		return 0, fmt.Errorf("erofs: %d more blocks of %d bytes behind block %d, where %d may be: %w",
			n, e.f.BlockSize, start, limit, fsimage.ErrNoSpace)
	}
	e.space.Grow(n - tail)
	e.f.size = max(e.f.size, e.space.Blocks()*e.f.BlockSize)
	e.f.cache.Resize(e.f.size)
	e.space.Take(fsimage.Run{Start: start, Count: n})
	return start, nil
}

// lookup returns the file of a path.
func (e *Editor) lookup(name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	n, err := e.node(e.f.root, nil)
	if err != nil || name == "." {
		return n, err
	}
	for part := range strings.SplitSeq(name, "/") {
		if !n.mode().IsDir() {
			return nil, fs.ErrNotExist
		}
		i, ok, err := e.find(n, part)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, fs.ErrNotExist
		}
		if n, err = e.child(n, n.entries[i]); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *node) mode() fs.FileMode {
	if n.inode != nil {
		return n.info.Mode
	}
	return n.attr.Mode
}

func (e *Editor) child(dir *node, d dirent) (*node, error) {
	if d.made != nil {
		return d.made, nil
	}
	return e.node(d.num, dir)
}

// node returns the inode of that number.
func (e *Editor) node(num uint64, parent *node) (*node, error) {
	if n := e.nodes[num]; n != nil {
		return n, nil
	}
	i, err := e.f.inode(num)
	if err != nil {
		return nil, err
	}
	n := &node{inode: i, links: i.info.Links, parent: parent}
	if parent == nil {
		n.parent = n
	}
	e.nodes[num] = n
	return n, nil
}

// find returns where in a folder a name is, or would be.
func (e *Editor) find(dir *node, name string) (int, bool, error) {
	if !dir.loaded {
		list, err := e.f.Entries(dir.inode)
		if err != nil {
			return 0, false, err
		}
		for _, x := range list {
			dir.entries = append(dir.entries, dirent{name: x.Name, kind: x.Type, num: x.Num})
		}
		dir.loaded = true
	}
	i, ok := slices.BinarySearchFunc(dir.entries, name, func(d dirent, name string) int { return strings.Compare(d.name, name) })
	return i, ok, nil
}

// touch notes that a folder holds something else now.
func (e *Editor) touch(dir *node) {
	if !dir.changed && dir.inode != nil {
		e.dirs = append(e.dirs, dir)
	}
	dir.changed = true
}

// put makes a file in its folder.
func (e *Editor) put(name string, n *node) error {
	dir, err := e.lookup(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if !dir.mode().IsDir() || name == "." || !fs.ValidPath(name) || !fsimage.ValidName(base) {
		return fs.ErrInvalid
	}
	i, ok, err := e.find(dir, base)
	switch {
	case err != nil:
		return err
	case ok:
		return fs.ErrExist
	}
	if n.attr.ModTime.IsZero() {
		n.attr.ModTime = dir.attr.ModTime
		if dir.inode != nil {
			n.attr.ModTime = dir.info.ModTime
		}
	}
	if _, err := e.encodeXattrs(n.attr.Xattrs); err != nil {
		return err
	}
	dir.entries = slices.Insert(dir.entries, i, dirent{name: base, kind: n.attr.Mode.Type(), made: n})
	if n.parent = dir; n.attr.Mode.IsDir() {
		dir.links++
	}
	e.touch(dir)
	e.made = append(e.made, n)
	e.count++
	return nil
}

// Add implements [fsimage.Editor].
func (e *Editor) Add(name string, a fsimage.Attr, r io.Reader, size int64) error {
	a.Mode &^= fs.ModeType
	n := &node{attr: a, links: 1}
	err := e.put(name, n)
	if err == nil {
		err = e.fill(n, r, size, nil)
	}
	return pathError("add", name, err)
}

// Mkdir implements [fsimage.Editor].
func (e *Editor) Mkdir(name string, a fsimage.Attr) error {
	a.Mode = a.Mode&^fs.ModeType | fs.ModeDir
	return pathError("mkdir", name, e.put(name, &node{attr: a, links: 2, loaded: true, changed: true}))
}

// Symlink implements [fsimage.Editor].
func (e *Editor) Symlink(target, name string, a fsimage.Attr) error {
	if target == "" || len(target) >= maxTarget || strings.Contains(target, "\x00") {
		return pathError("symlink", name, fmt.Errorf("a target of %d bytes: %w", len(target), fs.ErrInvalid))
	}
	a.Mode = 0o777 | fs.ModeSymlink
	n := &node{attr: a, links: 1}
	err := e.put(name, n)
	if err == nil {
		err = e.fill(n, strings.NewReader(target), int64(len(target)), nil)
	}
	return pathError("symlink", name, err)
}

// Replace implements [fsimage.Editor].
func (e *Editor) Replace(name string, r io.Reader, size int64) error {
	n, err := e.lookup(name)
	switch {
	case err != nil:
	case !n.mode().IsRegular():
		err = fmt.Errorf("of mode %v, not a file with data: %w", n.mode(), fs.ErrInvalid)
	default:
		var own []fsimage.Run
		if own, err = e.release(n); err != nil {
			break
		}
		err = e.replace(name, n, r, size, own)
	}
	return pathError("replace", name, err)
}

func (e *Editor) replace(name string, n *node, r io.Reader, size int64, own []fsimage.Run) error {
	if n.inode == nil {
		return e.fill(n, r, size, own)
	}
	if n.links == 1 && (n.layout == layoutCompressed || n.layout == layoutCompressedCompact) {
		all, ok, err := e.packs(r, size)
		switch {
		case err != nil:
			return err
		case ok:
			return e.renew(name, n, all, size, own)
		}
		r = all
	}
	return e.refill(n, r, size, own)
}

// Remove implements [fsimage.Editor].
func (e *Editor) Remove(name string) error {
	n, err := e.lookup(name)
	if err == nil && name == "." {
		err = fs.ErrInvalid
	}
	if err == nil {
		err = e.unlink(name, n)
	}
	return pathError("remove", name, err)
}

// entry returns the folder that a path is in, and where in it.
func (e *Editor) entry(name string) (*node, int, error) {
	dir, err := e.lookup(path.Dir(name))
	if err != nil {
		return nil, 0, err
	}
	i, ok, err := e.find(dir, path.Base(name))
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	return dir, i, err
}

func (e *Editor) unlink(name string, n *node) error {
	dir, i, err := e.entry(name)
	if err != nil {
		return err
	}
	dir.entries = slices.Delete(dir.entries, i, i+1)
	e.touch(dir)
	if n.mode().IsDir() {
		dir.links--
	}
	return e.drop(n)
}

func pathError(op, name string, err error) error {
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}
