// Package fstab reads tables of file systems in AOSP's format (fs_mgr_fstab.cpp),
// for both stages of init.
package fstab

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSize limits a table, in bytes.
const maxSize = 64 << 10

// An Entry is one line of a table of file systems in AOSP's format
// (fs_mgr_fstab): source, mount point, type, mount flags, fs_mgr flags.
type Entry struct {
	Source     string // a path, or the name of a partition
	MountPoint string
	Type       string   // "erofs"
	Options    []string // mount flags, as "ro"; empty for "defaults"
	Flags      []string // fs_mgr flags, as "wait" or "avb=vbmeta"

	// What the flags say that have a meaning here.
	SlotSelect      bool // Source takes the slot's suffix
	Logical         bool // Source is a logical partition in super
	FirstStageMount bool
	AVB             string // the vbmeta partition, without suffix, or ""
}

// Parse reads a table. Empty lines and those that begin with # are
// skipped; a flag that is not known is kept in Flags. An error names the line.
func Parse(b []byte) ([]Entry, error) {
	if len(b) > maxSize {
		return nil, fmt.Errorf("fstab: %d bytes, at most %d are allowed", len(b), maxSize)
	}
	var entries []Entry
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		e, err := parseEntry(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("fstab: line %d: %w", i+1, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func parseEntry(fields []string) (Entry, error) {
	if len(fields) != 5 {
		return Entry{}, fmt.Errorf("%d fields, want source, mount point, type, mount flags and fs_mgr flags", len(fields))
	}
	e := Entry{Source: fields[0], MountPoint: fields[1], Type: fields[2]}
	if !path.IsAbs(e.MountPoint) && e.MountPoint != "none" || path.Clean(e.MountPoint) != e.MountPoint {
		return Entry{}, fmt.Errorf("mount point %q: want an absolute path or none", e.MountPoint)
	}
	if strings.ContainsRune(fields[1]+fields[0], 0) {
		return Entry{}, errors.New("a NUL in a name")
	}
	e.Options = list(fields[3])
	e.Flags = list(fields[4])
	for _, f := range e.Flags {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "slotselect":
			e.SlotSelect = true
		case "logical":
			e.Logical = true
		case "first_stage_mount":
			e.FirstStageMount = true
		case "avb":
			if value == "" {
				value = "vbmeta"
			}
			e.AVB = value
		}
	}
	return e, nil
}

// list splits at commas, and leaves out "defaults" and empty words.
func list(s string) (words []string) {
	for _, w := range strings.Split(s, ",") {
		if w != "" && w != "defaults" && w != "default" {
			words = append(words, w)
		}
	}
	return words
}

// Partition returns the name of the entry's partition on the slot with the
// suffix.
func (e Entry) Partition(suffix string) string {
	name := path.Base(e.Source)
	if e.SlotSelect {
		name += suffix
	}
	return name
}

// Has tells whether the entry has the fs_mgr flag, such as "wait".
func (e Entry) Has(flag string) bool { return slices.Contains(e.Flags, flag) }

// MountOptions splits the entry's mount flags into those of mount(2) and the
// file system's own.
func (e Entry) MountOptions() (flags uintptr, data string) { return MountFlags(e.Options) }

// MountFlags divides words of mount flags into those of mount(2) and the file
// system's own.
func MountFlags(words []string) (flags uintptr, data string) {
	var own []string
	for _, w := range words {
		f, ok := mountFlags[w]
		if !ok && w != "" {
			own = append(own, w)
		}
		flags |= f
	}
	return flags, strings.Join(own, ",")
}

var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "rw": 0, "defaults": 0, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "sync": unix.MS_SYNCHRONOUS,
	"remount": unix.MS_REMOUNT, "bind": unix.MS_BIND, "rec": unix.MS_REC, "private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE,
	"shared": unix.MS_SHARED, "unbindable": unix.MS_UNBINDABLE, "lazytime": unix.MS_LAZYTIME, "dirsync": unix.MS_DIRSYNC,
}
