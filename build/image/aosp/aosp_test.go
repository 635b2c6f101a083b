package aosp

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/build/image"
	"mios/build/image/avbtool"
	"mios/build/ota"
	"mios/build/ota/input"
	"mios/build/sign"
	"mios/build/sign/signtest"
	"mios/format/apksig"
	"mios/format/avb"
	"mios/format/fsimage/imagetest"
	"mios/format/sparse"
	"mios/format/super"
	"mios/internal/testkit"
)

// vendorKeys are those of a vendor, in memory.
type vendorKeys []string

func (v vendorKeys) Dir() string { return "memory" }

func (v vendorKeys) Key(name string) (*sign.Key, error) {
	i := slices.Index(v, name)
	if i < 0 {
		return nil, fmt.Errorf("key %s: %w", name, mios.ErrNotFound)
	}
	return &sign.Key{Name: name, Signer: testkit.RSA(20 + i)}, nil
}

var vendor = vendorKeys{"avb", "platform", "shared", "media", "networkstack", "releasekey", "ota", "com.android.hello", "com.android.compressed", "com.android.tethering"}

// build builds the product of the definition in a new folder.
func build(t *testing.T, in string, allow bool) (string, *Result) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "phone")
	c := Config{Product: newProduct(t, definition), TargetFiles: in, Keys: vendor, Root: []byte("{}"), AllowTestKeys: allow}
	r, err := Build(context.Background(), c, dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

// TestAOSP shares one build of AOSP, which takes a while to make.
func TestAOSP(t *testing.T) {
	x := signtest.New(t, signtest.Options{Tethering: true})
	zip := x.Zip(t)
	t.Run("stage", func(t *testing.T) { testStage(t, x, zip) })
	t.Run("refused", func(t *testing.T) { testRefused(t, x) })
	t.Run("build", func(t *testing.T) { testBuild(t, x, zip) })
	t.Run("images", func(t *testing.T) { testImages(t, x) })
}

// testBuild builds twice, of a folder and of the zip of it: the images are the
// same, and everyone else's tools take them.
func testBuild(t *testing.T, x *signtest.Target, zip string) {
	dir, r := build(t, x.Dir, false)
	t.Run("again", func(t *testing.T) {
		again, _ := build(t, zip, false)
		got, want := contents(t, again), contents(t, dir)
		for name := range want {
			if strings.HasSuffix(name, ".json") { // what they were made of differs
				continue
			}
			if got[name] != want[name] {
				t.Errorf("%s differs between two builds", name)
			}
		}
		if len(got) != len(want) {
			t.Errorf("files %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	})
	t.Run("verified boot", func(t *testing.T) { verifiedBoot(t, dir) })
	t.Run("packages", func(t *testing.T) { packages(t, dir, x.Keys) })
	t.Run("otacerts", func(t *testing.T) { otaCerts(t, dir) })
	t.Run("super", func(t *testing.T) { superImage(t, dir, r) })
	t.Run("update", func(t *testing.T) { update(t, dir, true) })
	t.Run("zip", func(t *testing.T) { imagesZip(t, dir, r) })
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// testImages builds of the images alone: what is in them is found there.
func testImages(t *testing.T, x *signtest.Target) {
	in := filepath.Join(x.Dir, "IMAGES")
	before := contents(t, in)
	dir, r := build(t, in, true) // without META nobody knows the tests' own test keys
	if !maps.Equal(contents(t, in), before) {
		t.Error("the input has changed")
	}
	verifiedBoot(t, dir)
	packages(t, dir, &signtest.Keys{})
	superImage(t, dir, r)
	if len(r.Endpoints) < 8 || r.Variant != "userdebug" || r.Groups[0].Size == 0 {
		t.Errorf("result %+v", r)
	}
	plan, err := os.ReadFile(filepath.Join(dir, FastbootFile))
	if err != nil || !strings.Contains(string(plan), "flash boot\nflash init_boot\nflash dtbo\nflash vendor_boot\nflash --apply-vbmeta vbmeta\n") {
		t.Errorf("%s: %s, %v", FastbootFile, plan, err)
	}
	update(t, dir, false)
}

// contents are the files of a folder, by name.
func contents(t *testing.T, dir string) map[string]mios.Digest {
	t.Helper()
	out := map[string]mios.Digest{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = mios.Sum(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// verifiedBoot follows the chain from vbmeta with the vendor's key.
func verifiedBoot(t *testing.T, dir string) {
	pub, err := avb.EncodePublicKey(&testkit.RSA(20).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	err = avbtool.Verify(context.Background(), filepath.Join(dir, "vbmeta.img"), avbtool.VerifyOptions{Key: pub, Follow: true}, nil, func(c avbtool.Check) { kinds[c.Kind]++ })
	if want := map[string]int{"vbmeta": 3, "chained": 2, "follow": 2, "hash": 4, "hashtree": 4}; err != nil || !maps.Equal(kinds, want) {
		t.Errorf("Verify = %v after %v, want %v", err, kinds, want)
	}
	for _, name := range []string{"system", "system_ext"} {
		imagetest.Run(t, "e2fsck", "-fn", filepath.Join(dir, name+".img"))
	}
	for _, name := range []string{"product", "vendor"} {
		imagetest.Run(t, "fsck.erofs", filepath.Join(dir, name+".img"))
	}
}

// packages verifies all packages of the images, and that none has a test key.
func packages(t *testing.T, dir string, test *signtest.Keys) {
	found := map[string]string{}
	for _, partition := range []string{"system", "system_ext", "product", "vendor"} {
		img := openImage(t, filepath.Join(dir, partition+".img"))
		err := fs.WalkDir(img, ".", func(name string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(name) != ".apk" {
				return err
			}
			b, err := fs.ReadFile(img, name)
			if err != nil {
				return err
			}
			r, err := apksig.Verify(t.Context(), bytes.NewReader(b), int64(len(b)), apksig.Options{})
			if err != nil || !r.Verified() {
				t.Errorf("%s/%s: %+v, %v", partition, name, r, err)
				return nil
			}
			for _, p := range test.Apps {
				if bytes.Equal(r.Signers()[0].Certificates[0], p.Certificate.Raw) {
					t.Errorf("%s/%s is signed with the test key %s", partition, name, p.Name)
				}
			}
			found[filepath.Base(name)] = name
			if strings.HasPrefix(filepath.Base(name), "org.mios.overlay") {
				apksigner(t, b)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, want := range []string{"Store.apk", "Notes.apk", "org.mios.overlay.phone.android.apk", "SystemUI.apk"} {
		if found[want] == "" {
			t.Errorf("no %s among %v", want, found)
		}
	}
}

// otaCerts looks for the vendor's key by which devices accept updates.
func otaCerts(t *testing.T, dir string) {
	b, err := fs.ReadFile(openImage(t, filepath.Join(dir, "system.img")), "system/etc/security/otacerts.zip")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(z.File) != 1 {
		t.Fatalf("otacerts.zip: %+v, %v", z, err)
	}
	text, err := fs.ReadFile(z, z.File[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s: no PEM", z.File[0].Name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if want := testkit.RSA(20 + slices.Index(vendor, "ota")).Public().(*rsa.PublicKey); !want.Equal(cert.PublicKey) {
		t.Errorf("%s is not of the vendor's ota key", z.File[0].Name)
	}
}

// apksigner and aapt2 judge an overlay.
func apksigner(t *testing.T, b []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "overlay.apk")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	imagetest.Run(t, "apksigner", "verify", "--min-sdk-version", "30", name)
	imagetest.Run(t, "zipalign", "-c", "4", name)
	if out := imagetest.Run(t, "aapt2", "dump", "resources", name); !strings.Contains(out, "example.com") && !strings.Contains(out, "c.example.") {
		t.Errorf("aapt2 dump resources:\n%s", out)
	}
}

// superImage reads super.img, and compares its partitions with the images.
func superImage(t *testing.T, dir string, r *Result) {
	f, size := imagetest.Open(t, filepath.Join(dir, SuperImage))
	m, err := sparse.Parse(f, size)
	if err != nil {
		t.Fatal(err)
	}
	img, damage, err := super.Read(m)
	if err != nil || damage != nil || m.Size() != r.SuperSize || img.Geometry.SlotCount != 3 {
		t.Fatalf("super.Read = %+v, %v, %v", img, damage, err)
	}
	md := img.Slots[0]
	for _, p := range r.Partitions {
		if !p.Logical {
			continue
		}
		q := md.Find(p.Name + "_a")
		if q == nil || q.Size() != p.Size || md.Find(p.Name+"_b").Size() != 0 {
			t.Errorf("partition %s: %+v", p.Name, q)
			continue
		}
		got := make([]byte, p.Size)
		if _, err := m.ReadAt(got, int64(q.Extents[0].Physical)*super.SectorSize); err != nil && err != io.EOF || mios.Sum(got) != p.SHA256 {
			t.Errorf("partition %s of super.img: other data than %s (%v)", p.Name, p.File, err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, SuperEmpty))
	if err != nil {
		t.Fatal(err)
	}
	if _, md, err := super.ReadEmpty(b); err != nil || len(md.Partitions) != 8 || md.Flags&super.FlagVirtualAB == 0 {
		t.Errorf("super_empty.img: %+v, %v", md, err)
	}
}

// update makes an update payload of a build with META, and looks at what is known
// for one without.
func update(t *testing.T, dir string, meta bool) {
	m, err := image.ReadManifest(dir)
	if err != nil || m.Base != "aosp" || len(m.SuperGroups()) != 1 || m.SecurityPatch != "2024-11-05" {
		t.Errorf("ReadManifest = %+v, %v", m, err)
	}
	in, err := input.Open(dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if d := in.Dynamic; d == nil || !d.SnapshotEnabled || d.VABCEnabled != meta || len(d.Groups) != 1 || len(d.Groups[0].Partitions) != 4 {
		t.Errorf("dynamic partitions %+v", d)
	}
	if !meta {
		return
	}
	full, err := ota.Of(in, ota.Options{Signers: []crypto.Signer{testkit.RSA(26)}})
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if _, err := ota.WriteFull(t.Context(), out, full); err != nil {
		t.Fatal(err)
	}
	u, err := ota.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	got := u.Metadata.Manifest
	if got.SecurityPatch != m.SecurityPatch || got.MaxTimestamp != m.BuildTime || len(got.Partitions) != len(m.Partitions) || len(got.Apexes) != 3 {
		t.Errorf("manifest: patch %q, timestamp %d, %d partitions, APEXes %v", got.SecurityPatch, got.MaxTimestamp, len(got.Partitions), got.Apexes)
	}
	for _, p := range got.Partitions {
		if b := m.Find(p.Name); b == nil || !bytes.Equal(p.NewInfo.Hash, b.SHA256[:]) {
			t.Errorf("partition %s of the payload is not that of the build", p.Name)
		}
	}
}

// imagesZip compares the zip with the folder.
func imagesZip(t *testing.T, dir string, r *Result) {
	z, err := zip.OpenReader(filepath.Join(dir, r.ImagesZip()))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		got, err := fs.ReadFile(z, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := os.ReadFile(filepath.Join(dir, f.Name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: other data than in the folder (%v)", f.Name, err)
		}
	}
	if len(z.File) != len(r.Partitions)+3 {
		t.Errorf("%d files in the zip of %d partitions", len(z.File), len(r.Partitions))
	}
	plan, err := os.ReadFile(filepath.Join(dir, FastbootFile))
	if err != nil || !strings.Contains(string(plan), "flash --apply-vbmeta vbmeta\n") {
		t.Errorf("%s: %s, %v", FastbootFile, plan, err)
	}
}
