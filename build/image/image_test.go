package image_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/build/image"
	"mios/build/product"
	"mios/format/adb"
	"mios/format/gpt"
	"mios/internal/debian"
	"mios/key"
)

// config returns a configuration of product iot with fresh keys, a real kernel
// and the small miosd in both places.
func config(t *testing.T) image.Config {
	t.Helper()
	if testing.Short() {
		t.Skip("fetches Debian's kernel and builds whole images")
	}
	p, err := product.Load("../../products/iot/product.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	kernels := debian.Kernels{Cache: filepath.Join(cache, "mios"), Notice: func(msg string) { t.Log(msg) }}
	k, err := kernels.Open(t.Context(), p.Kernel.Line, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	miosd := filepath.Join(t.TempDir(), "miosd")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "ramdisk", "-ldflags", "-s -w -buildid=", "-o", miosd, "mios/cmd/miosd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return image.Config{
		Product: p, Arch: mios.AMD64, Variant: image.Userdebug, Version: "1", BuildTime: time.Unix(1_800_000_000, 0),
		Kernel: k, Miosd: miosd, MiosdRamdisk: miosd,
		AVBKey: signer(t), OTAKey: signer(t).Public(), Root: []byte("{}\n"), ADBKeys: adbKey(t),
	}
}

// adbKey returns an adb_keys file.
func adbKey(t *testing.T) []byte {
	t.Helper()
	k, err := adb.NewKey(signer(t).Public().(*rsa.PublicKey), "desk")
	if err != nil {
		t.Fatal(err)
	}
	return []byte(k.String() + "\n")
}

func signer(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := key.Generate(key.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// checkReserved reads the superblock of userdata (ext4: 1024 bytes from its
// start): apps must not be able to fill all of it.
func checkReserved(t *testing.T, disk string) {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	table, _, err := gpt.Read(f, size)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := table.Find("userdata")
	if !ok {
		t.Fatal("no partition userdata")
	}
	b := make([]byte, 1024)
	if _, err := f.ReadAt(b, p.Offset()+1024); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if magic, blocks, root := le.Uint16(b[56:]), le.Uint32(b[4:]), le.Uint32(b[8:]); magic != 0xef53 || root < blocks/25 || root > blocks/10 {
		t.Errorf("userdata: magic %#x, %d of %d blocks are root's, want 0xef53 and 4 to 10 %%", magic, root, blocks)
	}
}

// TestReproducible builds twice, in two folders and at two times, and compares
// every byte; then it asks other people's tools about the files.
func TestReproducible(t *testing.T) {
	c := config(t)
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "some", "where", "b")
	for _, dir := range []string{a, b} {
		if _, err := image.Build(t.Context(), c, dir); err != nil {
			t.Fatal(err)
		}
		if err := image.WriteDisk(t.Context(), dir, filepath.Join(dir, "disk.img")); err != nil {
			t.Fatal(err)
		}
	}
	files := 0
	err := filepath.WalkDir(a, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		rel, _ := filepath.Rel(a, name)
		if out, err := exec.Command("cmp", name, filepath.Join(b, rel)).CombinedOutput(); err != nil {
			t.Errorf("%s differs between two builds: %s", rel, out)
		}
		return nil
	})
	if err != nil || files < 9 {
		t.Fatalf("compared %d files, %v; want all of a build", files, err)
	}
	judge(t, a)
	checkReserved(t, filepath.Join(a, "disk.img"))
	f, err := os.OpenFile(filepath.Join(b, image.SystemImage), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if err := image.WriteDisk(t.Context(), b, filepath.Join(b, "other.img")); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("WriteDisk of an image that was cut off = %v, want invalid", err)
	}
	if left, _ := filepath.Glob(filepath.Join(b, "*other.img*")); len(left) > 0 {
		t.Errorf("a failed WriteDisk leaves %v", left)
	}
}

// judge asks AOSP's and Debian's tools what they say of a build.
func judge(t *testing.T, dir string) {
	m, err := image.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Product != "iot" || m.Find("system") == nil || !m.Find("system").Logical || m.Find("nope") != nil {
		t.Errorf("manifest = %+v", m)
	}
	for _, cmd := range [][]string{
		{"fsck.erofs", filepath.Join(dir, image.SystemImage)},
		{"unpack_bootimg", "--boot_img", filepath.Join(dir, image.BootImage), "--out", t.TempDir()},
		{"sgdisk", "-v", filepath.Join(dir, "disk.img")},
	} {
		out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("Problem")) {
			t.Errorf("%v: %v\n%s", cmd, err, out)
		}
	}
	var doc struct {
		Packages []struct{ Name, LicenseDeclared string }
	}
	b, err := os.ReadFile(filepath.Join(dir, image.ManifestSPD))
	if err != nil || json.Unmarshal(b, &doc) != nil {
		t.Fatalf("SPDX: %v", err)
	}
	names := make(map[string]string)
	for _, p := range doc.Packages {
		names[p.Name] = p.LicenseDeclared
	}
	for name, want := range map[string]string{
		"miosd": "Apache-2.0", "go": "BSD-3-Clause", "product.yaml": "NONE", "root.json": "NONE", "adb_keys": "NONE", "avb_pkmd.bin": "NONE",
		"update-payload-key.pub.pem": "NONE", "golang.org/x/sys": "BSD-3-Clause", image.VBMetaImage: "NONE",
		image.BootImage: "Apache-2.0 AND BSD-3-Clause AND GPL-2.0-only WITH Linux-syscall-note",
	} {
		if names[name] != want {
			t.Errorf("SPDX says %q of %s, want %q", names[name], name, want)
		}
	}
	if i := slices.IndexFunc(doc.Packages, func(p struct{ Name, LicenseDeclared string }) bool { return p.LicenseDeclared == "NOASSERTION" }); i >= 0 {
		t.Errorf("SPDX does not know the licence of %s", doc.Packages[i].Name)
	}
}

func TestBuildErrors(t *testing.T) {
	c := config(t)
	for _, tt := range []struct {
		name   string
		change func(*image.Config)
		want   string
	}{
		{"no key", func(c *image.Config) { c.AVBKey = nil }, `make one with "mios keys init"`},
		{"wrong key", func(c *image.Config) { c.AVBKey, _ = key.Generate(key.P256) }, "the avb key is ecdsa-p256, want RSA"},
		{"wrong ota key", func(c *image.Config) { k, _ := key.Generate(key.P256); c.OTAKey = k.Public() }, "the ota key is ecdsa-p256, want RSA"},
		{"private adb key", func(c *image.Config) { c.ADBKeys = []byte("-----BEGIN PRIVATE KEY-----\n") }, "want a public key, as in ~/.android/adbkey.pub"},
		{"other architecture", func(c *image.Config) { p := *c.Product; p.Arch = []mios.Arch{mios.ARM64}; c.Product = &p }, "product iot is for [arm64]"},
		{"boot too large", func(c *image.Config) { p := *c.Product; p.Partitions.Boot = 8 << 20; c.Product = &p }, "larger than its partition of 8 MiB"},
		{"system too large", func(c *image.Config) { c.Extra = map[string][]byte{"/system/big": make([]byte, 65<<20)} }, "larger than its partition of 64 MiB"},
		{"adb in user", func(c *image.Config) { c.Variant = image.User }, "a user build has no adb"},
		{"version", func(c *image.Config) { c.Version = "1\nro.debuggable=1" }, "want letters, digits"},
		{"no miosd", func(c *image.Config) { c.Miosd = filepath.Join(t.TempDir(), "miosd-amd64") }, `"make build" makes it`},
		{"unknown module", func(c *image.Config) {
			p := *c.Product
			p.Kernel.Modules.Late = []string{"no_such"}
			c.Product = &p
		}, "no_such"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := c
			tt.change(&c)
			parent := t.TempDir()
			_, err := image.Build(t.Context(), c, filepath.Join(parent, "out"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Build = %v, want %q", err, tt.want)
			}
			if left, _ := os.ReadDir(parent); len(left) != 0 {
				t.Errorf("a failed build leaves %v", left)
			}
		})
	}
}

func TestBuildStops(t *testing.T) {
	c := config(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.Note = func(string) { cancel() }
	if _, err := image.Build(ctx, c, filepath.Join(t.TempDir(), "out")); !errors.Is(err, context.Canceled) {
		t.Errorf("Build = %v, want context.Canceled", err)
	}
}
