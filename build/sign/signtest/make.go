package signtest

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// What the build says of itself.
const (
	release       = "15"
	securityPatch = "2024-11-05"
	buildID       = "AP3A.241105.008"
	// Fingerprint is that of the build, with the tag of test keys.
	Fingerprint = "mios/tester/tester:" + release + "/" + buildID + "/42:userdebug/test-keys"

	vendorCmdline = "console=ttyS0,115200 androidboot.console=ttyS0"
	bootconfig    = "androidboot.hardware=tester\nandroidboot.boot_devices=soc/1d84000.ufshc\n"
	group         = "tester_dynamic_partitions"
)

// make makes the folder.
func (t *Target) make(tb testing.TB) {
	tb.Helper()
	tr := &tree{}
	t.content(tb, tr)
	tr.write(tb, tr.nodes, func(n *node) string { return t.path(n.path()) })
	t.images(tb, tr)
	t.meta(tb, tr)
}

// content fills the trees.
func (t *Target) content(tb testing.TB, tr *tree) {
	tb.Helper()
	for name := range mounts {
		tr.add(&node{tree: name, mode: os.ModeDir | 0o755})
	}
	for _, d := range []string{"apex", "data", "dev", "proc", "sys", "system", "system_ext", "product", "vendor"} {
		if d != "system" { // the tree itself is there in the image
			tr.add(&node{tree: "ROOT", name: d, mode: os.ModeDir | 0o755})
		}
	}
	tr.link("ROOT/init", "/system/bin/init")
	tr.link("ROOT/bin", "/system/bin")
	for i, f := range []string{"bin/init", "bin/toybox", "lib64/libc.so", "framework/framework.jar"} {
		tr.file("SYSTEM/"+f, slices.Concat(text(uint64(i), 60_000), noise(uint64(i), 90_000)))
	}
	tr.link("SYSTEM/bin/sh", "toybox")
	tr.link("SYSTEM/product", "/product")
	tr.link("SYSTEM/system_ext", "/system_ext")
	tr.file("SYSTEM/etc/hosts", []byte("127.0.0.1 localhost\n"))
	tr.file("SYSTEM/etc/selinux/plat_file_contexts", []byte(fileContexts))
	tr.file("SYSTEM/etc/selinux/plat_mac_permissions.xml", t.Keys.macPermissions())
	tr.file("SYSTEM/etc/permissions/privapp-permissions-platform.xml", []byte("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<permissions>\n</permissions>\n"))
	tr.file("SYSTEM/etc/security/otacerts.zip", t.Keys.otacerts(tb))
	tr.file("SYSTEM/etc/update_engine.conf", []byte("PAYLOAD_MAJOR_VERSION=2\nPAYLOAD_MINOR_VERSION=9\n"))
	tr.file("VENDOR/etc/gps.conf", []byte("NTP_SERVER=time.google.com\nSUPL_HOST=supl.google.com\nSUPL_PORT=7275\nLONGTERM_PSDS_SERVER_1=https://agnss.goog/lto2.dat\n"))
	tr.file("VENDOR/bin/hw/vendor.service", noise(11, 120_000))
	tr.file("VENDOR/etc/fstab.tester", []byte("system /system ext4 ro wait,slotselect,avb=vbmeta_system,logical,first_stage_mount\n"))
	for _, a := range t.Options.apps() {
		tr.file(a.Path, a.build(tb, t.Keys))
	}
	hello, _ := t.Keys.makeAPEX(tb, apexes[0])
	tr.file("SYSTEM/apex/"+apexes[0]+".apex", hello)
	if t.Options.Tethering {
		apex, _ := t.Keys.makeAPEX(tb, tethering)
		tr.file("SYSTEM/apex/"+tethering+".apex", apex)
	}
	original, root := t.Keys.makeAPEX(tb, apexes[1])
	tr.file("SYSTEM/apex/"+apexes[1]+".capex", t.Keys.compress(tb, apexes[1], original, root))
	t.props(tr)
	t.ramdisks(tb, tr)
	tr.file("DATA/nativetest/README", []byte("tests go here\n"))
	t.padding(tr)
}

// padding adds files of 16 MiB, every other of which does not compress.
func (t *Target) padding(tr *tree) {
	for i := 0; int64(i)*largeSize < t.Options.Padding; i++ {
		tr.file(fmt.Sprintf("%s%03d", paddingDir, i), nil).large = func() []byte {
			data := noise(uint64(100+i), largeSize)
			if i%2 == 0 {
				chunk := text(uint64(100+i), 1<<20)
				for at := 0; at+16 < len(data); at += len(chunk) {
					copy(data[at+16:], chunk)
				}
			}
			return data
		}
	}
}

// paddingDir is where the padding is.
const paddingDir = "SYSTEM/usr/share/padding/"

// props writes the build.prop files.
func (t *Target) props(tr *tree) {
	for tree, at := range map[string][2]string{
		"SYSTEM": {"build.prop", "system"}, "SYSTEM_EXT": {"etc/build.prop", "system_ext"},
		"PRODUCT": {"etc/build.prop", "product"}, "VENDOR": {"build.prop", "vendor"},
		"INIT_BOOT/RAMDISK": {"system/etc/ramdisk/build.prop", "bootimage"},
	} {
		var b strings.Builder
		fmt.Fprintf(&b, "# begin common build properties\n")
		for _, p := range [][2]string{
			{"brand", "mios"}, {"device", "tester"}, {"manufacturer", "mios"}, {"model", "Tester"}, {"name", "tester"},
		} {
			fmt.Fprintf(&b, "ro.product.%s.%s=%s\n", at[1], p[0], p[1])
		}
		for _, p := range [][2]string{
			{"fingerprint", Fingerprint}, {"id", buildID}, {"tags", "test-keys"}, {"type", "userdebug"}, {"version.incremental", "42"}, {"version.release", release}, {"version.sdk", "35"}, {"date.utc", "1730764800"},
		} {
			fmt.Fprintf(&b, "ro.%s.build.%s=%s\n", at[1], p[0], p[1])
		}
		if tree == "SYSTEM" {
			fmt.Fprintf(&b, "ro.build.id=%s\nro.build.display.id=tester-userdebug %s %s 42 test-keys\nro.build.version.incremental=42\nro.build.version.sdk=35\nro.build.version.release=%s\nro.build.version.security_patch=%s\nro.build.date.utc=1730764800\nro.build.type=userdebug\nro.build.tags=test-keys\nro.product.cpu.abilist=arm64-v8a,armeabi-v7a\nro.build.flavor=tester-userdebug\nro.build.description=tester-userdebug %s %s 42 test-keys\nro.product.cpu.abi=arm64-v8a\n",
				buildID, release, buildID, release, securityPatch, release, buildID)
		}
		tr.file(tree+"/"+at[0], []byte(b.String()))
	}
}

const fileContexts = `/.*						u:object_r:rootfs:s0
/system(/.*)?				u:object_r:system_file:s0
/system/bin/sh				--	u:object_r:shell_exec:s0
/(system_ext|system/system_ext)(/.*)?	u:object_r:system_file:s0
/(product|system/product)(/.*)?		u:object_r:system_file:s0
/(vendor|system/vendor)(/.*)?		u:object_r:vendor_file:s0
/(vendor|system/vendor)/etc(/.*)?	u:object_r:vendor_configs_file:s0
/(vendor|system/vendor)/app(/.*)?	u:object_r:vendor_app_file:s0
/(vendor|system/vendor)/overlay(/.*)?	u:object_r:vendor_overlay_file:s0
`

// macPermissions is plat_mac_permissions.xml as AOSP's insertkeys.py makes it.
func (k *Keys) macPermissions() []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="iso-8859-1"?><!-- AUTOGENERATED FILE DO NOT MODIFY --><policy>`)
	for _, s := range [][2]string{{Platform, "platform"}, {Media, "media"}, {NetworkStack, "network_stack"}} {
		fmt.Fprintf(&b, `<signer signature="%s"><seinfo value="%s"/></signer>`, hex.EncodeToString(k.Apps[s[0]].Certificate.Raw), s[1])
	}
	b.WriteString("</policy>")
	return b.Bytes()
}

// otacerts is otacerts.zip: the certificates whose OTA packages are taken.
func (k *Keys) otacerts(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: keyDir + "testkey.x509.pem", Method: zip.Deflate})
	if err == nil {
		err = pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: k.Apps[TestKey].Certificate.Raw})
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}
