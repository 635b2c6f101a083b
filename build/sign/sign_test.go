package sign_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mios"
	"mios/build/image/avbtool"
	"mios/build/sign"
	"mios/build/sign/signtest"
	"mios/format/avb"
	"mios/format/targetfiles"
	"mios/internal/tool"
	"mios/key"
)

// roles are the keys that the build of signtest needs, and their sizes.
var roles = map[string]int{
	"releasekey": 2048, "platform": 2048, "shared": 2048, "media": 2048, "networkstack": 2048,
	"com.android.hello": 2048, "com.android.compressed": 2048, "avb": 4096, "avb-boot": 2048,
}

// vendor are a vendor's keys, made once: that takes a while.
var vendor = sync.OnceValues(func() (map[string]*rsa.PrivateKey, error) {
	keys := map[string]*rsa.PrivateKey{}
	for name, bits := range roles {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		keys[name] = k
	}
	return keys, nil
})

// vendorKeys makes a folder of a vendor's keys, without those named.
func vendorKeys(t *testing.T, without ...string) sign.Folder {
	t.Helper()
	dir := t.TempDir()
	for name := range roles {
		if !slices.Contains(without, name) {
			addKeys(t, dir, name)
		}
	}
	return sign.Folder{Path: dir}
}

// addKeys puts keys of the vendor's into a folder.
func addKeys(t *testing.T, dir string, names ...string) {
	t.Helper()
	keys, err := vendor()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := key.Save(filepath.Join(dir, name+".pem"), keys[name], "", ""); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSigned signs a build, and has all judges say what they think of it.
func TestSigned(t *testing.T) {
	target := signtest.New(t, signtest.Options{})
	in, keys := target.Zip(t), vendorKeys(t)
	out := filepath.Join(t.TempDir(), "signed.zip")
	r, err := sign.TargetFiles(context.Background(), in, out, sign.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	dir := unzip(t, out)
	t.Run("avbtool", func(t *testing.T) { testAVBTool(t, dir, keys) })
	t.Run("avb", func(t *testing.T) { testAVB(t, dir, keys) })
	t.Run("apksigner", func(t *testing.T) { testApksigner(t, dir, keys) })
	t.Run("filesystems", func(t *testing.T) { testFileSystems(t, dir) })
	t.Run("no test key", func(t *testing.T) { testNoTestKey(t, dir, target.Keys) })
	t.Run("untouched", func(t *testing.T) { testUntouched(t, in, out, r) })
	t.Run("texts", func(t *testing.T) { testTexts(t, dir) })
	if testing.Short() {
		return
	}
	t.Run("again", func(t *testing.T) { testAgain(t, in, out, keys) })
	t.Run("folder", func(t *testing.T) { testFolder(t, target.Dir, dir, keys) })
	t.Run("signed twice", func(t *testing.T) { testTwice(t, out, keys) })
}

// unzip unpacks a zip into a folder.
func unzip(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	src, err := targetfiles.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	w, err := targetfiles.NewDirWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range src.Entries {
		if err := w.Copy(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// avbKey writes a vendor's key as avbtool wants it, and returns it too.
func avbKey(t *testing.T, keys sign.Folder, name string) (file string, pub []byte) {
	t.Helper()
	k, err := keys.Key(name)
	if err != nil {
		t.Fatal(err)
	}
	if pub, err = avb.EncodePublicKey(k.Signer.Public().(*rsa.PublicKey)); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), name+".avbpubkey")
	if err := os.WriteFile(file, pub, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, pub
}

// testAVBTool has AOSP's avbtool verify the images.
func testAVBTool(t *testing.T, dir string, keys sign.Folder) {
	program := os.Getenv("MIOS_AVBTOOL")
	if program == "" {
		t.Skip("MIOS_AVBTOOL names no avbtool (external/avb/avbtool.py of AOSP)")
	}
	boot, _ := avbKey(t, keys, "avb-boot")
	vbmeta, _ := avbKey(t, keys, "avb")
	images := filepath.Join(dir, "IMAGES")
	run := func(args ...string) {
		t.Helper()
		b, err := exec.Command(program, args...).CombinedOutput()
		if err != nil {
			t.Errorf("avbtool %v: %v\n%s", args, err, b)
			return
		}
		t.Logf("%s", b)
	}
	run("verify_image", "--image", filepath.Join(images, "vbmeta.img"), "--key", keys.Path+"/avb.pem",
		"--expected_chain_partition", "boot:2:"+boot, "--expected_chain_partition", "vbmeta_system:1:"+vbmeta)
	run("verify_image", "--image", filepath.Join(images, "vbmeta_system.img"), "--key", keys.Path+"/avb.pem")
	run("verify_image", "--image", filepath.Join(images, "boot.img"), "--key", keys.Path+"/avb-boot.pem")
}

// testAVB has our own verifier do the same.
func testAVB(t *testing.T, dir string, keys sign.Folder) {
	_, boot := avbKey(t, keys, "avb-boot")
	_, vbmeta := avbKey(t, keys, "avb")
	var kinds []string
	err := avbtool.Verify(context.Background(), filepath.Join(dir, "IMAGES/vbmeta.img"), avbtool.VerifyOptions{
		Key: vbmeta, Follow: true, Chains: map[string]*avb.ChainPartitionDescriptor{
			"boot":          {PartitionName: "boot", RollbackIndexLocation: 2, PublicKey: boot},
			"vbmeta_system": {PartitionName: "vbmeta_system", RollbackIndexLocation: 1, PublicKey: vbmeta},
		},
	}, nil, func(c avbtool.Check) { kinds = append(kinds, c.Kind+" "+c.Partition) })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hash init_boot", "hash vendor_boot", "hash dtbo", "hashtree vendor", "hashtree system", "hashtree product"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("verified %q, without %s", kinds, want)
		}
	}
	m, err := avbtool.Read(filepath.Join(dir, "IMAGES/boot.img"))
	if err != nil || m.RollbackIndex != 1730764800 || m.Algorithm != avb.SHA256RSA2048 {
		t.Errorf("boot: rollback index %d, algorithm %v, error %v; want those that it had", m.RollbackIndex, m.Algorithm, err)
	}
}

// testApksigner has Debian's apksigner verify each package, and compares who has
// signed it.
func testApksigner(t *testing.T, dir string, keys sign.Folder) {
	apksigner, err := tool.Look("apksigner")
	if err != nil {
		t.Fatal(err)
	}
	for name, role := range map[string]string{
		"SYSTEM/app/Clock/Clock.apk": "releasekey", "SYSTEM/framework/framework-res.apk": "platform",
		"PRODUCT/priv-app/MediaProvider/MediaProvider.apk": "media",
		"SYSTEM/apex/com.android.hello.apex":               "com.android.hello", "SYSTEM/apex/com.android.compressed.capex": "com.android.compressed",
	} {
		b, err := exec.Command(apksigner, "verify", "-v", "--min-sdk-version", "30", "--print-certs", filepath.Join(dir, name)).CombinedOutput()
		if err != nil {
			t.Errorf("apksigner verify %s: %v\n%s", name, err, b)
			continue
		}
		k, err := keys.Key(role)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(k.Signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		if want := mios.Sum(der).String(); !strings.Contains(string(b), "public key SHA-256 digest: "+want) {
			t.Errorf("%s is signed by\n%swant the key %s, %s", name, b, role, want)
		}
	}
}

// testFileSystems has those who keep the formats check the images.
func testFileSystems(t *testing.T, dir string) {
	for name, args := range map[string][]string{
		"system": {"e2fsck", "-fn"}, "system_ext": {"e2fsck", "-fn"}, "product": {"fsck.erofs"}, "vendor": {"fsck.erofs"},
	} {
		program, err := tool.Look(args[0])
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "IMAGES", name+".img")
		m, err := avbtool.Read(file)
		if err == nil {
			err = os.Truncate(file, int64(m.Footer.OriginalImageSize))
		}
		if err != nil {
			t.Fatal(err)
		}
		if b, err := exec.Command(program, append(args[1:], file)...).CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v\n%s", args[0], name, err, b)
		}
	}
}

// testNoTestKey looks for the test keys in every file: of the folder, and of the
// images, as other tools unpack them.
func testNoTestKey(t *testing.T, dir string, test *signtest.Keys) {
	var needles [][]byte
	for _, pub := range test.Public() {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		n := pub.(*rsa.PublicKey).N.Bytes()
		needles = append(needles, der, n[:64], n[len(n)-64:])
	}
	dirs := []string{dir}
	for name, unpack := range map[string][]string{
		"system": {"debugfs", "-R", "rdump / OUT", "IMAGE"}, "system_ext": {"debugfs", "-R", "rdump / OUT", "IMAGE"},
		"product": {"fsck.erofs", "--extract=OUT", "--no-preserve", "IMAGE"}, "vendor": {"fsck.erofs", "--extract=OUT", "--no-preserve", "IMAGE"},
	} {
		out := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		if unpack[0] == "fsck.erofs" {
			os.Remove(out)
		}
		for i := range unpack {
			unpack[i] = strings.NewReplacer("OUT", out, "IMAGE", filepath.Join(dir, "IMAGES", name+".img")).Replace(unpack[i])
		}
		program, err := tool.Look(unpack[0])
		if err != nil {
			t.Fatal(err)
		}
		if b, err := exec.Command(program, unpack[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", unpack, err, b)
		}
		dirs = append(dirs, out)
	}
	files := 0
	for _, d := range dirs {
		err := filepath.WalkDir(d, func(name string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			files++
			b, err := os.ReadFile(name)
			if err == nil {
				lookFor(t, name, b, needles)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 100 {
		t.Errorf("looked into %d files: the walk is broken", files)
	}
}

// lookFor looks for needles in a file, and in the files of one that is a zip.
func lookFor(t *testing.T, name string, b []byte, needles [][]byte) {
	t.Helper()
	for _, n := range needles {
		if bytes.Contains(b, n) {
			t.Errorf("%s has a test key", name)
		}
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		inner, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		lookFor(t, name+"!/"+f.Name, inner, needles)
	}
}

// testUntouched compares what the report does not name.
func testUntouched(t *testing.T, in, out string, r *sign.Report) {
	changed := map[string]bool{}
	for _, c := range r.Changes {
		name, _, _ := strings.Cut(c.Path, "!/")
		changed[name] = true
	}
	old, err := zip.OpenReader(in)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	now, err := zip.OpenReader(out)
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	if len(old.File) != len(now.File) {
		t.Errorf("%d entries became %d", len(old.File), len(now.File))
	}
	same := 0
	for i, f := range old.File {
		g := now.File[i]
		if f.Name != g.Name || f.Mode() != g.Mode() || f.Method != g.Method {
			t.Errorf("entry %d: %s %v %d became %s %v %d", i, f.Name, f.Mode(), f.Method, g.Name, g.Mode(), g.Method)
		}
		if changed[f.Name] {
			continue
		}
		same++
		if f.CRC32 != g.CRC32 || f.CompressedSize64 != g.CompressedSize64 {
			t.Errorf("%s is another file, and the report does not say so", f.Name)
		}
	}
	if same < 20 || !slices.Contains(r.Kept, "PRODUCT/app/Vendor/Vendor.apk") {
		t.Errorf("%d entries are as they were; kept %q", same, r.Kept)
	}
}

// testTexts looks at properties and META.
func testTexts(t *testing.T, dir string) {
	for name, want := range map[string]string{
		"SYSTEM/build.prop": "/release-keys", "VENDOR/build.prop": "/release-keys",
		"META/misc_info.txt":   "avb_boot_key_path=avb-boot.pem",
		"META/apkcerts.txt":    `name="Clock.apk" certificate="releasekey.x509.pem" private_key="releasekey.pk8"`,
		"META/apexkeys.txt":    `public_key="com.android.hello.avbpubkey"`,
		"META/otakeys.txt":     "releasekey.x509.pem",
		"META/care_map.pb":     "/release-keys",
		"META/apex_info.pb":    "com.android.hello",
		"IMAGES/vbmeta.img":    "AVB0",
		"OTA/android-info.txt": "board=tester",
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(b), want) {
			t.Errorf("%s has no %q", name, want)
		}
		if i := bytes.Index(b, []byte("test-keys")); i >= 0 {
			t.Errorf("%s says test-keys: %.80q", name, b[max(0, i-40):])
		}
	}
}

// testAgain signs again: the same bytes.
func testAgain(t *testing.T, in, out string, keys sign.Folder) {
	again := filepath.Join(t.TempDir(), "again.zip")
	if _, err := sign.TargetFiles(context.Background(), in, again, sign.Options{Keys: keys}); err != nil {
		t.Fatal(err)
	}
	a, errA := os.ReadFile(out)
	b, errB := os.ReadFile(again)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the same build and keys gave other bytes")
	}
}

// testFolder signs the folder instead of the zip of it: the same images.
func testFolder(t *testing.T, in, signed string, keys sign.Folder) {
	out := filepath.Join(t.TempDir(), "signed")
	if _, err := sign.TargetFiles(context.Background(), in, out, sign.Options{Keys: keys}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"IMAGES/vbmeta.img", "IMAGES/vbmeta_system.img", "SYSTEM/app/Clock/Clock.apk", "META/vbmeta_digest.txt"} {
		a, errA := os.ReadFile(filepath.Join(out, name))
		b, errB := os.ReadFile(filepath.Join(signed, name))
		if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s of the folder is not that of the zip: %v", name, err)
		}
	}
}

// testTwice signs what is signed already: META names the vendor's keys now, and
// nothing is lost.
func testTwice(t *testing.T, in string, keys sign.Folder) {
	out := filepath.Join(t.TempDir(), "twice.zip")
	if _, err := sign.TargetFiles(context.Background(), in, out, sign.Options{Keys: keys}); err != nil {
		t.Fatal(err)
	}
	testUntouchedBytes(t, in, out, "SYSTEM/app/Clock/Clock.apk", "IMAGES/vbmeta.img", "IMAGES/boot.img")
}

// testUntouchedBytes compares entries of two zips.
func testUntouchedBytes(t *testing.T, a, b string, names ...string) {
	t.Helper()
	read := func(file, name string) []byte {
		src, err := targetfiles.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		data, err := src.Entry(name).ReadAll(64 << 20)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, n := range names {
		if !bytes.Equal(read(a, n), read(b, n)) {
			t.Errorf("%s is not the same", n)
		}
	}
}
