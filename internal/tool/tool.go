// Package tool is the one place where programs of other people's are looked
// for, and where it stands which Debian package brings each.
package tool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Tool is a program that something here runs.
type Tool struct {
	Name    string // as it is called; a path, for a file that is no program
	Package string // Debian's package that brings it
	For     string // what needs it
	Test    bool   // only tests compare with it
}

// Tools are all of them, sorted by name.
var Tools = []Tool{
	{"/usr/include/lz4hc.h", "liblz4-dev", "tests of patches", true},
	{"/usr/share/android-framework-res/framework-res.apk", "android-framework-res", "tests of APKs", true},
	{"aapt", "aapt", "tests of APKs", true},
	{"aapt2", "aapt", "tests of icons", true},
	{"adb", "adb", "talking to a device", false},
	{"apksigner", "apksigner", "tests of APK signatures", true},
	{"apt-cache", "apt", "fetching the kernel's package", false},
	{"apt-get", "apt", "fetching the kernel's package", false},
	{"bash", "bash", "tests of documents", true},
	{"bsdiff", "bsdiff", "tests of patches", true},
	{"bspatch", "bsdiff", "tests of patches", true},
	{"bzip2", "bzip2", "tests of payloads", true},
	{"cpio", "cpio", "tests of ramdisks", true},
	{"curl", "curl", "tests of documents", true},
	{"debugfs", "e2fsprogs", "tests of data partitions", true},
	{"depmod", "kmod", "tests of module order", true},
	{"dexdump", "dexdump", "tests of DEX files", true},
	{"dpkg-deb", "dpkg", "tests of packages", true},
	{"dump.erofs", "erofs-utils", "tests of system images", true},
	{"e2fsck", "e2fsprogs", "tests of data partitions", true},
	{"fastboot", "fastboot", "tests of the loader", true},
	{"fdroid", "fdroidserver", "tests of F-Droid's indexes", true},
	{"fdroidcl", "fdroidcl", "tests of F-Droid's indexes", true},
	{"fsck.erofs", "erofs-utils", "tests of system images", true},
	{"gcc", "build-essential", "go test -race", true},
	{"gzip", "gzip", "tests of patches", true},
	{"img2simg", "android-sdk-libsparse-utils", "tests of sparse images", true},
	{"initdb", "postgresql", "tests of storage", true},
	{"jarsigner", "default-jdk-headless", "tests of F-Droid's indexes", true},
	{"mkbootimg", "mkbootimg", "tests of boot images", true},
	{"mke2fs", "e2fsprogs", "making data partitions", false},
	{"mkfs.erofs", "erofs-utils", "tests of system images", true},
	{"modprobe", "kmod", "tests of module order", true},
	{"nginx", "nginx-light", "figures of serving", true},
	{"openssl", "openssl", "tests of keys and signatures", true},
	{"python3", "python3", "tests of update packages", true},
	{"qemu-img", "qemu-utils", "tests of the emulator's disk", true},
	{"qemu-io", "qemu-utils", "tests of the emulator's disk", true},
	{"qemu-system-aarch64", "qemu-system-arm", "emulating arm64 devices", false},
	{"qemu-system-x86_64", "qemu-system-x86", "emulating amd64 devices", false},
	{"rsvg-convert", "librsvg2-bin", "tests of icons", true},
	{"sgdisk", "gdisk", "tests of partition tables", true},
	{"simg2img", "android-sdk-libsparse-utils", "tests of sparse images", true},
	{"smali", "libsmali-java", "tests of Google's services in apps", true},
	{"unpack_bootimg", "mkbootimg", "tests of boot images", true},
	{"unzip", "unzip", "tests of target-files", true},
	{"veritysetup", "cryptsetup-bin", "tests of dm-verity", true},
	{"xdelta3", "xdelta3", "figures of deltas", true},
	{"xz", "xz-utils", "tests of payloads", true},
	{"zipalign", "zipalign", "tests of APKs", true},
	{"zstd", "zstd", "figures of deltas", true},
}

// sbin is where Debian keeps what its users' PATH does not name; of several
// versions the newest is taken.
var sbin = []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/postgresql/*/bin"}

// Look returns the path of a program, or an error that says what to install.
func Look(name string) (string, error) {
	if filepath.IsAbs(name) {
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	} else if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range sbin {
		found, err := filepath.Glob(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		for _, p := range slices.Backward(found) {
			if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
				return p, nil
			}
		}
	}
	i := slices.IndexFunc(Tools, func(t Tool) bool { return t.Name == name })
	if i < 0 {
		return "", fmt.Errorf("%s is not installed: install it and put it on PATH", name)
	}
	return "", fmt.Errorf("%s (%s) is not installed: run apt-get install %s", name, Tools[i].For, Tools[i].Package)
}

// Missing returns the Debian packages that bring what is not installed, sorted:
// of all tools, or without those that only tests use.
func Missing(tests bool) []string {
	var out []string
	for _, t := range Tools {
		if t.Test && !tests {
			continue
		}
		if _, err := Look(t.Name); err != nil {
			out = append(out, t.Package)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Table returns one line a tool: its name, where it is or what to install, and
// what it is for.
func Table() string {
	var b strings.Builder
	for _, t := range Tools {
		where, err := Look(t.Name)
		if err != nil {
			where = "missing: apt-get install " + t.Package
		}
		fmt.Fprintf(&b, "%-20s %-52s %s\n", filepath.Base(t.Name), where, t.For)
	}
	return b.String()
}
