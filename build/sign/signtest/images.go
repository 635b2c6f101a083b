package signtest

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/pierrec/lz4/v4"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/format/bootimg"
	"mios/format/cpio"
	"mios/format/dtbo"
	"mios/format/super"
)

func salt(name string) []byte {
	s := sha256.Sum256([]byte("salt of " + name))
	return s[:]
}

// The sizes of partitions in bytes, as misc_info.txt has them.
const (
	bootSize       = 8 << 20
	initBootSize   = 2 << 20
	vendorBootSize = 4 << 20
	dtboSize       = 1 << 20
	superSize      = 96 << 20
)

// superBytes returns the size of super for the options: twice what is in it is
// more than Virtual A/B needs.
func (o *Options) superBytes() int64 { return superSize + 2*(o.Padding+o.Padding/8)>>20<<20 }

// images makes IMAGES as add_img_to_target_files does.
func (t *Target) images(tb testing.TB, tr *tree) {
	tb.Helper()
	if err := os.MkdirAll(t.path("IMAGES"), 0o755); err != nil {
		tb.Fatal(err)
	}
	t.bootImages(tb, tr)
	img := func(name string) string { return t.path("IMAGES/" + name + ".img") }
	makeExt4(tb, img("system"), "/", append(place(tr.in("ROOT"), ""), place(tr.in("SYSTEM"), "system")...), 2<<20)
	makeExt4(tb, img("system_ext"), "/system_ext", place(tr.in("SYSTEM_EXT"), ""), 1<<20)
	makeErofs(tb, img("product"), "lz4hc,9", place(tr.in("PRODUCT"), ""))
	makeErofs(tb, img("vendor"), "", place(tr.in("VENDOR"), ""))
	for _, name := range []string{"system", "system_ext", "product", "vendor"} {
		_, err := avbtool.AddHashtree(context.Background(), img(name), avbtool.FooterOptions{
			Content: avbtool.Content{Release: avbtool.Release, Properties: properties(name)}, PartitionName: name,
			HashAlgorithm: "sha256", Salt: salt(name), FECRoots: 2, InPlace: true,
		}, nil)
		if err != nil {
			tb.Fatal(err)
		}
	}
	t.vbmeta(tb, "vbmeta_system", t.Keys.AVB["testkey_rsa2048"], rollbackIndex, []string{"system", "system_ext", "product"}, nil)
	t.vbmeta(tb, "vbmeta", t.Keys.AVB["testkey_rsa4096"], 0, []string{"init_boot", "vendor_boot", "dtbo", "vendor"}, map[string]uint32{"vbmeta_system": 1, "boot": 2})
	t.superEmpty(tb)
}

// properties are what releasetools puts beside the descriptor of a partition.
func properties(name string) []*avb.PropertyDescriptor {
	var out []*avb.PropertyDescriptor
	for _, p := range [][2]string{{"os_version", release}, {"fingerprint", Fingerprint}, {"security_patch", securityPatch}} {
		out = append(out, &avb.PropertyDescriptor{Key: "com.android.build." + name + "." + p[0], Value: []byte(p[1])})
	}
	return out
}

// rollbackIndex is that of vbmeta_system and boot: a security patch level in
// seconds, as AOSP's boards set it.
const rollbackIndex = 1730764800

func algorithm(k *rsa.PrivateKey) avb.Algorithm {
	if k.N.BitLen() == 4096 {
		return avb.SHA256RSA4096
	}
	return avb.SHA256RSA2048
}

func (t *Target) vbmeta(tb testing.TB, name string, key *rsa.PrivateKey, index uint64, include []string, chains map[string]uint32) {
	tb.Helper()
	c := &avbtool.Content{Algorithm: algorithm(key), Key: key, RollbackIndex: index, Release: avbtool.Release}
	for _, p := range include {
		c.Include = append(c.Include, t.path("IMAGES/"+p+".img"))
	}
	for _, p := range slices.Sorted(func(yield func(string) bool) {
		for n := range chains {
			if !yield(n) {
				return
			}
		}
	}) {
		pub, err := avb.EncodePublicKey(&t.Keys.AVB["testkey_rsa2048"].PublicKey)
		if err != nil {
			tb.Fatal(err)
		}
		c.Chains = append(c.Chains, &avb.ChainPartitionDescriptor{RollbackIndexLocation: chains[p], PartitionName: p, PublicKey: pub})
	}
	b, err := avbtool.Make(c)
	if err != nil {
		tb.Fatal(err)
	}
	t.put(tb, "IMAGES/"+name+".img", append(b, make([]byte, (4096-len(b)%4096)%4096)...))
}

// ramdisk packs a tree as mkbootfs and lz4 -l do.
func ramdisk(tb testing.TB, nodes []*node) []byte {
	tb.Helper()
	var entries []cpio.Entry
	for _, n := range nodes {
		if n.name == "" {
			continue
		}
		var e cpio.Entry
		switch {
		case n.mode.IsDir():
			e = cpio.Dir(n.name, uint32(n.mode.Perm()))
		case n.target != "":
			e = cpio.Symlink(n.name, n.target)
		default:
			e = cpio.File(n.name, uint32(n.mode.Perm()), n.data)
		}
		e.UID, e.GID = uint32(n.uid), uint32(n.gid)
		entries = append(entries, e)
	}
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	err := w.Apply(lz4.LegacyOption(true), lz4.CompressionLevelOption(lz4.Level9))
	if err == nil {
		_, err = cpio.New(entries...).WriteTo(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func (t *Target) bootImages(tb testing.TB, tr *tree) {
	tb.Helper()
	os, _, err := bootimg.ParseOSVersion(release, securityPatch)
	if err != nil {
		tb.Fatal(err)
	}
	var kernel []byte
	for _, n := range tr.in("BOOT") {
		if n.name == "kernel" {
			kernel = n.data
		}
	}
	boot := bootimg.New(kernel, nil, "", os)
	initBoot := bootimg.New(nil, ramdisk(tb, tr.in("INIT_BOOT/RAMDISK")), "", os)
	table := &dtbo.Table{PageSize: 2048, Entries: []dtbo.Entry{{ID: 1, Data: noise(4, 500)}}}
	for _, p := range []struct {
		name string
		w    io.WriterTo
		size int64
		key  *rsa.PrivateKey
	}{
		{"boot", boot, bootSize, t.Keys.AVB["testkey_rsa2048"]},
		{"init_boot", initBoot, initBootSize, nil},
		{"vendor_boot", vendorBoot(tb, tr), vendorBootSize, nil},
		{"dtbo", table, dtboSize, nil},
	} {
		var b bytes.Buffer
		if _, err := p.w.WriteTo(&b); err != nil {
			tb.Fatal(err)
		}
		name := "IMAGES/" + p.name + ".img"
		t.put(tb, name, b.Bytes())
		if p.name == "dtbo" {
			t.put(tb, "PREBUILT_IMAGES/dtbo.img", b.Bytes())
		}
		o := avbtool.FooterOptions{
			Content:       avbtool.Content{Release: avbtool.Release, Properties: properties(p.name)},
			PartitionName: p.name, PartitionSize: p.size, HashAlgorithm: "sha256", Salt: salt(p.name),
		}
		if p.key != nil {
			o.Algorithm, o.Key, o.RollbackIndex = algorithm(p.key), p.key, rollbackIndex
		}
		if _, err := avbtool.AddHash(context.Background(), t.path(name), o, nil); err != nil {
			tb.Fatal(err)
		}
	}
}

// vendorBoot is vendor_boot with the vendor's ramdisk and that of recovery.
func vendorBoot(tb testing.TB, tr *tree) *bootimg.Vendor {
	tb.Helper()
	vendor := &bootimg.Vendor{
		Version: 4, PageSize: bootimg.PageSize, KernelAddr: 0x10008000, RamdiskAddr: 0x11000000, TagsAddr: 0x10000100, DTBAddr: 0x11f00000,
		Cmdline: vendorCmdline, DTB: noise(3, 3000), Bootconfig: []byte(bootconfig),
	}
	for _, f := range []struct {
		f    bootimg.Fragment
		tree string
	}{
		{bootimg.Fragment{Type: bootimg.RamdiskPlatform}, "VENDOR_BOOT/RAMDISK"},
		{bootimg.Fragment{Type: bootimg.RamdiskRecovery, Name: "recovery"}, "VENDOR_BOOT/RAMDISK_FRAGMENTS/recovery/RAMDISK"},
	} {
		if err := vendor.AddFragment(f.f, ramdisk(tb, tr.in(f.tree))); err != nil {
			tb.Fatal(err)
		}
	}
	return vendor
}

// dynamic are the partitions in super.
var dynamic = []string{"product", "system", "system_ext", "vendor"}

// layout is the super partition of the folder's images as build_super_image
// has it: three slots of metadata, partitions in slot a; sized says whether
// they have their sizes.
func (t *Target) layout(tb testing.TB, sized bool) *super.Image {
	tb.Helper()
	size := t.Options.superBytes()
	s := super.Spec{Size: size, Slots: 3, VirtualAB: true}
	for _, slot := range []string{"_a", "_b"} {
		s.Groups = append(s.Groups, super.Group{Name: group + slot, MaxSize: uint64(size - 4<<20)})
	}
	for _, name := range dynamic {
		n := int64(0)
		if fi, err := os.Stat(t.path("IMAGES/" + name + ".img")); err == nil && sized {
			n = fi.Size()
		}
		s.Partitions = append(s.Partitions,
			super.PartitionSpec{Name: name + "_a", Group: group + "_a", Attributes: super.AttrReadonly, Size: n},
			super.PartitionSpec{Name: name + "_b", Group: group + "_b", Attributes: super.AttrReadonly})
	}
	img, err := super.Build(s)
	if err != nil {
		tb.Fatal(err)
	}
	return img
}

func (t *Target) superEmpty(tb testing.TB) {
	tb.Helper()
	img := t.layout(tb, false)
	var b bytes.Buffer
	if err := super.WriteEmpty(&b, img.Geometry, img.Slots[0]); err != nil {
		tb.Fatal(err)
	}
	t.put(tb, "IMAGES/super_empty.img", b.Bytes())
}
