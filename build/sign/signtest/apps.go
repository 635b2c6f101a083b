package signtest

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rsa"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/format/apksig"
	"mios/format/fsimage/imagetest"
)

// Presigned is META's word for what its vendor has signed.
const Presigned = "PRESIGNED"

// An App is one APK of the folder.
type App struct {
	Path      string // in the folder: "SYSTEM/app/Clock/Clock.apk"
	Package   string
	Key       string // of META/apkcerts.txt: a name of [Keys].Apps, or [Presigned]
	User      string // sharedUserId
	Strings   string // XML of resources
	fromFile  string
	framework bool
}

// apps are those of every folder. The hosts in them are those that AOSP has.
var apps = []App{
	{Path: "SYSTEM/framework/framework-res.apk", Package: "android", Key: Platform, framework: true, Strings: `
<string name="config_ntpServer">time.android.com</string>
<string-array name="config_ntpServers"><item>ntp://time.android.com</item></string-array>
<string name="config_networkLocationProviderPackageName"></string>`},
	{Path: "SYSTEM/priv-app/NetworkStack/NetworkStack.apk", Package: "com.android.networkstack", Key: NetworkStack, User: "android.uid.networkstack", Strings: `
<string name="config_captive_portal_http_url"></string>
<string name="config_captive_portal_https_url"></string>
<string-array name="config_default_dns_servers"></string-array>
<string name="default_captive_portal_http_url">http://connectivitycheck.gstatic.com/generate_204</string>
<string name="default_captive_portal_https_url">https://www.google.com/generate_204</string>
<string-array name="config_captive_portal_fallback_urls"><item>http://www.google.com/gen_204</item></string-array>
<overlayable name="NetworkStackConfig"><policy type="product|system|vendor">
<item type="string" name="config_captive_portal_http_url"/><item type="string" name="config_captive_portal_https_url"/>
<item type="array" name="config_captive_portal_fallback_urls"/><item type="array" name="config_default_dns_servers"/>
</policy></overlayable>`},
	{Path: "SYSTEM/priv-app/SystemUI/SystemUI.apk", Package: "com.android.systemui", Key: Platform, User: "android.uid.systemui"},
	{Path: "SYSTEM/app/Clock/Clock.apk", Package: "com.android.deskclock", Key: TestKey},
	{Path: "SYSTEM_EXT/priv-app/Contacts/Contacts.apk", Package: "com.android.contacts", Key: Shared, User: "android.uid.shared"},
	{Path: "PRODUCT/priv-app/MediaProvider/MediaProvider.apk", Package: "com.android.providers.media", Key: Media, User: "android.media"},
	{Path: "PRODUCT/app/Vendor/Vendor.apk", Package: "com.example.vendor", Key: Presigned},
	{Path: "PRODUCT/overlay/Overlay.apk", Package: "com.example.overlay", Key: TestKey},
	{Path: "VENDOR/app/Radio/Radio.apk", Package: "com.example.radio", Key: Platform},
}

// presigner signs what is presigned: it is nobody's test key.
var presigner = newPairOnce("a vendor")

// all returns the apps of these options.
func (o *Options) apps() []App {
	list := slices.Clone(apps)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range o.APKs {
			if !yield(n) {
				return
			}
		}
	}) {
		base := strings.TrimSuffix(name, ".apk")
		list = append(list, App{Path: "SYSTEM/app/" + base + "/" + base + ".apk", Key: Presigned, fromFile: o.APKs[name]})
	}
	if dir := os.Getenv("MIOS_CONFORMANCE"); dir != "" {
		list = append(list,
			App{Path: "PRODUCT/app/ApiDemos/ApiDemos.apk", Key: TestKey, fromFile: filepath.Join(dir, "apps", "ApiDemos-debug.apk")},
			App{Path: "SYSTEM_EXT/app/Appium/Appium.apk", Key: Presigned, fromFile: filepath.Join(dir, "apps", "settings_apk-debug.apk")})
	}
	return list
}

// build returns the bytes of a signed APK.
func (a *App) build(tb testing.TB, k *Keys) []byte {
	tb.Helper()
	if a.fromFile != "" {
		b, err := os.ReadFile(a.fromFile)
		if err != nil {
			tb.Fatal(err)
		}
		if a.Key == Presigned {
			return b
		}
		return signAPK(tb, b, k.Apps[a.Key], true)
	}
	pair := k.Apps[a.Key]
	if a.Key == Presigned {
		pair = presigner()
	}
	return signAPK(tb, a.link(tb), pair, false)
}

const manifestText = `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="%s" android:versionCode="42" android:versionName="15"%s>
<uses-sdk android:minSdkVersion="30" android:targetSdkVersion="35"/>
<application android:hasCode="false"%s/>
</manifest>`

// link returns an APK without a signature: by aapt2 where it has resources.
func (a *App) link(tb testing.TB) []byte {
	tb.Helper()
	user, id := "", ""
	if a.User != "" {
		user = fmt.Sprintf(" android:sharedUserId=%q", a.User)
	}
	manifest := fmt.Sprintf(manifestText, a.Package, user, id)
	files := []zipFile{{name: "assets/notice.txt", data: text(uint64(len(a.Path)), 9000)}, {name: "res/raw/noise.bin", data: noise(uint64(len(a.Path)), 3000), stored: true}}
	root, err := apk.ParseText([]byte(manifest))
	if err != nil {
		tb.Fatal(err)
	}
	files = append(files, zipFile{name: apk.ManifestName, data: apk.AppendXML(nil, root)})
	if a.Strings != "" {
		files = append(files, zipFile{name: apk.ResourcesName, data: a.resources(tb), stored: true})
	}
	return zipOf(tb, files...)
}

// resources returns the resources as aapt2 makes them.
func (a *App) resources(tb testing.TB) []byte {
	tb.Helper()
	dir := tb.TempDir()
	for name, data := range map[string]string{
		"AndroidManifest.xml":    fmt.Sprintf("<manifest package=%q/>", a.Package),
		"res/values/strings.xml": "<resources>" + a.Strings + "</resources>",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out.apk")
	imagetest.Run(tb, "aapt2", "compile", "-o", filepath.Join(dir, "res.zip"), "--dir", filepath.Join(dir, "res"))
	args := []string{"link", "-o", out, "--manifest", filepath.Join(dir, "AndroidManifest.xml")}
	if a.framework {
		args = append(args, "-x") // the package identifier of the framework
	}
	imagetest.Run(tb, "aapt2", append(args, filepath.Join(dir, "res.zip"))...)
	z, err := zip.OpenReader(out)
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	b, err := fs.ReadFile(z, apk.ResourcesName)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// signAPK signs as AOSP's build does: v1 too only for old platforms.
func signAPK(tb testing.TB, in []byte, p *Pair, old bool) []byte {
	tb.Helper()
	var out bytes.Buffer
	minSDK := 30
	if old {
		minSDK = 0 // the manifest's
	}
	err := apksig.Sign(context.Background(), bytes.NewReader(in), int64(len(in)), apksig.SignOptions{
		Signers: []apksig.Signer{{Key: p.Key, Certificate: p.Certificate.Raw}}, V1: old, V2: true, V3: true, MinSDK: minSDK,
	}, &out)
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// Package returns an APK without a signature: with more in its manifest, and with
// native libraries of these names.
func Package(tb testing.TB, name, more string, libraries ...string) []byte {
	tb.Helper()
	manifest := strings.Replace(fmt.Sprintf(manifestText, name, "", ""), "<application", more+"<application", 1)
	root, err := apk.ParseText([]byte(manifest))
	if err != nil {
		tb.Fatal(err)
	}
	files := []zipFile{{name: apk.ManifestName, data: apk.AppendXML(nil, root)}, {name: "assets/notice.txt", data: text(uint64(len(name)), 5000)}}
	for _, l := range libraries {
		files = append(files, zipFile{name: l, data: noise(uint64(len(l)), 9000)})
	}
	return zipOf(tb, files...)
}

// Sign signs an APK with a key of the caller's.
func Sign(tb testing.TB, in []byte, key *rsa.PrivateKey) []byte {
	tb.Helper()
	return signAPK(tb, in, certify("somebody", key), false)
}
