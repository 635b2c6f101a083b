package debian_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/internal/debian"
	"mios/internal/debian/debiantest"
	"mios/internal/tool"
)

// early is what a device of base core loads before its system is mounted, and
// some with soft dependencies.
var early = []string{"virtio_blk", "virtio-pci", "virtio_net", "virtio_rng", "dm-verity", "erofs", "ext4", "overlay", "btrfs"}

func TestKernel(t *testing.T) {
	for _, arch := range debian.Architectures {
		t.Run(arch, func(t *testing.T) {
			k := debiantest.Kernel(t, arch)
			checkImage(t, k)
			if c, err := k.Config(); err != nil || !bytes.Contains(c, []byte("CONFIG_EROFS_FS=m\n")) {
				t.Errorf("Config: %d bytes, %v; want CONFIG_EROFS_FS=m", len(c), err)
			}
			if c, err := k.Copyright(); err != nil || !bytes.Contains(c, []byte("License: GPL-2\n")) {
				t.Errorf("Copyright: %d bytes, %v; want GPL-2", len(c), err)
			}
			if _, err := k.Modules("no_such"); err == nil || !strings.Contains(err.Error(), `no module "no_such"`) {
				t.Errorf("Modules(no_such) = %v", err)
			}
			if !k.Builtin("ext4") || k.Builtin("erofs") {
				t.Error("Builtin: want ext4 built in, erofs not")
			}
			checkModules(t, k)
		})
	}
}

func checkImage(t *testing.T, k *debian.Kernel) {
	t.Helper()
	image, err := k.Image()
	if err != nil {
		t.Fatal(err)
	}
	vmlinux, err := k.VMLinux()
	if err != nil {
		t.Fatal(err)
	}
	if k.Arch == "amd64" {
		if string(image[0x202:0x206]) != "HdrS" || !bytes.HasPrefix(vmlinux, []byte("\x7fELF")) {
			t.Error("amd64: want a bzImage and an ELF file")
		}
	} else if string(image[0x38:0x3c]) != "ARM\x64" || !bytes.Equal(image, vmlinux) {
		t.Error("arm64: want an uncompressed Image")
	}
	if !bytes.Contains(vmlinux, []byte("Linux version "+k.Release)) {
		t.Errorf("uncompressed kernel does not say Linux version %s", k.Release)
	}
}

// needs reports whether module i waits for module j, or for one that does.
func needs(modules []debian.Module, i, j int) bool {
	return i == j || slices.ContainsFunc(modules[i].Needs, func(name string) bool {
		k := slices.IndexFunc(modules, func(m debian.Module) bool { return m.Name == name })
		return k >= 0 && needs(modules, k, j)
	})
}

// checkModules compares the load order with modprobe's, after depmod.
func checkModules(t *testing.T, k *debian.Kernel) {
	t.Helper()
	modules, err := k.Modules(early...)
	if err != nil {
		t.Fatal(err)
	}
	depmod, err := tool.Look("depmod")
	if err != nil {
		t.Fatal(err)
	}
	modprobe, err := tool.Look("modprobe")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	deb := filepath.Join(debiantest.Cache(t), k.SHA256+".tar")
	if out, err := exec.Command("tar", "-C", root, "-xf", deb, "./lib/modules").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	if out, err := exec.Command(depmod, "-b", root, k.Release).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v: %s", err, out)
	}
	at := make(map[string]int)
	for i, m := range modules {
		at[m.Path] = i
		want, err := os.ReadFile(filepath.Join(root, "lib/modules", k.Release, m.Path))
		if err != nil || !bytes.Equal(m.Data, want) {
			t.Errorf("%s: differs from what tar unpacks (%v)", m.Path, err)
		}
	}
	dep, err := os.ReadFile(filepath.Join(root, "lib/modules", k.Release, "modules.dep"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(dep)) {
		name, deps, _ := strings.Cut(strings.TrimSpace(line), ":")
		i, ok := at[name]
		if !ok {
			continue
		}
		for d := range strings.FieldsSeq(deps) {
			if j, ok := at[d]; !ok || j > i || !needs(modules, i, j) {
				t.Errorf("%s is loaded without %s before it, or does not wait for it", name, d)
			}
		}
	}
	out, err := exec.Command(modprobe, "-d", root, "-S", k.Release, "--show-depends", "-a", "erofs", "dm_verity", "virtio_net", "btrfs").Output()
	if err != nil {
		t.Fatalf("modprobe: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		_, path, ok := strings.Cut(strings.TrimSpace(line), k.Release+"/")
		// What something built in answers is left out: crc32c.
		if _, has := at[path]; ok && !has && !strings.Contains(path, "crc32c-") {
			t.Errorf("modprobe loads %s, Modules does not", path)
		}
	}
	if !slices.ContainsFunc(modules, func(m debian.Module) bool { return m.Name == "blake2b_generic" }) {
		t.Error("btrfs: its soft dependency blake2b-256 is missing")
	}
}
