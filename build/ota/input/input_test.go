package input

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/format/payload"
	"mios/internal/protowire"
)

// tree writes files by path into a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// targetFiles are the files of a build of AOSP, as far as a payload wants them.
func targetFiles() map[string]string {
	apex := protowire.AppendBytes(nil, 1, "com.android.test")
	apex = protowire.AppendUint(protowire.AppendUint(apex, 2, 7), 4, 1234)
	return map[string]string{
		"META/misc_info.txt":            "ab_update=true\n",
		"META/ab_partitions.txt":        "boot\nsystem\nmodem\n",
		"META/update_engine_config.txt": "PAYLOAD_MAJOR_VERSION=2\nPAYLOAD_MINOR_VERSION=8\n",
		"META/dynamic_partitions_info.txt": "use_dynamic_partitions=true\nvirtual_ab=true\nvirtual_ab_compression=true\n" +
			"virtual_ab_compression_method=lz4\nvirtual_ab_cow_version=3\nvirtual_ab_compression_factor=65536\n" +
			"super_partition_groups=main\nsuper_main_group_size=1000000\nsuper_main_partition_list=system\n",
		"META/postinstall_config.txt": "RUN_POSTINSTALL_system=true\nPOSTINSTALL_PATH_system=bin/after\nFILESYSTEM_TYPE_system=ext4\nPOSTINSTALL_OPTIONAL_system=true\n",
		"META/apex_info.pb":           string(protowire.AppendBytes(nil, 1, apex)),
		"SYSTEM/build.prop":           "ro.build.date.utc=1700000000\nro.system.build.date.utc=1700000001\nro.build.version.security_patch=2026-11-05\n",
		"IMAGES/boot.img":             strings.Repeat("boot", 1024),
		"IMAGES/system.img":           strings.Repeat("system", 1000),
		"RADIO/modem.img":             strings.Repeat("modem", 2000),
	}
}

func checkTargetFiles(t *testing.T, b *Build) {
	t.Helper()
	var names []string
	for _, p := range b.Partitions {
		names = append(names, p.Header.Name)
		if p.Size%payload.DefaultBlockSize != 0 {
			t.Errorf("%s: size %d is of no whole blocks", p.Header.Name, p.Size)
		}
	}
	if want := []string{"boot", "system", "modem"}; !slices.Equal(names, want) {
		t.Errorf("partitions %v, want %v", names, want)
	}
	if b.MinorVersion != 8 || b.Timestamp != 1700000000 || b.SecurityPatch != "2026-11-05" {
		t.Errorf("minor version %d, timestamp %d, security patch %q", b.MinorVersion, b.Timestamp, b.SecurityPatch)
	}
	if d := b.Dynamic; d == nil || !d.SnapshotEnabled || !d.VABCEnabled || d.VABCCompressionParam != "lz4" || d.CowVersion != 3 ||
		d.CompressionFactor != 65536 || len(d.Groups) != 1 || d.Groups[0].Name != "main" || d.Groups[0].Size != 1000000 {
		t.Errorf("dynamic partitions %+v", d)
	}
	s := b.Find("system")
	if h := s.Header; !h.RunPostinstall || h.PostinstallPath != "bin/after" || h.FilesystemType != "ext4" || !h.PostinstallOptional || h.Version != "1700000001" {
		t.Errorf("system's header %+v", h)
	}
	if len(b.Apexes) != 1 || b.Apexes[0].Package != "com.android.test" || b.Apexes[0].Version != 7 || b.Apexes[0].DecompressedSize != 1234 {
		t.Errorf("APEXes %+v", b.Apexes)
	}
	got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size))
	if want := append([]byte(strings.Repeat("system", 1000)), make([]byte, 2192)...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("system reads as %d bytes, %v", len(got), err)
	}
}

func TestTargetFilesFolder(t *testing.T) {
	b, err := Open(tree(t, targetFiles()), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	checkTargetFiles(t, b)
}

// TestTargetFilesZip opens a zip, whose images are compressed.
func TestTargetFilesZip(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tf.zip")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for name, text := range targetFiles() {
		e, err := w.Create(name)
		if err == nil {
			_, err = io.WriteString(e, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	b, err := Open(name, tmp)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	checkTargetFiles(t, b)
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left in the folder for what is unpacked: %v, %v", left, err)
	}
}

// TestTargetFilesRefused changes a file at a time.
func TestTargetFilesRefused(t *testing.T) {
	for name, tt := range map[string]struct{ file, text, want string }{
		"no text":          {"META/ab_partitions.txt", "boot\n\x00\n", "META/ab_partitions.txt: offset 0x5: "},
		"no properties":    {"META/dynamic_partitions_info.txt", "a=b\n\xff\n", "META/dynamic_partitions_info.txt: offset 0x4: "},
		"missing image":    {"META/ab_partitions.txt", "boot\nodm\n", "no image of partition odm"},
		"minor version":    {"META/update_engine_config.txt", "PAYLOAD_MINOR_VERSION=x\n", "PAYLOAD_M"},
		"timestamp":        {"SYSTEM/build.prop", "ro.build.date.utc=soon\n", "ro.build.date.utc=soon"},
		"APEXes":           {"META/apex_info.pb", "\x0a\xff", "apex_info.pb"},
		"factor":           {"META/dynamic_partitions_info.txt", "virtual_ab_compression=true\nvirtual_ab_compression_factor=5000\nsuper_partition_groups=a\n", "5000 bytes"},
		"empty image":      {"IMAGES/boot.img", "", "its image is empty"},
		"sparse and short": {"IMAGES/boot.img", "\x3a\xff\x26\xed", "partition boot"},
	} {
		files := targetFiles()
		files[tt.file] = tt.text
		b, err := Open(tree(t, files), t.TempDir())
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestFolder opens a folder of images, without those that are in no slot.
func TestFolder(t *testing.T) {
	dir := tree(t, map[string]string{"boot.img": "boot", "system.img": "system", "super.img": "super", "userdata.img": "data", "readme": "text"})
	b, err := Open(dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if len(b.Partitions) != 2 || b.Find("boot") == nil || b.Find("system") == nil || b.Find("super") != nil {
		t.Errorf("partitions %+v, want boot and system", b.Partitions)
	}
	one, err := OpenImage(filepath.Join(dir, "boot.img"), "vendor_boot")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if p := one.Find("vendor_boot"); p == nil || p.Size != 4096 {
		t.Errorf("partitions %+v", one.Partitions)
	}
	if _, err := Open(tree(t, map[string]string{"super.img": "super", "boot.img": ""}), t.TempDir()); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("a folder with an empty image: %v", err)
	}
}
