// Package fsimage is what the readers of file system images have in common:
// what a file is, where its bytes lie, and a view of the whole as an [io/fs.FS];
// and what their editors have: the changes, and who uses which block.
// The formats themselves are in packages of their own, such as erofs and ext4.
//
// Everything is read when it is asked for; memory does not grow with the image.
// All of it but editors is safe for concurrent use.
package fsimage

import (
	"fmt"
	"io/fs"
	"iter"
	"time"
)

// A FormatError says where an image is not what its format wants.
type FormatError struct {
	Format string // such as "erofs"
	Off    int64  // in the image, in bytes
	Msg    string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: offset %#x: %s", e.Format, e.Off, e.Msg)
}

// A Source is a file system as its format's reader gives it.
type Source interface {
	// Root is the number of the topmost folder.
	Root() uint64
	// Node reads the inode of that number.
	Node(num uint64) (Node, error)
	// Decode unpacks raw, the e.Size bytes of an extent that has a Codec, into
	// dst: as many bytes from the beginning as dst has room for, at most e.Full.
	Decode(e Extent, raw, dst []byte) error
}

// A Node is one file of an image, of whatever type.
type Node interface {
	Info() *Info
	// Entries yields what a folder holds, without . and .., in the image's
	// order. It ends after the first error.
	Entries() iter.Seq2[Entry, error]
	// Target is what a symbolic link leads to.
	Target() (string, error)
	// Xattrs are the extended attributes, in the image's order.
	Xattrs() ([]Xattr, error)
	// Extents yields where the bytes of a file, folder or link lie, in order
	// and without gaps, from the extent that holds byte from to that of the last byte. It
	// ends after the first error. A file without a byte has none.
	Extents(from int64) iter.Seq2[Extent, error]
}

// Info is what an inode says.
type Info struct {
	Num          uint64      // the inode's number
	Mode         fs.FileMode // type, permission, and setuid, setgid, sticky
	UID, GID     uint32
	Links        uint32 // names that it has
	Size         int64  // in bytes; of a link, of its target
	Major, Minor uint32 // of a device
	ModTime      time.Time
	Encrypted    bool  // by fscrypt: names and data are ciphertext
	Verity       bool  // by fs-verity: behind the data there is a hash tree
	Off          int64 // of the inode in the image, or -1
}

// An Entry is a name in a folder.
type Entry struct {
	Name string
	Num  uint64
	Type fs.FileMode // of fs.ModeType; fs.ModeIrregular where the folder does not say
}

// An Xattr is an extended attribute, such as security.selinux.
type Xattr struct {
	Name  string // with its prefix
	Value []byte
}

// An Extent is where bytes of a file lie in the image.
//
// Without a codec, bytes [Off, Off+Len) of the file are [At, At+Len) of the
// image. With one, [At, At+Size) of the image unpack to at least Full bytes, of
// which Len from Skip on are the file's.
type Extent struct {
	Off, Len int64 // in the file
	At       int64 // in the image; Hole for zeros that the image does not hold
	Size     int64 // in the image
	Codec    Codec
	Skip     int64 // of the unpacked bytes, before the file's
	Full     int64 // unpacked bytes that are known to be there
	Partial  bool  // there are more than Full
	Inline   bool  // among the metadata, not in blocks of its own
}

// Hole is where no bytes lie.
const Hole = -1

// A Codec is how an extent is compressed.
type Codec uint8

// The codecs.
const (
	Plain Codec = iota
	LZ4
	LZMA
	Deflate
	Zstd
)

func (c Codec) String() string {
	if names := [...]string{"plain", "lz4", "lzma", "deflate", "zstd"}; int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Cut returns the part of e that holds the n bytes of the file from off on,
// which must lie in it, as an extent of a file in which that part is at byte at.
func (e Extent) Cut(off, n, at int64) Extent {
	within := off - e.Off
	switch {
	case e.Codec != Plain:
		e.Skip += within
	case e.At != Hole:
		e.At, e.Size = e.At+within, n
	}
	e.Off, e.Len = at, n
	return e
}

// UnixMode returns a mode of Unix, such as 0o100644, as Go has it. It is not ok
// if its type is none.
func UnixMode(mode uint16) (m fs.FileMode, ok bool) {
	m = fs.FileMode(mode & 0o777)
	for _, b := range [...]struct {
		unix uint16
		bit  fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if mode&b.unix != 0 {
			m |= b.bit
		}
	}
	switch mode & 0o170000 {
	case 0o100000:
	case 0o040000:
		m |= fs.ModeDir
	case 0o120000:
		m |= fs.ModeSymlink
	case 0o020000:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case 0o060000:
		m |= fs.ModeDevice
	case 0o010000:
		m |= fs.ModeNamedPipe
	case 0o140000:
		m |= fs.ModeSocket
	default:
		return 0, false
	}
	return m, true
}

// RawMode is a mode as Unix has it, such as 0o100644.
func RawMode(m fs.FileMode) uint16 {
	kind := uint16(0o100000)
	switch m.Type() {
	case fs.ModeDir:
		kind = 0o040000
	case fs.ModeSymlink:
		kind = 0o120000
	case fs.ModeDevice | fs.ModeCharDevice:
		kind = 0o020000
	case fs.ModeDevice:
		kind = 0o060000
	case fs.ModeNamedPipe:
		kind = 0o010000
	case fs.ModeSocket:
		kind = 0o140000
	}
	return kind | uint16(Permissions(m))
}

// Permissions are the permission bits of a mode, as chmod takes them: with
// setuid, setgid and sticky.
func Permissions(m fs.FileMode) uint32 {
	out := uint32(m.Perm())
	for bit, unix := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			out |= unix
		}
	}
	return out
}
