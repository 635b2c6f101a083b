package fstab

import (
	"path/filepath"
	"strings"
	"testing"
)

const table = `# device mount-point type flags fs_mgr

system	/	erofs	ro	wait,slotselect,logical,avb=vbmeta,first_stage_mount
userdata  /data  ext4  nosuid,nodev,noatime,errors=panic  wait,check
/dev/block/by-name/cache /cache ext4 defaults defaults
`

func TestParse(t *testing.T) {
	all, err := Parse([]byte(table))
	if err != nil || len(all) != 3 {
		t.Fatalf("Parse = %v, %v, want 3 entries", all, err)
	}
	e := all[0]
	if !e.SlotSelect || !e.Logical || !e.FirstStageMount || e.AVB != "vbmeta" || e.Type != "erofs" || e.Partition("_a") != "system_a" {
		t.Errorf("first entry = %+v", e)
	}
	if flags, data := all[1].MountOptions(); flags != 2|4|1024 || data != "errors=panic" {
		t.Errorf("MountOptions = %#x, %q, want nosuid, nodev, noatime and errors=panic", flags, data)
	}
	if e := all[2]; e.Partition("_a") != "cache" || e.Options != nil || e.Flags != nil {
		t.Errorf("last entry = %+v, want cache without flags", e)
	}
	if !all[1].Has("check") || all[1].Has("avb") {
		t.Errorf("flags of %+v", all[1])
	}
	for _, tt := range []struct{ in, want string }{
		{"a /a ext4 ro\n", "line 1: 4 fields"},
		{"\na a ext4 ro wait\n", `line 2: mount point "a"`},
		{"a /a/../b ext4 ro wait\n", `line 1: mount point "/a/../b"`},
		{strings.Repeat(" ", maxSize+1), "at most"},
	} {
		if _, err := Parse([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%.20q) = %v, want %q", tt.in, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(table))
	f.Add([]byte("a /a ext4 ro wait,avb\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		all, err := Parse(in)
		if err != nil {
			return
		}
		for _, e := range all {
			if e.Source == "" || e.MountPoint != "none" && !filepath.IsAbs(e.MountPoint) || strings.Contains(e.MountPoint, "..") && filepath.Clean(e.MountPoint) != e.MountPoint {
				t.Errorf("entry %+v", e)
			}
			e.MountOptions()
		}
	})
}
