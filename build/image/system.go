package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/erofs/go-erofs"

	"mios/api"
	"mios/format/avb"
	"mios/internal/applet"
	"mios/internal/debian"
	"mios/key"
)

// A tree is what a file system is to hold, by absolute path.
type tree map[string]node

// A node is a file with data, a symbolic link, or a folder with neither.
type node struct {
	mode fs.FileMode // permission bits, and fs.ModeDir or fs.ModeSymlink
	data []byte
	link string
}

func (t tree) file(name string, perm fs.FileMode, data []byte) {
	t[name] = node{mode: perm, data: data}
}
func (t tree) dir(name string, perm fs.FileMode) { t[name] = node{mode: fs.ModeDir | perm} }
func (t tree) symlink(name, target string) {
	t[name] = node{mode: fs.ModeSymlink | 0o777, link: target}
}

// system builds system.img: an erofs with a hash tree behind it.
func (b *builder) system() error {
	t, err := b.systemTree()
	if err != nil {
		return err
	}
	size, err := writeErofs(b.path(SystemImage), t, b.BuildTime)
	if err != nil {
		return err
	}
	hash := b.treeHash()
	treeSize, err := avb.HashtreeSize(size, hash)
	if err != nil {
		return err
	}
	limit, need := int64(b.Product.Partitions.System), size+treeSize
	if need > limit {
		return fmt.Errorf("system of %d bytes with its hash tree is %d bytes larger than its partition of %v: raise partitions.system in the product definition",
			need, need-limit, b.Product.Partitions.System)
	}
	f, err := os.OpenFile(b.path(SystemImage), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	desc, err := avb.AddHashtreeFooter(f, size, avb.FooterOptions{
		PartitionName: "system", PartitionSize: limit, Salt: b.salt("system"), HashAlgorithm: hash,
	})
	if err != nil {
		return err
	}
	end := int64(desc.TreeOffset + desc.TreeSize)
	if err := f.Truncate(end); err != nil {
		return err
	}
	b.parts = append(b.parts, partition{name: "system", file: SystemImage, size: end, limit: limit, logical: true, desc: desc})
	return f.Sync()
}

// treeHash returns the hash function of system's hash tree: BLAKE2b if the
// first stage loads it, for what it costs is paid for each block that is read,
// and else what is in every kernel.
func (b *builder) treeHash() string {
	if slices.Contains(b.Product.Kernel.Modules.Early, "blake2b_generic") {
		return "blake2b-256"
	}
	return "sha256"
}

// systemTree lays out the system partition.
func (b *builder) systemTree() (tree, error) {
	t := tree{}
	for _, d := range []string{"/dev", "/proc", "/sys", "/data", "/run", "/tmp", "/mnt"} {
		t.dir(d, 0o755)
	}
	t.symlink("/bin", "/system/bin")
	t.symlink("/etc", "/system/etc")
	t.symlink("/lib", "/system/lib")
	t.symlink("/init", "/system/bin/miosd")
	t.file("/system/bin/miosd", 0o755, b.miosd)
	for _, name := range applet.Names {
		t.symlink("/system/bin/"+name, "miosd")
	}
	if err := b.etc(t); err != nil {
		return nil, err
	}
	if err := b.lateModules(t); err != nil {
		return nil, err
	}
	for name, data := range b.Extra {
		if !path.IsAbs(name) || path.Clean(name) != name {
			return nil, fmt.Errorf("extra file %q: want a clean absolute path", name)
		}
		perm := fs.FileMode(0o644)
		if path.Dir(name) == "/system/bin" {
			perm = 0o755
		}
		t.file(name, perm, data)
	}
	return t, nil
}

func (b *builder) etc(t tree) error {
	dev, err := json.MarshalIndent(b.device, "", "  ")
	if err != nil {
		return err
	}
	otaKey, err := key.MarshalPublic(b.OTAKey)
	if err != nil {
		return err
	}
	avbKey, err := b.avbPublicKey()
	if err != nil {
		return err
	}
	t.file("/system/build.prop", 0o644, b.buildProp())
	t.file(api.DevicePath, 0o644, append(dev, '\n'))
	t.file("/system/etc/mios/root.json", 0o644, b.Root)
	t.file("/system/etc/mios/avb_pkmd.bin", 0o644, avbKey)
	t.file("/system/etc/security/cacerts.pem", 0o644, b.Product.CACerts)
	t.file("/system/etc/update_engine/update-payload-key.pub.pem", 0o644, otaKey)
	t.file("/system/etc/fstab.mios", 0o644, []byte(fstab))
	t.symlink("/system/etc/resolv.conf", "/run/resolv.conf")
	t.file("/system/etc/hosts", 0o644, []byte("127.0.0.1 localhost\n::1 localhost\n"))
	t.file("/system/etc/passwd", 0o644, []byte("root:x:0:0:root:/data:/system/bin/sh\nshell:x:2000:2000:shell:/data/local/tmp:/system/bin/sh\n"))
	t.file("/system/etc/group", 0o644, []byte("root:x:0:\nsystem:x:1000:\nshell:x:2000:\ninet:x:3003:\n"))
	if b.Variant == Userdebug {
		t.file("/system/etc/security/adb_keys", 0o644, b.ADBKeys)
	}
	return fs.WalkDir(core, "core/init", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if path.Base(name) == "adbd.rc" && b.Variant != Userdebug {
			return nil
		}
		data, err := core.ReadFile(name)
		if err != nil {
			return err
		}
		t.file("/system/etc/init/"+path.Base(name), 0o644, data)
		return nil
	})
}

func (b *builder) lateModules(t tree) error {
	// What the ramdisk has loaded already is not needed twice.
	early := make(map[string]bool)
	mods, err := b.Kernel.Modules(b.Product.Kernel.Modules.Early...)
	if err != nil {
		return err
	}
	for _, m := range mods {
		early[m.Name] = true
	}
	if mods, err = b.Kernel.Modules(b.Product.Kernel.Modules.Late...); err != nil {
		return err
	}
	mods = slices.DeleteFunc(mods, func(m debian.Module) bool { return early[m.Name] })
	for _, m := range mods {
		t.file("/system/lib/modules/"+path.Base(m.Path), 0o644, m.Data)
	}
	load, dep := moduleLists(mods)
	t.file("/system/lib/modules/modules.load", 0o644, load)
	t.file("/system/lib/modules/modules.dep", 0o644, dep)
	return nil
}

// fstab is AOSP's format, read by both stages of init.
const fstab = `# device    mount point  type   mount flags              fs_mgr flags
system      /            erofs  ro                       wait,slotselect,logical,avb=vbmeta,first_stage_mount
userdata    /data        ext4   nosuid,nodev,noatime     wait,check
`

func (b *builder) buildProp() []byte {
	debuggable, tags := "0", "release-keys"
	if b.Development {
		tags = "dev-keys"
	}
	if b.Variant == Userdebug {
		debuggable = "1"
	}
	var w bytes.Buffer
	for _, p := range [][2]string{
		{"ro.build.id", b.Version},
		{"ro.build.version.incremental", fmt.Sprint(b.BuildTime.Unix())},
		{"ro.build.version.release", b.Version},
		{"ro.build.version.sdk", fmt.Sprint(api.SDK)},
		{"ro.build.date", b.BuildTime.UTC().Format(time.UnixDate)},
		{"ro.build.date.utc", fmt.Sprint(b.BuildTime.Unix())},
		{"ro.build.type", b.Variant},
		{"ro.build.tags", tags},
		{"ro.build.fingerprint", fmt.Sprintf("mios/%[1]s/%[1]s:%[2]s/%[2]s/%[3]d:%[4]s/%[5]s", b.Product.Name, b.Version, b.BuildTime.Unix(), b.Variant, tags)},
		{"ro.debuggable", debuggable},
		{"ro.secure", "1"},
		{"ro.adb.secure", "1"},
		{"ro.product.name", b.Product.Name},
		{"ro.product.device", b.Product.Name},
		{"ro.product.model", b.Product.Name},
		{"ro.product.brand", "mios"},
		{"ro.product.manufacturer", "mios"},
		{"ro.product.cpu.abi", b.Arch.ABI()},
		{"ro.product.cpu.abilist", b.Arch.ABI()},
		{"ro.build.characteristics", b.Product.Class},
	} {
		fmt.Fprintf(&w, "%s=%s\n", p[0], p[1])
	}
	return w.Bytes()
}

// writeErofs writes the tree as an erofs image and returns its size.
func writeErofs(name string, t tree, built time.Time) (int64, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := erofs.Create(f, erofs.WithBuildTime(uint64(built.Unix()), 0))
	t = withParents(t)
	for _, p := range slices.Sorted(maps.Keys(t)) {
		if err := addNode(w, p, t[p], built); err != nil {
			return 0, fmt.Errorf("%s: %w", p, err)
		}
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := (fi.Size() + avb.BlockSize - 1) / avb.BlockSize * avb.BlockSize
	return size, f.Truncate(size)
}

func addNode(w *erofs.Writer, name string, n node, built time.Time) error {
	switch {
	case n.mode.IsDir():
		if err := w.Mkdir(name, n.mode.Perm()); err != nil {
			return err
		}
	case n.mode&fs.ModeSymlink != 0:
		if err := w.Symlink(n.link, name); err != nil {
			return err
		}
	default:
		f, err := w.Create(name)
		if err != nil {
			return err
		}
		if _, err := f.Write(n.data); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err := w.Chmod(name, n.mode.Perm()); err != nil {
			return err
		}
	}
	return w.Chtimes(name, built, built)
}

// withParents adds the folders that the tree's paths lie in.
func withParents(t tree) tree {
	out := maps.Clone(t)
	for p := range t {
		for d := path.Dir(p); d != "/"; d = path.Dir(d) {
			if _, ok := out[d]; !ok {
				out.dir(d, 0o755)
			}
		}
	}
	if _, ok := out["/"]; !ok {
		out.dir("/", 0o755)
	}
	return out
}

// cmdline returns the kernel's command line with its console. A kernel that
// panics restarts, so that the loader can take the other slot; the product's
// words come later, and count. An x86 kernel does not wait for its timer's
// interrupts to see whether they come: on a busy host, an emulated one is late
// ("MP-BIOS bug: 8254 timer not connected to IO-APIC"), and the kernel panics
// when it finds no other way.
func (b *builder) cmdline() string {
	console := "console=ttyS0 no_timer_check"
	if b.Arch == "arm64" {
		console = "console=ttyAMA0"
	}
	return strings.TrimSpace(console + " panic=5 " + b.Product.Kernel.Cmdline)
}
