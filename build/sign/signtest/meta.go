package signtest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/internal/protowire"
)

// keyDir is where AOSP's test keys are; avbDir where those of AVB are.
const (
	keyDir  = "build/make/target/product/security/"
	avbDir  = "external/avb/test/data/"
	apexDir = "system/apex/apexer/testdata/"
)

// ramdisks fills the trees of the boot images.
func (t *Target) ramdisks(tb testing.TB, tr *tree) {
	tb.Helper()
	tr.file("BOOT/kernel", noise(1, 3<<20))
	tr.file("BOOT/cmdline", []byte("\n"))
	tr.file("INIT_BOOT/RAMDISK/init", noise(2, 200_000)).mode = 0o750
	for _, d := range []string{"dev", "proc", "sys", "first_stage_ramdisk"} {
		tr.dir("INIT_BOOT/RAMDISK", d)
	}
	tr.file("VENDOR_BOOT/RAMDISK/first_stage_ramdisk/fstab.tester", []byte("system /system ext4 ro wait,slotselect,avb=vbmeta_system,logical,first_stage_mount\n"))
	tr.file("VENDOR_BOOT/RAMDISK/lib/modules/tester.ko", noise(5, 30_000))
	const recovery = "VENDOR_BOOT/RAMDISK_FRAGMENTS/recovery/"
	var b strings.Builder
	fmt.Fprintf(&b, "ro.build.fingerprint=%s\nro.build.tags=test-keys\nro.build.type=userdebug\nro.bootimage.build.fingerprint=%s\n", Fingerprint, Fingerprint)
	tr.file(recovery+"RAMDISK/prop.default", []byte(b.String()))
	tr.link(recovery+"RAMDISK/default.prop", "prop.default")
	tr.file(recovery+"RAMDISK/system/etc/security/otacerts.zip", t.Keys.otacerts(tb))
	tr.file(recovery+"RAMDISK/system/bin/recovery", noise(6, 50_000))
	tr.file(recovery+"mkbootimg_args", []byte("--ramdisk_type RECOVERY\n"))
	for name, data := range map[string]string{
		"vendor_ramdisk_fragments": "recovery\n", "vendor_cmdline": vendorCmdline + "\n", "vendor_bootconfig": bootconfig,
		"base": "0x10000000\n", "pagesize": "4096\n",
	} {
		tr.file("VENDOR_BOOT/"+name, []byte(data))
	}
	tr.file("VENDOR_BOOT/dtb", noise(3, 3000))
}

// meta writes META and OTA.
func (t *Target) meta(tb testing.TB, tr *tree) {
	tb.Helper()
	info := t.miscInfo()
	t.put(tb, "META/misc_info.txt", lines(info, func(string) bool { return true }))
	t.put(tb, "META/dynamic_partitions_info.txt", lines(info, func(k string) bool {
		return strings.HasPrefix(k, "super_") || strings.HasPrefix(k, "virtual_ab") || slices.Contains([]string{"use_dynamic_partitions", "lpmake", "build_super_partition", "build_super_empty_partition", "dynamic_partition_list", "super_metadata_device"}, k)
	}))
	t.put(tb, "META/apkcerts.txt", t.apkCerts())
	t.put(tb, "META/apexkeys.txt", t.apexKeys())
	t.put(tb, "META/otakeys.txt", []byte("\n"))
	t.put(tb, "META/ab_partitions.txt", []byte(strings.Join(abPartitions, "\n")+"\n"))
	t.put(tb, "META/update_engine_config.txt", []byte("PAYLOAD_MAJOR_VERSION=2\nPAYLOAD_MINOR_VERSION=9\n"))
	t.put(tb, "META/zucchini_config.txt", []byte("#define ZUCCHINI_VERSION_MAJOR 1\n#define ZUCCHINI_VERSION_MINOR 0\n"))
	t.put(tb, "META/file_contexts.bin", []byte(fileContexts)) // AOSP's is compiled; libselinux reads both
	t.put(tb, "META/ramdisk_node_list", []byte("dir dev 0755 0 0\nnod dev/console 0600 0 0 c 5 1\n"))
	t.put(tb, "META/kernel_version.txt", []byte("6.6.30\n"))
	for name, c := range map[string][2]string{
		"filesystem_config": {"SYSTEM", "system/"}, "vendor_filesystem_config": {"VENDOR", "vendor/"},
		"product_filesystem_config": {"PRODUCT", "product/"}, "system_ext_filesystem_config": {"SYSTEM_EXT", "system_ext/"},
		"root_filesystem_config": {"ROOT", ""}, "init_boot_filesystem_config": {"INIT_BOOT/RAMDISK", ""},
		"vendor_boot_filesystem_config": {"VENDOR_BOOT/RAMDISK", ""},
	} {
		t.put(tb, "META/"+name+".txt", tr.config(c[0], c[1]))
	}
	t.put(tb, "META/care_map.pb", t.careMap(tb))
	t.put(tb, "META/apex_info.pb", t.apexInfo(tb, tr))
	t.put(tb, "META/vbmeta_digest.txt", t.vbmetaDigest(tb))
	t.put(tb, "META/fastboot-info.txt", fastbootInfo())
	t.put(tb, "OTA/android-info.txt", []byte("require board=tester\nrequire version-bootloader=1.0\n"))
}

// abPartitions are those that an update writes, sorted.
var abPartitions = strings.Fields("boot dtbo init_boot product system system_ext vbmeta vbmeta_system vendor vendor_boot")

// lines prints what keep takes of a dictionary, sorted.
func lines(info map[string]string, keep func(string) bool) []byte {
	var out []string
	for k, v := range info {
		if keep(k) {
			out = append(out, k+"="+v+"\n")
		}
	}
	slices.Sort(out)
	return []byte(strings.Join(out, ""))
}

// miscInfo is META/misc_info.txt.
func (t *Target) miscInfo() map[string]string {
	info := map[string]string{
		"recovery_api_version": "3", "fstab_version": "2", "boot_images": "boot.img", "boot_size": fmt.Sprint(bootSize),
		"init_boot": "true", "init_boot_size": fmt.Sprint(initBootSize), "vendor_boot": "true", "vendor_boot_size": fmt.Sprint(vendorBootSize),
		"lz4_ramdisks": "true", "no_recovery": "true", "recovery_mount_options": "ext4=max_batch_time=0,commit=1,data=ordered,barrier=1,errors=panic,nodelalloc",
		"tool_extensions": "device/mios/tester/../common", "default_system_dev_certificate": keyDir + "testkey",
		"mkbootimg_args": "--header_version 4", "mkbootimg_version_args": "--os_version " + release + " --os_patch_level " + securityPatch, "mkbootimg_init_args": "--header_version 4",
		"multistage_support": "1", "blockimgdiff_versions": "3,4", "build_type": "userdebug", "ab_update": "true", "board_uses_vendorimage": "true",
		"has_dtbo": "true", "dtbo_size": fmt.Sprint(dtboSize), "use_dynamic_partition_size": "true", "use_fixed_timestamp": "true",
		"fs_type": "ext4", "ext_mkuserimg": "mkuserimg_mke2fs", "extfs_sparse_flag": "-s", "erofs_sparse_flag": "-s", "root_dir": "out/target/product/tester/root",
		"userdata_fs_type": "f2fs", "virtual_ab": "true", "virtual_ab_compression": "true", "virtual_ab_compression_method": "lz4", "virtual_ab_cow_version": "3",

		"avb_enable": "true", "avb_building_vbmeta_image": "true", "avb_avbtool": "avbtool",
		"avb_vbmeta_key_path": avbDir + "testkey_rsa4096.pem", "avb_vbmeta_algorithm": "SHA256_RSA4096", "avb_vbmeta_args": "--padding_size 4096 --rollback_index 0",
		"avb_vbmeta_system": "system system_ext product", "avb_vbmeta_system_args": fmt.Sprintf("--padding_size 4096 --rollback_index %d", rollbackIndex),
		"avb_vbmeta_system_key_path": avbDir + "testkey_rsa2048.pem", "avb_vbmeta_system_algorithm": "SHA256_RSA2048", "avb_vbmeta_system_rollback_index_location": "1",
		"avb_boot_key_path": avbDir + "testkey_rsa2048.pem", "avb_boot_algorithm": "SHA256_RSA2048", "avb_boot_rollback_index_location": "2",
		"avb_boot_add_hash_footer_args": footerArgs("boot") + fmt.Sprintf(" --rollback_index %d", rollbackIndex), "avb_init_boot_add_hash_footer_args": footerArgs("init_boot"),
		"avb_vendor_boot_add_hash_footer_args": footerArgs("vendor_boot"), "avb_dtbo_add_hash_footer_args": footerArgs("dtbo"),

		"use_dynamic_partitions": "true", "lpmake": "lpmake", "build_super_partition": "true", "build_super_empty_partition": "true",
		"super_metadata_device": "super", "super_block_devices": "super", "super_super_device_size": fmt.Sprint(t.Options.superBytes()),
		"super_partition_size": fmt.Sprint(t.Options.superBytes()), "super_partition_groups": group, "dynamic_partition_list": strings.Join(dynamic, " "),
		"super_" + group + "_group_size":     fmt.Sprint(t.Options.superBytes() - 4<<20),
		"super_" + group + "_partition_list": strings.Join(dynamic, " "),
	}
	for name, fs := range map[string]string{"system": "ext4", "system_ext": "ext4", "product": "erofs", "vendor": "erofs"} {
		info[name+"_fs_type"] = fs
		info[name+"_disable_sparse"] = "true"
		info["avb_"+name+"_hashtree_enable"] = "true"
		info["avb_"+name+"_add_hashtree_footer_args"] = footerArgs(name) + " --hash_algorithm sha256"
		info["building_"+name+"_image"] = "true"
	}
	info["product_erofs_compressor"] = "lz4hc,9"
	info["vendor_erofs_compressor"] = "none"
	return info
}

func footerArgs(name string) string {
	var out []string
	for _, p := range properties(name) {
		out = append(out, "--prop "+p.Key+":"+string(p.Value))
	}
	return strings.Join(out, " ")
}

// partition is a file's, as META names it.
func partition(name string) string {
	tree, _, _ := strings.Cut(name, "/")
	return strings.ToLower(tree)
}

func (t *Target) apkCerts() []byte {
	var b bytes.Buffer
	for _, a := range t.Options.apps() {
		cert, key := Presigned, ""
		if a.Key != Presigned {
			cert, key = keyDir+a.Key+".x509.pem", keyDir+a.Key+".pk8"
		}
		fmt.Fprintf(&b, "name=%q certificate=%q private_key=%q partition=%q\n", path.Base(a.Path), cert, key, partition(a.Path))
	}
	inside := []string{"HelloApex.apk"} // of APEXes: a build lists all that it has made
	if t.Options.Tethering {
		inside = append(inside, path.Base(connectivity.Path))
	}
	for _, name := range inside {
		fmt.Fprintf(&b, "name=%q certificate=%q private_key=%q partition=\"system\"\n", name, keyDir+Platform+".x509.pem", keyDir+Platform+".pk8")
	}
	return b.Bytes()
}

func (t *Target) apexKeys() []byte {
	var b bytes.Buffer
	for _, name := range t.Options.apexes() {
		file := name + ".apex"
		if name == apexes[1] {
			file = name + ".capex"
		}
		fmt.Fprintf(&b, "name=%q public_key=%q private_key=%q container_certificate=%q container_private_key=%q partition=\"system\"\n",
			file, apexDir+name+".avbpubkey", apexDir+name+".pem", apexDir+name+".x509.pem", apexDir+name+".pk8")
	}
	return b.Bytes()
}

func fastbootInfo() []byte {
	var b strings.Builder
	b.WriteString("# fastboot-info for tester\nversion 1\nflash boot\nflash init_boot\nflash dtbo\nflash vendor_boot\nflash --apply-vbmeta vbmeta\nflash vbmeta_system\nreboot fastboot\nupdate-super\n")
	for _, p := range dynamic {
		fmt.Fprintf(&b, "flash %s\n", p)
	}
	b.WriteString("if-wipe erase userdata\n")
	return []byte(b.String())
}

// careMap is META/care_map.pb: the blocks of each partition that its hash tree
// covers.
func (t *Target) careMap(tb testing.TB) []byte {
	tb.Helper()
	var b []byte
	for _, name := range dynamic {
		m, err := avbtool.Read(t.path("IMAGES/" + name + ".img"))
		if err != nil {
			tb.Fatal(err)
		}
		p := protowire.AppendBytes(nil, 1, name)
		p = protowire.AppendBytes(p, 2, fmt.Sprintf("2,0,%d", m.Hashtree().ImageSize/avb.BlockSize))
		p = protowire.AppendBytes(p, 3, "ro."+name+".build.fingerprint")
		p = protowire.AppendBytes(p, 4, Fingerprint)
		b = protowire.AppendBytes(b, 1, p)
	}
	return b
}

// apexInfo is META/apex_info.pb.
func (t *Target) apexInfo(tb testing.TB, tr *tree) []byte {
	tb.Helper()
	var b []byte
	for i, name := range t.Options.apexes() {
		p := protowire.AppendBytes(nil, 1, name)
		p = protowire.AppendUint(p, 2, 350000000)
		if i == 1 {
			original, _ := t.Keys.makeAPEX(tb, name)
			p = protowire.AppendUint(p, 3, 1)
			p = protowire.AppendUint(p, 4, uint64(len(original)))
		}
		b = protowire.AppendBytes(b, 1, p)
	}
	return b
}

// vbmetaDigest is META/vbmeta_digest.txt.
func (t *Target) vbmetaDigest(tb testing.TB) []byte {
	tb.Helper()
	if _, err := os.Stat(t.path("IMAGES/vbmeta.img")); err != nil {
		tb.Fatal(err)
	}
	d, err := avbtool.VBMetaDigest(t.path("IMAGES/vbmeta.img"), "sha256")
	if err != nil {
		tb.Fatal(err)
	}
	return []byte(hex.EncodeToString(d))
}
