// Package cpio reads and writes cpio archives in the "newc" format that the
// Linux kernel unpacks as its initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst).
//
// Data is never copied: what [Parse] returns points into its input, and
// [Archive.WriteTo] writes each file's bytes as they are. What Parse accepts,
// WriteTo gives back byte for byte.
//
// The package does not compress, and knows no hard links: it shows them as
// the entries that the archive has.
package cpio

// File type bits of [Entry.Mode], as in stat(2).
const (
	TypeMask    = 0o170000
	TypeRegular = 0o100000
	TypeDir     = 0o040000
	TypeSymlink = 0o120000
	TypeChar    = 0o020000
	TypeBlock   = 0o060000
	TypeFIFO    = 0o010000
	TypeSocket  = 0o140000
)

// An Archive is a list of entries in the order of unpacking: a folder stands
// before what is in it.
type Archive struct {
	Entries []Entry

	// How the archive that was parsed was written, so that it is written so
	// again; the zero value is what GNU cpio writes, without its padding.
	lower   bool  // hexadecimal digits in lower case
	pad     int   // zero bytes after the trailer
	trailer Entry // its header; the name and size are fixed
}

// An Entry is one file, folder, link or device.
type Entry struct {
	Name  string // relative, without a leading slash
	Mode  uint32 // type and permission bits, as in stat(2)
	UID   uint32
	GID   uint32
	Mtime uint32 // seconds since 1970
	Ino   uint32 // differs between entries, unless they are hard links
	Nlink uint32 // hard links; more than 1 for a file makes the kernel look for them

	DevMajor, DevMinor   uint32 // where the file was
	RdevMajor, RdevMinor uint32 // of a device node

	Data []byte // a file's content, or a symbolic link's target
}

// New returns an archive of entries, with Ino numbered from 1 and an Nlink of
// 0 replaced by 1. It changes entries in place.
func New(entries ...Entry) *Archive {
	for i := range entries {
		entries[i].Ino = uint32(i + 1)
		entries[i].Nlink = max(entries[i].Nlink, 1)
	}
	return &Archive{Entries: entries, trailer: Entry{Nlink: 1}}
}

// File returns a regular file with the permission bits perm.
func File(name string, perm uint32, data []byte) Entry {
	return Entry{Name: name, Mode: TypeRegular | perm, Nlink: 1, Data: data}
}

// Dir returns a folder.
func Dir(name string, perm uint32) Entry {
	return Entry{Name: name, Mode: TypeDir | perm, Nlink: 2}
}

// Symlink returns a symbolic link to target.
func Symlink(name, target string) Entry {
	return Entry{Name: name, Mode: TypeSymlink | 0o777, Nlink: 1, Data: []byte(target)}
}

// CharDev returns a character device node.
func CharDev(name string, perm, major, minor uint32) Entry {
	return Entry{Name: name, Mode: TypeChar | perm, Nlink: 1, RdevMajor: major, RdevMinor: minor}
}
