package fsimage

import (
	"errors"
	"io"
	"io/fs"
	"time"
)

// A File is an image that is edited: what is written into it is there at once.
// [os.File] is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// ErrNoSpace is that an image has no room for what was put into it, and may not
// grow, or not as much.
var ErrNoSpace = errors.New("no space left in the image")

// Attr are attributes of a file that an [Editor] makes.
type Attr struct {
	Mode     fs.FileMode // permissions, setuid, setgid, sticky; the type is the call's
	UID, GID uint32
	ModTime  time.Time // zero: that of the folder that it is put into
	Xattrs   []Xattr   // such as security.selinux, whose value Android ends with a zero byte, and security.capability
}

// EditOptions say what an [Editor] may do.
type EditOptions struct {
	// MaxSize is how large the file system may become, in bytes; what does not
	// fit is [ErrNoSpace]. 0: it may grow as its format lets it.
	MaxSize int64
}

// An Editor changes a file system in its image. What is not changed stays where
// it is, byte for byte, so that two builds differ in little.
//
// Paths are as in [io/fs], such as "system/app/Shell/Shell.apk"; symbolic links
// in them are not followed. Errors wrap [fs.ErrNotExist] where something is
// not there, and [fs.ErrExist] where something is. After another error, and
// until Commit, the image is not whole: throw it away. It is not for concurrent
// use.
//
// A reader of data must not read from the image that is edited: its blocks are
// written while it is read. It must yield size bytes: less is
// [io.ErrUnexpectedEOF], more is an error, too.
type Editor interface {
	// Replace gives a file other data; owner, mode, time and attributes stay.
	// All names of the file lead to the new data.
	Replace(name string, r io.Reader, size int64) error
	// Add makes a file in a folder that is there.
	Add(name string, a Attr, r io.Reader, size int64) error
	// Mkdir makes a folder in one that is there.
	Mkdir(name string, a Attr) error
	// Symlink makes a symbolic link that leads to target.
	Symlink(target, name string, a Attr) error
	// Remove takes a file out, or a folder with all that is in it.
	Remove(name string) error
	// Commit writes what is not written yet, and cuts off or lengthens the file
	// to the file system's size, which it returns in bytes. The Editor is of no
	// use afterwards.
	Commit() (size int64, err error)
}
