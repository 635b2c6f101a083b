package aosp

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"mios/build/image"
	"mios/build/product"
	"mios/format/targetfiles"
)

// TestLabels asks as libselinux would be asked.
func TestLabels(t *testing.T) {
	c := &contexts{}
	err := c.parse([]byte(`# a policy
/.*			u:object_r:rootfs:s0
/system(/.*)?		u:object_r:system_file:s0
/system/bin/sh	--	u:object_r:shell_exec:s0
/system/bin/[a-z]+	u:object_r:some_exec:s0
/system/lib(64)?/.*\.so	--	u:object_r:system_lib_file:s0
/system/etc/a\.conf	u:object_r:exact:s0
/system/etc/a.conf	u:object_r:pattern:s0
/data/nothing	<<none>>
/dev/x	-c	u:object_r:x_device:s0
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		mode fs.FileMode
		want string
	}{
		{"/init", 0, "u:object_r:rootfs:s0"},
		{"/", fs.ModeDir, "u:object_r:rootfs:s0"},
		{"/system", fs.ModeDir, "u:object_r:system_file:s0"},
		{"/system/app/A/A.apk", 0, "u:object_r:system_file:s0"},
		{"/system/bin/sh", 0, "u:object_r:shell_exec:s0"}, // exact lines count before patterns
		{"/system/bin/sh", fs.ModeSymlink, "u:object_r:some_exec:s0"},
		{"/system/lib64/libc.so", 0, "u:object_r:system_lib_file:s0"},
		{"/system/lib64/libc.so.1", 0, "u:object_r:system_file:s0"},
		{"/system/etc/a.conf", 0, "u:object_r:exact:s0"},
		{"/system/etc/axconf", 0, "u:object_r:pattern:s0"},
		{"/data/nothing", 0, ""},
		{"/dev/x", fs.ModeDevice | fs.ModeCharDevice, "u:object_r:x_device:s0"},
		{"/dev/x", fs.ModeDevice, "u:object_r:rootfs:s0"},
	} {
		if got := c.label(tt.name, tt.mode); got != tt.want {
			t.Errorf("label(%s, %v) = %q, want %q", tt.name, tt.mode, got, tt.want)
		}
	}
	for _, bad := range []string{"/system", "/a -x u:object_r:a:s0", "/a( u:object_r:a:s0", "/a -- b u:object_r:a:s0"} {
		if err := new(contexts).parse([]byte(bad)); err == nil {
			t.Errorf("parse(%q) took it", bad)
		}
	}
}

// TestFlashPlan writes what AOSP's build writes for such a device.
func TestFlashPlan(t *testing.T) {
	misc, err := targetfiles.ParseDict([]byte("board_uses_metadata_partition=true\n"))
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{Config: &Config{Product: &product.Product{Name: "phone"}}, misc: misc, out: &Result{Manifest: &image.Manifest{Partitions: []image.Partition{
		{Name: "abl"}, {Name: "boot"}, {Name: "dtbo"}, {Name: "init_boot"}, {Name: "product", Logical: true}, {Name: "system", Logical: true},
		{Name: "vbmeta"}, {Name: "vbmeta_system"}, {Name: "vendor_boot"},
	}}}}
	const want = `# fastboot-info for phone
version 1
flash boot
flash init_boot
flash dtbo
flash vendor_boot
flash --apply-vbmeta vbmeta
flash abl
flash vbmeta_system
reboot fastboot
update-super
flash product
flash system
if-wipe erase userdata
if-wipe erase metadata
`
	if got := string(b.flashPlan()); got != want {
		t.Errorf("plan:\n%s\nwant:\n%s", got, want)
	}
}

func TestSetConf(t *testing.T) {
	set := [][3]string{{"supl", "SUPL_HOST", "a.example.com"}, {"psds", "LONGTERM_PSDS_SERVER_1", "https://b.example.com/1"}}
	for _, tt := range [][2]string{
		{"", "SUPL_HOST=a.example.com\nLONGTERM_PSDS_SERVER_1=https://b.example.com/1\n"},
		{"SUPL_HOST=x\n#SUPL_HOST=y\nA=b", "SUPL_HOST=a.example.com\n#SUPL_HOST=y\nA=b\nLONGTERM_PSDS_SERVER_1=https://b.example.com/1\n"},
		{"XTRA_SERVER_1 = https://x\nSUPL_HOST =x\n", "XTRA_SERVER_1=https://b.example.com/1\nSUPL_HOST=a.example.com\nLONGTERM_PSDS_SERVER_1=https://b.example.com/1\n"},
	} {
		if got := string(setConf([]byte(tt[0]), set)); got != tt[1] {
			t.Errorf("setConf(%q) = %q, want %q", tt[0], got, tt[1])
		}
	}
}

// TestLayOut adds nothing through a link that leads out of the folder.
func TestLayOut(t *testing.T) {
	in, outside := t.TempDir(), t.TempDir()
	for _, name := range []string{"META", "SYSTEM"} {
		if err := os.Mkdir(filepath.Join(in, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.WriteFile(filepath.Join(in, "META/misc_info.txt"), nil, 0o644), os.WriteFile(filepath.Join(in, "SYSTEM/build.prop"), nil, 0o644),
		os.Symlink(outside, filepath.Join(in, "SYSTEM/app")))
	if err != nil {
		t.Fatal(err)
	}
	src, err := openSource(in)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	b := &builder{src: src, staged: in}
	if err := b.layOut(&addition{partition: "system", name: "etc/a.xml", data: []byte("a")}); err != nil {
		t.Error(err)
	}
	if err := b.layOut(&addition{partition: "system", name: "app/Foo/Foo.apk"}); err == nil {
		t.Error("an app was added through a link")
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) > 0 {
		t.Errorf("in the folder that the link leads to: %v, %v", list, err)
	}
}
