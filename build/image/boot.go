package image

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"mios/format/avb"
	"mios/format/bootimg"
	"mios/format/cpio"
	"mios/internal/debian"
)

// salt is the salt of a partition's digest: other for every build, and the
// same for the same build.
func (b *builder) salt(partition string) []byte {
	s := sha256.Sum256(fmt.Appendf(nil, "mios salt %s %s %s %s %d %s", b.Product.Name, b.Arch, b.Variant, b.Version, b.BuildTime.Unix(), partition))
	return s[:]
}

// boot builds boot.img: the kernel with a ramdisk that is the first stage.
func (b *builder) boot() error {
	kernel, err := b.Kernel.Image()
	if err != nil {
		return err
	}
	ramdisk, err := b.archive(b.Product.Kernel.Modules.Early, cpio.File("fstab", 0o644, []byte(fstab)))
	if err != nil {
		return err
	}
	img := bootimg.New(kernel, ramdisk, b.cmdline(), bootimg.OSVersion{})
	limit := int64(b.Product.Partitions.Boot)
	if need := img.Size(); need > limit {
		return fmt.Errorf("boot image of %d bytes is %d bytes larger than its partition of %v: raise partitions.boot in the product definition",
			need, need-limit, b.Product.Partitions.Boot)
	}
	f, err := os.OpenFile(b.path(BootImage), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := img.WriteTo(f); err != nil {
		return err
	}
	desc, err := avb.AddHashFooter(f, img.Size(), avb.FooterOptions{
		PartitionName: "boot", PartitionSize: limit, Salt: b.salt("boot"),
	})
	if err != nil {
		return err
	}
	if err := f.Truncate(img.Size()); err != nil {
		return err
	}
	b.parts = append(b.parts, partition{name: "boot", file: BootImage, size: img.Size(), limit: limit, desc: desc})
	return f.Sync()
}

// archive returns an initramfs: the small miosd as /init, modules in the order
// of loading, and more.
func (b *builder) archive(modules []string, more ...cpio.Entry) ([]byte, error) {
	mods, err := b.Kernel.Modules(modules...)
	if err != nil {
		return nil, err
	}
	entries := []cpio.Entry{
		cpio.Dir("dev", 0o755), cpio.Dir("proc", 0o755), cpio.Dir("sys", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.File("init", 0o755, b.ramdisk),
		cpio.Dir("lib", 0o755), cpio.Dir("lib/modules", 0o755),
	}
	for _, m := range mods {
		entries = append(entries, cpio.File("lib/modules/"+path.Base(m.Path), 0o644, m.Data))
	}
	load, dep := moduleLists(mods)
	entries = append(entries, cpio.File("lib/modules/modules.load", 0o644, load), cpio.File("lib/modules/modules.dep", 0o644, dep))
	var out bytes.Buffer
	if _, err := cpio.New(append(entries, more...)...).WriteTo(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// moduleLists returns AOSP's modules.load, the modules in the order of loading,
// and modules.dep, which of those each one needs.
func moduleLists(mods []debian.Module) (load, dep []byte) {
	file := make(map[string]string)
	for _, m := range mods {
		name := path.Base(m.Path)
		load, file[m.Name] = fmt.Appendln(load, name), name
		dep = fmt.Append(dep, name, ":")
		for _, n := range m.Needs {
			if file[n] != "" { // it is not loaded elsewhere
				dep = fmt.Append(dep, " ", file[n])
			}
		}
		dep = fmt.Appendln(dep)
	}
	return load, dep
}

// vbmetaSize is the size of the vbmeta partitions in bytes.
const vbmetaSize = 64 << 10

// vbmeta signs the descriptors of the partitions that are built so far.
func (b *builder) vbmeta() error {
	pub, ok := b.AVBKey.Public().(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("the avb key is %T, want RSA", b.AVBKey.Public())
	}
	alg, err := avb.AlgorithmFor(crypto.SHA256, pub.N.BitLen())
	if err != nil {
		return err
	}
	m := &avb.VBMeta{RollbackIndex: b.rollbackIndex(), Release: "mios"}
	for _, p := range b.parts {
		m.Descriptors = append(m.Descriptors, p.desc)
	}
	for _, p := range [][2]string{
		{"com.android.build.system.fingerprint", fmt.Sprintf("%s/%s/%s", b.Product.Name, b.Version, b.Variant)},
		{"com.android.build.boot.security_patch", b.BuildTime.UTC().Format("2006-01-02")},
	} {
		m.Descriptors = append(m.Descriptors, &avb.PropertyDescriptor{Key: p[0], Value: []byte(p[1])})
	}
	if err := m.Sign(b.AVBKey, alg); err != nil {
		return err
	}
	out, err := m.Bytes()
	if err != nil {
		return err
	}
	if len(out) > vbmetaSize {
		return fmt.Errorf("vbmeta of %d bytes is larger than its partition of %d", len(out), vbmetaSize)
	}
	b.parts = append(b.parts, partition{name: "vbmeta", file: VBMetaImage, size: vbmetaSize, limit: vbmetaSize})
	return os.WriteFile(b.path(VBMetaImage), append(out, make([]byte, vbmetaSize-len(out))...), 0o644)
}

func (b *builder) avbPublicKey() ([]byte, error) {
	pub, ok := b.AVBKey.Public().(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the avb key is %T, want RSA", b.AVBKey.Public())
	}
	return avb.EncodePublicKey(pub)
}

// rom builds what stands for the device's ROM in the emulator: the loader's
// kernel, initramfs and command line.
func (b *builder) rom() error {
	kernel, err := b.Kernel.VMLinux()
	if err != nil {
		return err
	}
	pub, err := b.avbPublicKey()
	if err != nil {
		return err
	}
	initrd, err := b.archive(b.Product.Kernel.Modules.ROM, cpio.File("avb_pkmd.bin", 0o444, pub))
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Dir(b.path(ROMKernel)), 0o755); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		ROMKernel: kernel, ROMRamdisk: initrd, ROMCmdline: []byte(b.cmdline() + "\n"),
	} {
		if err := os.WriteFile(b.path(name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
