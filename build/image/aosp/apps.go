package aosp

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mios"
	"mios/build/product"
	"mios/build/sign"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/readat"
)

// instructionSets are what Android calls the folders of native code of an ABI.
var instructionSets = map[string]string{"arm64-v8a": "arm64", "x86_64": "x86_64"}

// apps adds the product's apps: each in a folder of its own in app or priv-app,
// with the native code that the system would not find in the package, and with
// the permissions that it gets.
func (b *builder) apps() error {
	for i := range b.Product.Apps {
		a := &b.Product.Apps[i]
		if err := b.app(a); err != nil {
			return fmt.Errorf("app %s: %w", a.APK, err)
		}
	}
	return nil
}

func (b *builder) app(a *product.App) error {
	file := b.Product.Path(a.APK)
	f, size, err := readat.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	pkg, err := apk.Open(f, size)
	if err != nil {
		return err
	}
	info, err := pkg.Info()
	if err != nil {
		return err
	}
	if a.Key == "" {
		if err := b.verify(f, size); err != nil {
			return err
		}
	}
	base := filepath.Base(a.APK)
	dir := path.Join("app", strings.TrimSuffix(base, ".apk"))
	if a.Privileged {
		dir = "priv-" + dir
	}
	if b.named(base) {
		return fmt.Errorf("%w: META/apkcerts.txt names an app of that file name: give yours another", mios.ErrConflict)
	}
	if err := b.add(a.Partition, path.Join(dir, base), &addition{file: file}); err != nil {
		return err
	}
	b.packages = append(b.packages, keyed{base, a.Key, a.Partition})
	if err := b.nativeCode(pkg, a.Partition, dir); err != nil {
		return err
	}
	return b.permissions(a, info)
}

// named reports whether an APK of that file name has a key already.
func (b *builder) named(base string) bool {
	if slices.ContainsFunc(b.packages, func(k keyed) bool { return k.name == base }) {
		return true
	}
	return slices.ContainsFunc(b.src.names, func(name string) bool { return path.Base(name) == base && !b.gone(name) })
}

// verify refuses an app that keeps its signature and has no good one.
func (b *builder) verify(f io.ReaderAt, size int64) error {
	r, err := apksig.Verify(b.ctx, f, size, apksig.Options{})
	if err != nil {
		return err
	}
	if !r.Verified() {
		return fmt.Errorf("it is not signed, or not as it was signed: %w: name a key of yours that signs it", mios.ErrDenied)
	}
	return nil
}

// nativeCode adds the libraries of an app in lib/ABI that are compressed: apps of
// the system are not unpacked when they are installed.
func (b *builder) nativeCode(pkg *apk.File, partition, dir string) error {
	abi := b.out.Arch.ABI()
	for i := range pkg.Entries {
		e := &pkg.Entries[i]
		if path.Dir(e.Name) != "lib/"+abi || !strings.HasSuffix(e.Name, ".so") || e.Method == apk.Store {
			continue
		}
		data, err := pkg.ReadFile(e.Name, maxLibrary)
		if err != nil {
			return err
		}
		name := path.Join(dir, "lib", instructionSets[abi], path.Base(e.Name))
		if err := b.add(partition, name, &addition{data: data}); err != nil {
			return err
		}
	}
	return nil
}

// maxLibrary is the largest library that is unpacked, in bytes.
const maxLibrary = 512 << 20

// permissions adds the file that grants a privileged app its permissions
// (frameworks/base, SystemConfig: privapp-permissions).
func (b *builder) permissions(a *product.App, info *apk.Info) error {
	if len(a.Permissions) == 0 {
		return nil
	}
	for _, p := range a.Permissions {
		if !info.Uses(p, info.TargetSDK) {
			return fmt.Errorf("permission %s: its manifest does not ask for it: %w: leave it out", p, mios.ErrInvalid)
		}
	}
	type permission struct {
		Name string `xml:"name,attr"`
	}
	var doc struct {
		XMLName xml.Name `xml:"permissions"`
		App     struct {
			Package     string       `xml:"package,attr"`
			Permissions []permission `xml:"permission"`
		} `xml:"privapp-permissions"`
	}
	doc.App.Package = info.Package
	for _, p := range slices.Sorted(slices.Values(a.Permissions)) {
		doc.App.Permissions = append(doc.App.Permissions, permission{p})
	}
	text, err := xml.MarshalIndent(doc, "", "    ")
	if err != nil {
		return err
	}
	text = slices.Concat([]byte(xml.Header), text, []byte("\n"))
	return b.add(a.Partition, "etc/permissions/privapp-permissions-"+info.Package+".xml", &addition{data: text})
}

// overlay adds a package that sets resources of another without code: a static
// overlay, which is on from the first boot and cannot be turned off.
func (b *builder) overlay(target, name string, list []apk.NewResource) error {
	pkg := "org.mios.overlay." + b.Product.Name + "." + strings.ReplaceAll(target, ".", "_")
	table, err := apk.AppendResources(nil, pkg, list)
	if err != nil {
		return err
	}
	targetName := ""
	if name != "" {
		targetName = fmt.Sprintf(" android:targetName=%q", name)
	}
	root, err := apk.ParseText(fmt.Appendf(nil, `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package=%q android:versionCode="1" android:versionName="1">
<uses-sdk android:minSdkVersion="30" android:targetSdkVersion="30"/>
<overlay android:targetPackage=%q%s android:isStatic="true" android:priority="900"/>
<application android:hasCode="false"/>
</manifest>`, pkg, target, targetName))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w := apk.NewWriter(&out)
	if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
		return err
	}
	if err := w.Add(apk.ResourcesName, apk.Store, bytes.NewReader(table)); err != nil { // as Android 11 wants it
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	base := pkg + ".apk"
	b.packages = append(b.packages, keyed{base, overlayKey, "product"})
	return b.add("product", path.Join("overlay", base), &addition{data: out.Bytes()})
}

// overlayKey is what META calls the key of an overlay: what testkey becomes.
const overlayKey = "testkey"

// certificate is what META/apkcerts.txt says of a key.
func (k keyed) certificate() (cert, private string) {
	if k.key == "" {
		return sign.Presigned, ""
	}
	return k.key + ".x509.pem", k.key + ".pk8"
}
