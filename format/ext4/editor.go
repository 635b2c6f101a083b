package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"mios/format/fsimage"
)

// An Editor changes an image.
//
// A file's new data takes the blocks that only its old data used, then others
// that are free by the bitmaps and by all that is read; blocks that several
// files share, with shared_blocks, stay as they are. If there is no room the
// image grows: its last group, then groups behind that, as long as their
// descriptors have room where they are.
//
// A folder with an index that gets a new name loses the index: its entries stay
// where they are, and are looked for one after the other.
type Editor struct {
	file   fsimage.File
	f      *FS
	o      fsimage.EditOptions
	super  []byte
	space  *fsimage.Space
	groups []*group
	refs   map[int64]int64 // blocks of attributes, and how many files have them
	grown  bool
}

var _ fsimage.Editor = (*Editor)(nil)

// What an Editor can keep right.
const (
	roEditable      = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x400 | 0x2000 | 0x4000 | 0x8000
	incompatRefused = incompatInline
	compatXattr     = 0x8
	stateClean      = 1
	stateErrors     = 2
)

// NewEditor returns an editor of the image in the first size bytes of file, and
// cuts off what is behind the file system. The errors are those of [Open]; images
// without extents, with inline_data, bigalloc or quotas are [ErrUnsupported].
func NewEditor(file fsimage.File, size int64, o fsimage.EditOptions) (*Editor, error) {
	f, err := Open(file, size)
	if err != nil {
		return nil, err
	}
	refused := append(names(f.Incompat&incompatRefused, incompatNames), names(f.ROCompat&^roEditable, roNames)...)
	if len(refused) > 0 {
		return nil, fmt.Errorf("ext4: changing an image with the features %s: %w", strings.Join(refused, ", "), ErrUnsupported)
	}
	if f.Incompat&incompatExtents == 0 {
		return nil, fmt.Errorf("ext4: changing an image without extents, as of ext2 and ext3: %w: tune2fs -O extents", ErrUnsupported)
	}
	e := &Editor{file: file, f: f, o: o, super: make([]byte, superSize), refs: map[int64]int64{}}
	if err := f.read(e.super, superOffset, "superblock"); err != nil {
		return nil, err
	}
	if state := binary.LittleEndian.Uint16(e.super[58:]); state&stateClean == 0 || state&stateErrors != 0 {
		return nil, fmt.Errorf("ext4: the image is said not to be clean: run e2fsck on it: %w", ErrUnsupported)
	}
	f.size = f.Blocks * f.BlockSize
	f.cache.Resize(f.size)
	e.space = fsimage.NewSpace(f.Blocks)
	if err := e.readGroups(); err != nil {
		return nil, err
	}
	if err := e.scan(); err != nil {
		return nil, err
	}
	return e, file.Truncate(f.size)
}

// scan notes who uses which block.
func (e *Editor) scan() error {
	root, err := e.f.Root()
	if err != nil {
		return err
	}
	seen := map[uint64]bool{}
	return e.f.Walk("", root, func(name string, node fsimage.Node) error {
		n := node.(*inode)
		if seen[n.info.Num] {
			return nil
		}
		seen[n.info.Num] = true
		if err := n.each(func(r fsimage.Run, _ bool) { e.space.Use(r) }); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if n.acl == 0 {
			return nil
		}
		if err := n.blocks(n.info.Off+104, n.acl, 1); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if e.refs[n.acl]++; e.refs[n.acl] == 1 {
			e.space.Use(fsimage.Run{Start: n.acl, Count: 1})
		}
		return nil
	})
}

// write writes metadata.
func (e *Editor) write(p []byte, off int64) error {
	_, err := e.file.WriteAt(p, off)
	e.f.cache.Forget(off, int64(len(p)))
	return err
}

// lookup returns the file of a path, and that of the folder it is in.
func (e *Editor) lookup(name string) (n, dir *inode, err error) {
	if !fs.ValidPath(name) {
		return nil, nil, fs.ErrInvalid
	}
	if n, err = e.f.inode(rootInode); err != nil || name == "." {
		return n, nil, err
	}
	for part := range strings.SplitSeq(name, "/") {
		if !n.info.Mode.IsDir() {
			return nil, nil, fs.ErrNotExist
		}
		num, err := find(n, part)
		if err != nil {
			return nil, nil, err
		}
		dir = n
		if n, err = e.f.inode(num); err != nil {
			return nil, nil, err
		}
	}
	return n, dir, nil
}

// find returns the inode of a name.
func find(dir *inode, name string) (uint64, error) {
	for d, err := range dir.Entries() {
		switch {
		case err != nil:
			return 0, err
		case d.Name == name:
			return d.Num, nil
		}
	}
	return 0, fs.ErrNotExist
}

// Replace implements [fsimage.Editor].
func (e *Editor) Replace(name string, r io.Reader, size int64) error {
	return pathError("replace", name, e.replace(name, r, size))
}

func (e *Editor) replace(name string, r io.Reader, size int64) error {
	n, _, err := e.lookup(name)
	switch {
	case err != nil:
		return err
	case !n.info.Mode.IsRegular() || size < 0:
		return fmt.Errorf("of mode %v, not a file with data: %w", n.info.Mode, fs.ErrInvalid)
	case n.flags&(flagEncrypt|flagVerity|flagEAInode) != 0:
		return fmt.Errorf("it is encrypted, or of fs-verity: %w: remove the file and add it", ErrUnsupported)
	}
	own, had, err := e.release(n)
	if err != nil {
		return err
	}
	return e.fill(n, r, size, had, own)
}

// fill gives data to a file whose own blocks are free.
func (e *Editor) fill(n *inode, r io.Reader, size, had int64, own []fsimage.Run) error {
	count := (size + e.f.BlockSize - 1) / e.f.BlockSize
	if count > 1<<32-1 {
		return fmt.Errorf("%d bytes: %w", size, fs.ErrInvalid)
	}
	runs, err := e.take(count, own)
	if err != nil {
		return err
	}
	err = fsimage.WriteBlocks(e.file, r, size, runs, e.f.BlockSize)
	for _, r := range runs {
		e.f.cache.Forget(r.Start*e.f.BlockSize, r.Count*e.f.BlockSize)
	}
	if err != nil {
		return err
	}
	return e.setRuns(n, runs, size, had, own)
}

// Add implements [fsimage.Editor].
func (e *Editor) Add(name string, a fsimage.Attr, r io.Reader, size int64) error {
	a.Mode &^= fs.ModeType
	return pathError("add", name, e.make(name, a, func(n, _ *inode) error {
		if size < 0 {
			return fs.ErrInvalid
		}
		return e.fill(n, r, size, 0, nil)
	}))
}

// Symlink implements [fsimage.Editor].
func (e *Editor) Symlink(target, name string, a fsimage.Attr) error {
	a.Mode = 0o777 | fs.ModeSymlink
	if target == "" || int64(len(target)) >= min(maxTarget, e.f.BlockSize) || strings.Contains(target, "\x00") {
		return pathError("symlink", name, fmt.Errorf("a target of %d bytes: %w", len(target), fs.ErrInvalid))
	}
	return pathError("symlink", name, e.make(name, a, func(n, _ *inode) error {
		if len(target) >= mapSize {
			return e.fill(n, strings.NewReader(target), int64(len(target)), 0, nil)
		}
		copy(n.raw[mapOff:], target)
		e.setSize(n, int64(len(target)))
		return e.writeInode(n)
	}))
}

// Mkdir implements [fsimage.Editor].
func (e *Editor) Mkdir(name string, a fsimage.Attr) error {
	a.Mode = a.Mode&^fs.ModeType | fs.ModeDir
	return pathError("mkdir", name, e.make(name, a, func(n, dir *inode) error {
		if err := e.fillDir(n, dir); err != nil {
			return err
		}
		return e.addLink(dir, 1)
	}))
}

// make makes a file that fill fills.
func (e *Editor) make(name string, a fsimage.Attr, fill func(n, dir *inode) error) error {
	if name == "." {
		return fs.ErrInvalid
	}
	dir, _, err := e.lookup(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch {
	case !dir.info.Mode.IsDir() || !fs.ValidPath(name) || !fsimage.ValidName(base):
		return fs.ErrInvalid
	case dir.flags&(flagEncrypt|flagCasefold) != 0:
		return fmt.Errorf("the folder's names are encrypted, or without upper and lower case: %w", ErrUnsupported)
	}
	if _, err := find(dir, base); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if a.ModTime.IsZero() {
		a.ModTime = dir.info.ModTime
	}
	x, err := e.encodeXattrs(a.Xattrs)
	if err != nil {
		return err
	}
	n, err := e.newInode(dir, a)
	if err != nil {
		return err
	}
	if err := e.setXattrs(n, x); err != nil {
		return err
	}
	if err := fill(n, dir); err != nil {
		return err
	}
	return e.insert(dir, base, n)
}

// Remove implements [fsimage.Editor].
func (e *Editor) Remove(name string) error {
	n, dir, err := e.lookup(name)
	if err == nil && dir == nil {
		err = fs.ErrInvalid
	}
	if err == nil {
		err = e.remove(dir, path.Base(name), n)
	}
	return pathError("remove", name, err)
}

// Commit implements [fsimage.Editor].
func (e *Editor) Commit() (int64, error) {
	if err := e.writeGroups(); err != nil {
		return 0, err
	}
	if err := e.writeSuper(); err != nil {
		return 0, err
	}
	if err := e.space.Wipe(e.file, e.f.BlockSize); err != nil {
		return 0, err
	}
	size := e.f.Blocks * e.f.BlockSize
	return size, e.file.Truncate(size)
}

func pathError(op, name string, err error) error {
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}
