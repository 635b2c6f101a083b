package qemu_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"

	"mios/emulator"
)

// A layout is where a disk's partitions are.
type layout []struct {
	name      string
	off, size int64
}

// layoutOf returns the layout of a device's disk.
func layoutOf(d *device) layout {
	d.t.Helper()
	l := make(layout, 8)
	for i, name := range []string{"misc", "rpmb", "vbmeta_a", "vbmeta_b", "boot_a", "boot_b", "super", "userdata"} {
		l[i].name = name
		l[i].off, l[i].size = d.partition(name)
	}
	return l
}

// recordOffset is where the boot record begins in misc; before it is the boot
// control, docs/device.md.
const recordOffset = 4096

// name says what a write is of, as far as its place and its bytes tell.
func (l layout) name(a emulator.Access) string {
	for _, p := range l {
		switch off := a.Off - p.off; {
		case off < 0 || off >= p.size:
		case p.name == "misc" && off < recordOffset:
			return "boot control"
		case p.name == "misc":
			return "boot record"
		case p.name == "rpmb":
			return "rollback index"
		case p.name == "userdata":
			return fileName(a.Data)
		default:
			return "slot"
		}
	}
	return "partition table"
}

// journalMagic begins the blocks of ext4's journal that say what the others
// are: include/linux/jbd2.h.
var journalMagic = []byte{0xc0, 0x3b, 0x39, 0x98}

// anyFile is what is written to /data and has no name of its own.
const anyFile = "files"

// journal is what ext4 writes files' names, sizes and places through.
const journal = "journal"

var stateField = regexp.MustCompile(`^\s*\{\s*"state": ("[A-Z_]+"),`)

// fileName names what is written to /data: the journal, with which files are
// made and renamed, what the updater and the installer remember, a package, or
// any file.
func fileName(b []byte) string {
	var state string
	switch m := stateField.FindSubmatch(b); {
	case bytes.HasPrefix(b, journalMagic):
		return journal
	case m != nil && json.Unmarshal(m[1], &state) == nil:
		return "state " + state
	case bytes.HasPrefix(b, []byte("{")) && bytes.Contains(b, []byte(`"next_uid"`)):
		return "registry"
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		return "package"
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return "program"
	}
	return anyFile
}

func TestLayout(t *testing.T) {
	l := layout{{"misc", 1024, 65536}, {"userdata", 1 << 20, 1 << 20}, {"super", 2 << 20, 1 << 20}}
	for _, tt := range []struct {
		off  int64
		data string
		want string
	}{
		{0, "", "partition table"},
		{1024, "", "boot control"},
		{1024 + 4096, "", "boot record"},
		{2 << 20, "", "slot"},
		{1 << 20, "{\n  \"state\": \"DOWNLOADING\",\n", "state DOWNLOADING"},
		{1 << 20, "{\n\t\"version\": 1,\n\t\"next_uid\": 10001", "registry"},
		{1 << 20, "\xc0\x3b\x39\x98\x00", "journal"},
		{1 << 20, "PK\x03\x04", "package"},
		{1 << 20, "x", "files"},
	} {
		if got := l.name(emulator.Access{Op: emulator.Write, Off: tt.off, Data: []byte(tt.data)}); got != tt.want {
			t.Errorf("a write of %q at %d is %q, want %q", tt.data, tt.off, got, tt.want)
		}
	}
}
