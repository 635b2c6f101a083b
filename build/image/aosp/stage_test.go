package aosp

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	"mios/build/fstree"
	"mios/build/image/avbtool"
	"mios/build/product"
	"mios/build/sign/signtest"
	"mios/format/fsimage/imagetest"
	"mios/format/targetfiles"
	"mios/internal/testkit"
)

// definition is a product that brings something of everything.
const definition = `product: phone
class: phone
base: aosp
arch: [arm64]
aosp: {target_files: in, remove: [/system/app/Clock, /product/app/Vendor/Vendor.apk]}
apps:
  - {apk: Store.apk, privileged: true, key: platform, permissions: [android.permission.INSTALL_PACKAGES]}
  - {apk: Notes.apk, partition: system_ext}
brand: {brand: acme, model: Acme One}
repository: [https://updates.example.com/]
hosts: [updates.example.com, c.example.com, c.example.net, time.example.com, supl.example.com, psds.example.com, rkp.example.com]
endpoints:
  captive_portal: {http: http://c.example.com/generate_204, https: https://c.example.com/generate_204, fallback: [http://c.example.net/gen_204]}
  ntp: [ntp://time.example.com]
  gnss_ntp: time.example.com
  supl: {host: supl.example.com, port: 7275}
  psds: [https://psds.example.com/lto2.dat]
  remote_provisioning: rkp.example.com
`

// newProduct loads a definition with two apps beside it.
func newProduct(tb testing.TB, text string) *product.Product {
	tb.Helper()
	dir := tb.TempDir()
	store := signtest.Package(tb, "org.example.store", `<uses-permission android:name="android.permission.INSTALL_PACKAGES"/>`, "lib/arm64-v8a/libstore.so")
	notes := signtest.Package(tb, "org.example.notes", "")
	for name, data := range map[string][]byte{"product.yaml": []byte(text), "Store.apk": store, "Notes.apk": signtest.Sign(tb, notes, testkit.RSA(7))} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	p, err := product.Load(filepath.Join(dir, "product.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// staged lays out a build of the folder or zip at in.
func staged(tb testing.TB, p *product.Product, in string) (*builder, error) {
	tb.Helper()
	src, err := openSource(in)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { src.close() })
	b := &builder{
		Config: &Config{Product: p, TargetFiles: in, Root: []byte("{}")}, ctx: context.Background(), src: src,
		staged: filepath.Join(tb.TempDir(), "staged"), out: &Result{},
	}
	for _, step := range []func() error{b.readBuild, b.additions, b.stage} {
		if err := step(); err != nil {
			return b, err
		}
	}
	return b, nil
}

// testStage has the tools of the file systems say that the images are right, and
// looks at what was added.
func testStage(t *testing.T, x *signtest.Target, zip string) {
	for _, in := range []struct{ name, path string }{{"folder", x.Dir}, {"zip", zip}} {
		t.Run(in.name, func(t *testing.T) {
			b, err := staged(t, newProduct(t, definition), in.path)
			if err != nil {
				t.Fatal(err)
			}
			if in.name == "folder" {
				for _, name := range []string{"system", "system_ext"} {
					imagetest.Run(t, "e2fsck", "-fn", b.stagedImage(name))
				}
				for _, name := range []string{"product", "vendor"} {
					imagetest.Run(t, "fsck.erofs", b.stagedImage(name))
				}
			}
			for _, name := range []string{"system", "system_ext", "product", "vendor"} {
				if err := avbtool.Verify(b.ctx, b.stagedImage(name), avbtool.VerifyOptions{}, nil, func(avbtool.Check) {}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			checkFiles(t, b)
		})
	}
}

// TestLinkOutOfMeta does not read what a link of the build's leads to outside.
func TestLinkOutOfMeta(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	b := &builder{staged: filepath.Join(dir, "staged")}
	for name, text := range map[string]string{"staged/META/misc_info.txt": "ab_update=true\n", "staged/SYSTEM/build.prop": "a=b\n", "secret": "secret"} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if b.src, err = openSource(b.staged); err != nil {
		t.Fatal(err)
	}
	defer b.src.close()
	if err := os.Symlink(secret, filepath.Join(b.staged, "META/filesystem_config.txt")); err != nil {
		t.Fatal(err)
	}
	if err := b.filesystemConfig("system"); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("filesystemConfig of a link that leads out = %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(b.staged, "META/filesystem_config.txt")); err != nil || string(got) != "secret" {
		t.Errorf("it was written: %q, %v", got, err)
	}
}

func checkFiles(t *testing.T, b *builder) {
	images := map[string]*fstree.Image{}
	for _, name := range []string{"system", "system_ext", "product", "vendor"} {
		images[name] = openImage(t, b.stagedImage(name))
	}
	const overlay = "overlay/org.mios.overlay.phone."
	for _, tt := range []struct{ image, in, tree, label, contains string }{
		{"product", "priv-app/Store/Store.apk", "PRODUCT/priv-app/Store/Store.apk", "system_file", ""},
		{"product", "priv-app/Store/lib/arm64/libstore.so", "PRODUCT/priv-app/Store/lib/arm64/libstore.so", "system_file", ""},
		{"product", "etc/permissions/privapp-permissions-org.example.store.xml", "", "system_file", `<permission name="android.permission.INSTALL_PACKAGES">`},
		{"product", overlay + "android.apk", "PRODUCT/" + overlay + "android.apk", "system_file", ""},
		{"product", overlay + "com_android_networkstack.apk", "", "system_file", ""},
		{"product", overlay + "com_android_connectivity_resources.apk", "", "system_file", ""},
		{"product", "etc/mios/root.json", "PRODUCT/etc/mios/root.json", "system_file", "{}"},
		{"product", "etc/mios/device.json", "", "system_file", `"product": "phone"`},
		{"product", "etc/build.prop", "PRODUCT/etc/build.prop", "system_file", "ro.product.product.model=Acme One\n"},
		{"product", "etc/build.prop", "", "system_file", "remote_provisioning.hostname=rkp.example.com\n"},
		{"system_ext", "app/Notes/Notes.apk", "SYSTEM_EXT/app/Notes/Notes.apk", "system_file", ""},
		{"vendor", "etc/gps.conf", "VENDOR/etc/gps.conf", "vendor_configs_file", "SUPL_HOST=supl.example.com\nSUPL_PORT=7275\nLONGTERM_PSDS_SERVER_1=https://psds.example.com/lto2.dat\n"},
		{"system", "system/etc/gps_debug.conf", "SYSTEM/etc/gps_debug.conf", "system_file", "NTP_SERVER=time.example.com\n"},
	} {
		n, err := images[tt.image].Lookup(tt.in, false)
		if err != nil {
			t.Errorf("%s: %v", tt.image, err)
			continue
		}
		if label, err := fstree.Label(n); err != nil || label != "u:object_r:"+tt.label+":s0" {
			t.Errorf("%s: label %q, %v", tt.in, label, err)
		}
		if info := n.Info(); info.UID != 0 || info.GID != 0 || info.Mode.Perm() != 0o644 {
			t.Errorf("%s: %+v", tt.in, info)
		}
		var data strings.Builder
		if _, err := images[tt.image].Copy(&data, n); err != nil || !strings.Contains(data.String(), tt.contains) {
			t.Errorf("%s: %.200q, %v; want %q in it", tt.in, data.String(), err, tt.contains)
		}
		if tt.tree != "" {
			if got, err := os.ReadFile(filepath.Join(b.staged, tt.tree)); err != nil || string(got) != data.String() {
				t.Errorf("%s: other data than in the image (%v)", tt.tree, err)
			}
		}
	}
	for _, gone := range [][3]string{{"system", "system/app/Clock", "SYSTEM/app/Clock"}, {"product", "app/Vendor/Vendor.apk", "PRODUCT/app/Vendor/Vendor.apk"}} {
		if _, err := images[gone[0]].Lookup(gone[1], false); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone[1], err)
		}
		if _, err := os.Lstat(filepath.Join(b.staged, gone[2])); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone[2], err)
		}
	}
	certs, err := os.ReadFile(filepath.Join(b.staged, targetfiles.ApkCertsName))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`name="Store.apk" certificate="platform.x509.pem"`, `name="Notes.apk" certificate="PRESIGNED"`} {
		if !strings.Contains(string(certs), want) {
			t.Errorf("apkcerts.txt has no %s:\n%s", want, certs)
		}
	}
}

// testRefused changes the definition by a word each.
func testRefused(t *testing.T, x *signtest.Target) {
	for _, tt := range []struct {
		name, old, new, want string
		kind                 error
	}{
		{"no such file", "/system/app/Clock", "/system/app/Nothing", "the build has no such file", mios.ErrNotFound},
		{"unsigned", "privileged: true, key: platform, permissions: [android.permission.INSTALL_PACKAGES]", "partition: product", "it is not signed", mios.ErrDenied},
		{"permission", "INSTALL_PACKAGES", "REBOOT", "its manifest does not ask for it", mios.ErrInvalid},
		{"missing", "Notes.apk", "Nothing.apk", "no such file", fs.ErrNotExist},
		{"no knob", "ntp: [ntp://time.example.com]", "attestation_revocation: https://c.example.com/status", "has no resource", mios.ErrNotFound},
		{"architecture", "arch: [arm64]", "arch: [amd64]", "the build is for arm64", mios.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(definition, tt.old, tt.new, 1)
			if text == definition {
				t.Fatal("the replacement found nothing")
			}
			if _, err := staged(t, newProduct(t, text), x.Dir); !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("staged = %v, want %q", err, tt.want)
			}
		})
	}
}

// openImage opens a file system until the test ends.
func openImage(t *testing.T, name string) *fstree.Image {
	t.Helper()
	f, size := imagetest.Open(t, name)
	img, err := fstree.Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
