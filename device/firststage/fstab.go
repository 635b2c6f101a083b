package firststage

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// maxFstab limits a table, in bytes.
const maxFstab = 64 << 10

// An Entry is one line of a table of file systems in AOSP's format
// (fs_mgr_fstab): source, mount point, type, mount flags, fs_mgr flags.
type Entry struct {
	Source     string // a path, or the name of a partition
	MountPoint string
	Type       string   // "erofs"
	Options    []string // mount flags, as "ro"; empty for "defaults"
	Flags      []string // fs_mgr flags, as "wait" or "avb=vbmeta"

	// What the flags that the first stage knows say.
	SlotSelect      bool // Source takes the slot's suffix
	Logical         bool // Source is a logical partition in super
	FirstStageMount bool
	AVB             string // the vbmeta partition, without suffix, or ""
}

// ParseFstab reads a table. Empty lines and those that begin with # are
// skipped; a flag that is not known is kept in Flags. An error names the line.
func ParseFstab(b []byte) ([]Entry, error) {
	if len(b) > maxFstab {
		return nil, fmt.Errorf("fstab: %d bytes, at most %d are allowed", len(b), maxFstab)
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

// partition returns the name of the entry's partition on the running slot.
func (e Entry) partition(suffix string) string {
	name := path.Base(e.Source)
	if e.SlotSelect {
		name += suffix
	}
	return name
}

// firstStageMounts returns the entries that the first stage mounts, of which
// the first is the root. All of them must be verified.
func firstStageMounts(all []Entry) ([]Entry, error) {
	var mounts []Entry
	for _, e := range all {
		if !e.FirstStageMount {
			continue
		}
		if e.AVB == "" {
			return nil, fmt.Errorf("%s: first_stage_mount of %s without avb: only what AVB verifies is mounted here", fstabPath, e.MountPoint)
		}
		mounts = append(mounts, e)
	}
	if len(mounts) == 0 || mounts[0].MountPoint != "/" {
		return nil, fmt.Errorf("%s: the first entry with first_stage_mount is not /", fstabPath)
	}
	return mounts, nil
}
