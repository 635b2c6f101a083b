package sign_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"mios"
	"mios/build/image/avbtool"
	"mios/build/sign"
	"mios/build/sign/signtest"
	"mios/format/apksig"
	"mios/format/avb"
	"mios/format/sparse"
	"mios/format/super"
	"mios/format/targetfiles"
	"mios/key"
)

// TestRefusals has what is refused refused, with nothing left behind.
func TestRefusals(t *testing.T) {
	if testing.Short() {
		t.Skip("many signings of a build")
	}
	target := signtest.New(t, signtest.Options{})
	t.Run("missing keys", func(t *testing.T) { testMissing(t, target) })
	t.Run("unknown package", func(t *testing.T) { testUnknown(t, target) })
	t.Run("test key left", func(t *testing.T) { testLeft(t, target) })
	t.Run("debuggable", func(t *testing.T) {
		copied := copyTarget(t, target.Dir)
		put(t, copied, "BOOT/RAMDISK/force_debuggable", nil)
		refused(t, copied, sign.Options{Keys: vendorKeys(t)}, mios.ErrDenied)
	})
	t.Run("interrupted", func(t *testing.T) { testInterrupted(t, target) })
	t.Run("killed", func(t *testing.T) { testKilled(t, target) })
	t.Run("hostile", func(t *testing.T) { testHostile(t, target) })
}

// refused signs, and wants an error that wraps want, and an empty folder.
func refused(t *testing.T, in string, o sign.Options, want error) error {
	t.Helper()
	dir := t.TempDir()
	_, err := sign.TargetFiles(context.Background(), in, filepath.Join(dir, "out.zip"), o)
	if err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("error %v, want one that is %v", err, want)
	}
	empty(t, dir)
	return err
}

func empty(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) > 0 {
		t.Errorf("the folder of the result holds %v, %v; want nothing", list, err)
	}
}

// copyTarget copies a folder of target-files.
func copyTarget(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "target")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func put(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// testMissing wants all missing keys named at once, makes them, and signs.
func testMissing(t *testing.T, target *signtest.Target) {
	keys := vendorKeys(t, "media", "com.android.hello", "avb")
	err := refused(t, target.Dir, sign.Options{Keys: keys}, mios.ErrNotFound)
	var missing *sign.MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("error %v, want the missing keys", err)
	}
	var names []string
	for _, m := range missing.Keys {
		names = append(names, m.Name+" "+m.Use)
	}
	if want := []string{"avb avb", "com.android.hello apex", "media apk"}; !slices.Equal(names, want) {
		t.Errorf("missing %q, want %q", names, want)
	}
	for _, text := range []string{"3 keys are not in", "media (apk), in place of build/make/target/product/security/media", "mios sign keys"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
	dir := t.TempDir()
	plan, err := sign.Plan(context.Background(), target.Dir, dir, sign.Options{Keys: keys})
	if err != nil || len(plan.Missing) != 3 || len(plan.Changes) < 20 {
		t.Fatalf("plan: %d missing, %d changes, %v; want 3, and over 20", len(plan.Missing), len(plan.Changes), err)
	}
	empty(t, dir)
	made := 0
	if err := sign.MakeKeys(keys.Path, plan.Missing[2:], "", false, func(string) { made++ }); err != nil || made != 1 {
		t.Fatalf("made %d keys, %v; want media's", made, err)
	}
	addKeys(t, keys.Path, "com.android.hello", "avb")
	out := filepath.Join(t.TempDir(), "out.zip")
	put(t, filepath.Dir(out), "out.zip", []byte("the last release"))
	if _, err := sign.TargetFiles(context.Background(), target.Dir, out, sign.Options{Keys: keys}); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("signed over a file that was there: %v", err)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "the last release" {
		t.Errorf("what was there is %.20q now, %v", b, err)
	}
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	if _, err := sign.TargetFiles(context.Background(), target.Dir, out, sign.Options{Keys: keys}); err != nil {
		t.Error(err)
	}
	var desk []string
	if err := sign.MakeKeys(filepath.Join(dir, "dev"), plan.Missing[2:], "", true, func(name string) { desk = append(desk, name) }); err != nil || !slices.Equal(desk, []string{"avb", "media"}) {
		t.Errorf("made development keys %q, %v; want avb, which marks the folder, and media", desk, err)
	}
}

func testUnknown(t *testing.T, target *signtest.Target) {
	copied := copyTarget(t, target.Dir)
	b, err := os.ReadFile(filepath.Join(copied, "SYSTEM/app/Clock/Clock.apk"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, copied, "PRODUCT/app/A/A.apk", b)
	put(t, copied, "PRODUCT/app/B/B.apk", b)
	keys := vendorKeys(t)
	err = refused(t, copied, sign.Options{Keys: keys}, mios.ErrNotFound)
	if !strings.Contains(err.Error(), "PRODUCT/app/A/A.apk, PRODUCT/app/B/B.apk") {
		t.Errorf("error %v does not name both packages", err)
	}
	out := filepath.Join(t.TempDir(), "out.zip")
	o := sign.Options{Keys: keys, Packages: map[string]string{"A.apk": "platform", "B.apk": "build/make/target/product/security/testkey"}}
	if _, err := sign.TargetFiles(context.Background(), copied, out, o); err != nil {
		t.Fatal(err)
	}
	if a, b := signerOf(t, out, "PRODUCT/app/A/A.apk"), signerOf(t, out, "SYSTEM/priv-app/SystemUI/SystemUI.apk"); a != b {
		t.Errorf("A.apk is signed by %v, want platform's %v", a, b)
	}
	if a, b := signerOf(t, out, "PRODUCT/app/B/B.apk"), signerOf(t, out, "SYSTEM/app/Clock/Clock.apk"); a != b {
		t.Errorf("B.apk is signed by %v, want releasekey's %v", a, b)
	}
}

// signerOf returns the digest of the certificate that an APK of a zip is signed
// with.
func signerOf(t *testing.T, file, name string) mios.Digest {
	t.Helper()
	src, err := targetfiles.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	b, err := src.Entry(name).ReadAll(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	p, err := apksig.Inspect(context.Background(), bytes.NewReader(b), int64(len(b)), 35)
	if err != nil {
		t.Fatal(err)
	}
	return p.Signers[0]
}

// testLeft keeps a package that a test key has signed: it is refused, and where
// the key is stands in the error.
func testLeft(t *testing.T, target *signtest.Target) {
	o := sign.Options{Keys: vendorKeys(t), Packages: map[string]string{"MediaProvider.apk": "", "SystemUI.apk": sign.Presigned}}
	err := refused(t, target.Dir, o, sign.ErrTestKeys)
	if !strings.Contains(err.Error(), "SYSTEM/priv-app/SystemUI/SystemUI.apk") || !strings.Contains(err.Error(), "IMAGES/system.img") {
		t.Errorf("error %v does not say where", err)
	}
	if strings.Contains(err.Error(), "MediaProvider") {
		t.Errorf("error %v names what nothing else is signed with", err)
	}
	o.AllowTestKeys = true
	r, err := sign.TargetFiles(context.Background(), target.Dir, filepath.Join(t.TempDir(), "out.zip"), o)
	if err != nil || len(r.Left) == 0 {
		t.Errorf("with AllowTestKeys: %v, %v; want a list", r, err)
	}
}

// testInterrupted ends signing at each stage.
func testInterrupted(t *testing.T, target *signtest.Target) {
	keys := vendorKeys(t)
	for _, stage := range []string{"sign", "hash system", "write", "verify"} {
		ctx, cancel := context.WithCancel(context.Background())
		dir := t.TempDir()
		var reached atomic.Bool
		o := sign.Options{Keys: keys, Progress: func(what string, _, _ int64) {
			if what == stage {
				reached.Store(true)
				cancel()
			}
		}}
		_, err := sign.TargetFiles(ctx, target.Dir, filepath.Join(dir, "out.zip"), o)
		cancel()
		if !errors.Is(err, context.Canceled) || !reached.Load() {
			t.Errorf("%s: error %v (reached %v), want that of the context", stage, err, reached.Load())
		}
		empty(t, dir)
	}
}

// killEnv has this program sign what it names and kill itself.
const killEnv = "MIOS_TEST_SIGN_AND_DIE"

func TestMain(m *testing.M) {
	if spec := os.Getenv(killEnv); spec != "" {
		f := strings.Split(spec, "|")
		_, err := sign.TargetFiles(context.Background(), f[0], f[1], sign.Options{Keys: sign.Folder{Path: f[2]}, Progress: func(what string, _, _ int64) {
			if what == f[3] {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}})
		panic(err) // it was not killed
	}
	os.Exit(m.Run())
}

// testKilled kills a process that signs: there is no result, and the next run
// leaves nothing of the last.
func testKilled(t *testing.T, target *signtest.Target) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	keys, dir := vendorKeys(t), t.TempDir()
	out := filepath.Join(dir, "out.zip")
	for _, stage := range []string{"write", "verify"} {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), killEnv+"="+strings.Join([]string{target.Dir, out, keys.Path, stage}, "|"))
		if b, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("%s: %v: %s; want it killed", stage, err, b)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: there is a result: %v", stage, err)
		}
	}
	if _, err := sign.TargetFiles(context.Background(), target.Dir, out, sign.Options{Keys: keys}); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("the folder holds %v, %v; want the result alone", list, err)
	}
}

// testHostile cuts and changes a zip: each is refused, or signed.
func testHostile(t *testing.T, target *signtest.Target) {
	good, err := os.ReadFile(target.Zip(t))
	if err != nil {
		t.Fatal(err)
	}
	keys := vendorKeys(t)
	for _, n := range []int{0, 1, 22, 1000, len(good) / 2, len(good) - 1} {
		name := filepath.Join(t.TempDir(), "cut.zip")
		if err := os.WriteFile(name, good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, name, sign.Options{Keys: keys}, nil)
	}
	bad := copyTarget(t, target.Dir)
	put(t, bad, "SYSTEM/apex/com.android.hello.apex", []byte("PK\x03\x04"))
	refused(t, bad, sign.Options{Keys: keys}, nil)
	bad = copyTarget(t, target.Dir)
	put(t, bad, "META/apkcerts.txt", []byte("name=\"x\"\n"))
	refused(t, bad, sign.Options{Keys: keys}, nil)
	bad = copyTarget(t, target.Dir)
	put(t, bad, "SYSTEM/etc/selinux/plat_mac_permissions.xml", []byte("<policy><signer signature=\"zz\"/></policy>"))
	refused(t, bad, sign.Options{Keys: keys}, nil)
	bad = copyTarget(t, target.Dir)
	if err := os.Truncate(filepath.Join(bad, "IMAGES/system.img"), 1<<20); err != nil {
		t.Fatal(err)
	}
	refused(t, bad, sign.Options{Keys: keys}, nil)
}

// TestOptions signs with options that change what is done.
func TestOptions(t *testing.T) {
	if testing.Short() {
		t.Skip("many signings of a build")
	}
	target := signtest.New(t, signtest.Options{})
	keys := vendorKeys(t, "platform", "avb-boot")
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Save(filepath.Join(keys.Path, "app-platform.pem"), k, "", ""); err != nil {
		t.Fatal(err)
	}
	err = refused(t, target.Dir, sign.Options{
		Keys: keys, Packages: map[string]string{"Clokc.apk": "media"}, Payloads: map[string]string{"com.android.helo.apex": "avb"},
		AVB: map[string]string{"nope": "avb"}, Rollback: map[string]uint64{"vbmetaa": 3, "vbmeta": 3},
	}, mios.ErrNotFound)
	if want := "no package Clokc.apk, no APEX com.android.helo.apex, no signed partition nope, no signed partition vbmetaa:"; !strings.Contains(err.Error(), want) {
		t.Errorf("options for what is not there: %v, want %q", err, want)
	}
	out := filepath.Join(t.TempDir(), "out.zip")
	r, err := sign.TargetFiles(context.Background(), target.Dir, out, sign.Options{
		Keys: keys, Tags: []string{"-test-keys", "+vendor-keys"}, Rollback: map[string]uint64{"vbmeta": 7},
		Mapping: map[string]string{"media": "releasekey"}, OTACerts: []string{"shared"}, AVB: map[string]string{"vbmeta_system": "com.android.hello"},
		Payloads: map[string]string{"com.android.hello.apex": "avb"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(r); err != nil || !bytes.Contains(b, []byte(`"what":"payload","path":"SYSTEM/apex/com.android.hello.apex!/apex_payload.img"`)) {
		t.Errorf("report: %s, %v", b, err)
	}
	dir := unzip(t, out)
	m, err := avbtool.Read(filepath.Join(dir, "IMAGES/vbmeta.img"))
	if err != nil || m.RollbackIndex != 7 {
		t.Errorf("rollback index %d, %v; want 7", m.RollbackIndex, err)
	}
	_, want := avbKey(t, keys, "com.android.hello")
	for _, d := range m.Descriptors {
		if d, ok := d.(*avb.ChainPartitionDescriptor); ok && d.PartitionName == "vbmeta_system" && !bytes.Equal(d.PublicKey, want) {
			t.Error("the chain to vbmeta_system has another key")
		}
	}
	if a, b := signerOf(t, out, "PRODUCT/priv-app/MediaProvider/MediaProvider.apk"), signerOf(t, out, "SYSTEM/app/Clock/Clock.apk"); a != b {
		t.Errorf("media's package is signed by %v, want releasekey's %v", a, b)
	}
	for name, text := range map[string]string{"SYSTEM/build.prop": "/vendor-keys", "META/otakeys.txt": "shared.x509.pem", "META/misc_info.txt": "avb_vbmeta_args=--padding_size 4096 --rollback_index 7"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Contains(b, []byte(text)) {
			t.Errorf("%s has no %q: %v", name, text, err)
		}
	}
}

// TestImages signs a folder of images alone, with sparse ones and a super
// partition of them.
func TestImages(t *testing.T) {
	if testing.Short() {
		t.Skip("two signings of images")
	}
	target := signtest.New(t, signtest.Options{})
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(target.Dir, "IMAGES"))); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, "super_empty.img"))
	makeSuper(t, dir, "system_a", "vendor_a")
	makeSparse(t, filepath.Join(dir, "system.img"))
	keys := vendorKeys(t)
	out := filepath.Join(t.TempDir(), "signed")
	// Nothing says whose the packages are: those that AOSP's test keys have signed
	// would be known, and these are of nobody.
	refused(t, dir, sign.Options{Keys: keys}, sign.ErrTestKeys)
	o := sign.Options{Keys: keys, Packages: map[string]string{"Vendor.apk": "", "Contacts.apk": "shared", "NetworkStack.apk": "networkstack", "MediaProvider.apk": "media"}}
	for _, name := range []string{"framework-res", "SystemUI", "Radio", "HelloApex"} {
		o.Packages[name+".apk"] = "platform"
	}
	for _, name := range []string{"Clock", "Overlay"} {
		o.Packages[name+".apk"] = "testkey"
	}
	if _, err := os.Stat(filepath.Join(target.Dir, "PRODUCT/app/ApiDemos")); err == nil { // with the vectors alone
		o.Packages["ApiDemos.apk"] = "testkey"
	}
	o.Packages["com.android.hello.apex"], o.Packages["com.android.compressed.capex"] = "com.android.hello", "com.android.compressed"
	if _, err := sign.TargetFiles(context.Background(), dir, out, o); err != nil {
		t.Fatal(err)
	}
	_, vbmeta := avbKey(t, keys, "avb")
	err := avbtool.Verify(context.Background(), filepath.Join(out, "vbmeta.img"), avbtool.VerifyOptions{Key: vbmeta, Follow: true}, nil, func(avbtool.Check) {})
	if err != nil && !strings.Contains(err.Error(), "expected") {
		t.Error(err)
	}
	f, err := os.Open(filepath.Join(out, "super.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, damage, err := super.Read(f)
	if err != nil || len(damage) > 0 {
		t.Fatalf("super: %v, %v", damage, err)
	}
	for _, name := range []string{"system", "vendor"} {
		want, err := avbtool.Read(filepath.Join(out, name+".img"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := img.Slots[0].Reader(name+"_a", f)
		if err != nil {
			t.Fatal(err)
		}
		raw, _, err := avb.Read(r, r.Size())
		if err != nil || !bytes.Equal(raw, want.Raw) {
			t.Errorf("%s in super is not %s.img: %v", name, name, err)
		}
		if bytes.Contains(raw, []byte("test-keys")) {
			t.Errorf("%s in super says test-keys", name)
		}
	}
	if m, err := avbtool.Open(filepath.Join(out, "system.img")); err != nil || !m.Sparse() {
		t.Errorf("system.img is not sparse any more: %v", err)
	}
}

// makeSuper writes super.img with images of the folder.
func makeSuper(t *testing.T, dir string, partitions ...string) {
	t.Helper()
	s := super.Spec{Size: 64 << 20, Groups: []super.Group{{Name: "main_a", MaxSize: 60 << 20}}}
	contents := map[string]super.Content{}
	for _, name := range partitions {
		b, err := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(name, "_a")+".img"))
		if err != nil {
			t.Fatal(err)
		}
		s.Partitions = append(s.Partitions, super.PartitionSpec{Name: name, Group: "main_a", Size: int64(len(b))})
		contents[name] = super.Content{R: bytes.NewReader(b), Size: int64(len(b))}
	}
	img, err := super.Build(s)
	if err != nil {
		t.Fatal(err)
	}
	disks, err := img.Disks(contents)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "super.img"))
	if err == nil {
		err = errors.Join(disks[0].WriteRaw(context.Background(), f, nil), f.Truncate(disks[0].Size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// makeSparse makes an image sparse.
func makeSparse(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := sparse.Scan(context.Background(), bytes.NewReader(b), int64(len(b)), 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := m.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
