package apk_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/format/apk"
)

// Tests that let the installed aapt and aapt2 make packages of what stands here,
// and compare what they and we say of them.

const framework = "/usr/share/android-framework-res/framework-res.apk"

const androidNS = `xmlns:android="http://schemas.android.com/apk/res/android"`

// richManifest uses much of what a manifest can say.
const richManifest = `<?xml version="1.0" encoding="utf-8"?>
<manifest ` + androidNS + ` package="org.example.rich" android:versionCode="70001" android:versionName="@string/version"
    android:installLocation="auto" android:sharedUserId="org.example.shared">
  <uses-sdk android:minSdkVersion="14" android:targetSdkVersion="15" android:maxSdkVersion="99"/>
  <uses-permission android:name="android.permission.CAMERA"/>
  <uses-permission android:name="android.permission.ACCESS_FINE_LOCATION" android:maxSdkVersion="30"/>
  <uses-permission android:name="android.permission.READ_CONTACTS"/>
  <uses-permission android:name="android.permission.WRITE_CONTACTS"/>
  <uses-permission android:name="android.permission.WRITE_EXTERNAL_STORAGE" android:maxSdkVersion="18"/>
  <uses-permission android:name="android.permission.BLUETOOTH"/>
  <uses-permission android:name="android.permission.SEND_SMS"/>
  <uses-permission-sdk-23 android:name="android.permission.ACCESS_WIFI_STATE"/>
  <uses-permission-sdk-23 android:name="android.permission.RECORD_AUDIO" android:maxSdkVersion="32"/>
  <permission android:name="org.example.rich.P" android:protectionLevel="signature|privileged" android:label="@string/app"/>
  <uses-feature android:name="android.hardware.camera.flash" android:required="true"/>
  <uses-feature android:name="android.hardware.touchscreen.multitouch.distinct" android:required="false"/>
  <uses-feature android:name="android.hardware.opengles.aep"/>
  <uses-feature android:name="android.hardware.vulkan.level" android:version="1"/>
  <uses-feature android:glEsVersion="0x00020000"/>
  <supports-screens android:smallScreens="false" android:largeScreens="true" android:requiresSmallestWidthDp="300"
      android:compatibleWidthLimitDp="500" android:largestWidthLimitDp="700"/>
  <supports-gl-texture android:name="GL_OES_compressed_ETC1_RGB8_texture"/>
  <original-package android:name="org.example.older"/>
  <application android:label="@string/app" android:icon="@drawable/icon" android:banner="@drawable/banner" android:debuggable="@bool/debug"
      android:testOnly="true" android:isGame="true" android:multiArch="true">
    <uses-library android:name="org.example.lib"/>
    <uses-library android:name="org.example.maybe" android:required="false"/>
    <activity android:name=".Main" android:label="@string/main" android:icon="@drawable/icon" android:screenOrientation="portrait">
      <intent-filter>
        <action android:name="android.intent.action.MAIN"/>
        <category android:name="android.intent.category.LAUNCHER"/>
        <category android:name="android.intent.category.LEANBACK_LAUNCHER"/>
      </intent-filter>
    </activity>
    <activity android:name="Camera" android:banner="@drawable/banner">
      <intent-filter><action android:name="android.media.action.STILL_IMAGE_CAMERA"/></intent-filter>
      <intent-filter><action android:name="android.intent.action.SEARCH"/></intent-filter>
    </activity>
    <activity android:name="org.other.Home"><intent-filter><action android:name="x"/><category android:name="android.intent.category.HOME"/></intent-filter></activity>
    <activity-alias android:name=".Alias" android:targetActivity=".Main">
      <intent-filter><action android:name="android.intent.action.MAIN"/><category android:name="android.intent.category.LAUNCHER"/></intent-filter>
    </activity-alias>
    <service android:name=".Ime" android:permission="android.permission.BIND_INPUT_METHOD"><intent-filter><action android:name="android.view.InputMethod"/></intent-filter></service>
    <service android:name=".Dream" android:permission="android.permission.BIND_DREAM_SERVICE"><intent-filter><action android:name="android.service.dreams.DreamService"/></intent-filter></service>
    <service android:name=".Pay" android:permission="android.permission.BIND_NFC_SERVICE">
      <intent-filter><action android:name="android.nfc.cardemulation.action.HOST_APDU_SERVICE"/></intent-filter>
      <meta-data android:name="android.nfc.cardemulation.host_apdu_service" android:resource="@xml/apdu"/>
    </service>
    <receiver android:name=".Admin" android:permission="android.permission.BIND_DEVICE_ADMIN"><intent-filter><action android:name="android.app.action.DEVICE_ADMIN_ENABLED"/></intent-filter></receiver>
    <receiver android:name=".Widget"><intent-filter><action android:name="android.appwidget.action.APPWIDGET_UPDATE"/></intent-filter></receiver>
    <provider android:name=".Docs" android:authorities="a;b" android:exported="true" android:grantUriPermissions="true" android:permission="android.permission.MANAGE_DOCUMENTS">
      <intent-filter><action android:name="android.content.action.DOCUMENTS_PROVIDER"/></intent-filter>
    </provider>
  </application>
</manifest>
`

// richResources are the files of the same package.
var richResources = map[string]string{
	"values/strings.xml": `<resources><string name="app">A "quoted" app\nof two lines</string><string name="version">1.0-rc</string><string name="main">@string/alias</string>
<string name="alias">Main activity</string><bool name="debug">true</bool><color name="c">#abc</color><dimen name="d">1.5dp</dimen><integer name="i">-7</integer>
<item name="f" type="fraction">12.5%p</item><string-array name="a"><item>x</item><item>y</item></string-array><plurals name="p"><item quantity="one">1</item><item quantity="other">n</item></plurals>
<style name="s"><item name="android:textSize">12sp</item></style><attr name="at" format="integer|reference"/></resources>`,
	"values-fr/strings.xml":         `<resources><string name="app">Une app</string></resources>`,
	"values-fr-rCA/strings.xml":     `<resources><string name="app">Une app du pays</string></resources>`,
	"values-pt-rBR/strings.xml":     `<resources><string name="app">Brasil</string></resources>`,
	"values-pt-rPT/strings.xml":     `<resources><string name="app">Portugal</string></resources>`,
	"values-en-rGB/strings.xml":     `<resources><string name="app">Colour 😀</string></resources>`,
	"values-zh-rTW/strings.xml":     `<resources><string name="app">臺灣</string></resources>`,
	"values-zh-rCN/strings.xml":     `<resources><string name="app">中国</string></resources>`,
	"values-b+sr+Latn/strings.xml":  `<resources><string name="app">Srpski</string></resources>`,
	"values-sr/strings.xml":         `<resources><string name="app">Српски</string></resources>`,
	"values-es-rUS/strings.xml":     `<resources><string name="app">EE.UU.</string></resources>`,
	"values-b+es+419/strings.xml":   `<resources><string name="app">Latinoamérica</string></resources>`,
	"values-es/strings.xml":         `<resources><string name="app">España</string></resources>`,
	"values-sw600dp-land/dims.xml":  `<resources><dimen name="d">2in</dimen></resources>`,
	"values-w480dp-h320dp/dims.xml": `<resources><dimen name="d">3mm</dimen></resources>`,
	"values-night-v29/dims.xml":     `<resources><dimen name="d">4pt</dimen><color name="c">#80112233</color></resources>`,
	"values-large-port/dims.xml":    `<resources><dimen name="d">5px</dimen></resources>`,
	"values-mcc310-mnc004/dims.xml": `<resources><dimen name="d">6px</dimen></resources>`,
	"values-ldrtl-round/dims.xml":   `<resources><dimen name="d">7px</dimen></resources>`,
	"xml/apdu.xml":                  `<host-apdu-service ` + androidNS + `><aid-group android:category="payment"/></host-apdu-service>`,
}

// project writes the files of the rich package and returns their folder.
func project(t *testing.T, manifest string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, apk.ManifestName, manifest)
	for name, text := range richResources {
		put(t, dir, "res/"+name, text)
	}
	var b bytes.Buffer
	img := image.NewNRGBA(image.Rect(0, 0, 2, 2))
	img.Set(1, 1, color.NRGBA{1, 2, 3, 4})
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"drawable-mdpi/icon.png", "drawable-xhdpi/icon.png", "drawable-xxhdpi/icon.png", "drawable/banner.png", "drawable-nodpi/banner.png"} {
		put(t, dir, "res/"+name, b.String())
	}
	put(t, dir, "raw/lib/x86/a.so", "x86")
	put(t, dir, "raw/lib/x86_64/a.so", "x86_64")
	put(t, dir, "raw/lib/arm64-v8a/a.so", "arm64")
	return dir
}

// byAapt makes a package of the project with aapt.
func byAapt(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out := filepath.Join(dir, "aapt.apk")
	run(t, "aapt", append([]string{"package", "-f", "-M", filepath.Join(dir, apk.ManifestName), "-S", filepath.Join(dir, "res"), "-I", framework, "-F", out}, args...)...)
	return out
}

// byAapt2 makes one with aapt2.
func byAapt2(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, zip := filepath.Join(dir, "aapt2.apk"), filepath.Join(dir, "compiled.zip")
	run(t, "aapt2", "compile", "--dir", filepath.Join(dir, "res"), "-o", zip)
	run(t, "aapt2", append([]string{"link", "--manifest", filepath.Join(dir, apk.ManifestName), "-I", framework, "-o", out, zip}, args...)...)
	return out
}

func compareBadging(t *testing.T, path string) {
	t.Helper()
	want := aaptLines(run(t, "aapt", "dump", "badging", path))
	b, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) < 10 {
		t.Errorf("aapt printed %q", want)
	}
	for _, d := range badgingDiff(b, want) {
		t.Error(d)
	}
}

// TestRich compares what aapt and we say of a package that has much of what one
// can have, as aapt and aapt2 make it.
func TestRich(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(*testing.T) string
	}{
		{"aapt", func(t *testing.T) string {
			dir := project(t, richManifest)
			return byAapt(t, dir, filepath.Join(dir, "raw"))
		}},
		{"aapt UTF-16", func(t *testing.T) string { return byAapt(t, project(t, richManifest), "--utf16") }},
		{"aapt2", func(t *testing.T) string { return byAapt2(t, project(t, richManifest)) }},
		{"aapt2 sparse", func(t *testing.T) string {
			return byAapt2(t, project(t, richManifest), "--enable-sparse-encoding", "--min-sdk-version", "26")
		}},
		{"SDK 3", func(t *testing.T) string {
			return byAapt(t, project(t, strings.Replace(richManifest, `"14" android:targetSdkVersion="15"`, `"3"`, 1)))
		}},
		{"feature groups", func(t *testing.T) string {
			groups := `<feature-group><uses-feature android:name="android.hardware.touchscreen.multitouch"/><uses-feature android:glEsVersion="0x00030002"/></feature-group>
				<feature-group><uses-feature android:name="android.hardware.gamepad"/></feature-group><application`
			return byAapt(t, project(t, strings.Replace(richManifest, "<application", groups, 1)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.make(t)
			compareBadging(t, path)
			if n, ok := compareResources(t, path); !ok || n < 40 {
				t.Errorf("%d values compared: %v", n, ok)
			}
			got, err := manifestTree(path)
			if err != nil {
				t.Fatal(err)
			}
			sameLines(t, "manifest", got, aaptLines(run(t, "aapt", "dump", "xmltree", path, apk.ManifestName)))
		})
	}
}

// TestOwnPackage compares what aapt says of a package that we wrote.
func TestOwnPackage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.apk")
	if err := os.WriteFile(path, small(t), 0o600); err != nil {
		t.Fatal(err)
	}
	compareBadging(t, path)
	run(t, "zipalign", "-c", "-p", "4", path)
	got, err := manifestTree(path)
	if err != nil {
		t.Fatal(err)
	}
	sameLines(t, "manifest", got, aaptLines(run(t, "aapt", "dump", "xmltree", path, apk.ManifestName)))
}

// TestBroken holds that nothing is accepted that lost its end.
func TestBroken(t *testing.T) {
	b := small(t)
	for n := 0; n < len(b); n += 7 {
		if _, err := open(b[:n]); err == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(b))
		}
	}
	if !slices.Equal(b, small(t)) {
		t.Error("the same entries made other bytes")
	}
}

// TestReferences reads numbers and truths that stand in the resource table.
func TestReferences(t *testing.T) {
	text := strings.Replace(richManifest, `"70001"`, `"@integer/i"`, 1)
	text = strings.Replace(text, `android:exported="true"`, `android:exported="@bool/debug" android:enabled="@bool/off" android:multiprocess="@bool/gone"`, 1)
	richer := strings.Replace(richResources["values/strings.xml"], "</resources>", `<bool name="off">false</bool><bool name="gone">@null</bool></resources>`, 1)
	dir := project(t, text)
	put(t, dir, "res/values/strings.xml", strings.Replace(richer, "-7", "77", 1))
	b, err := os.ReadFile(byAapt(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	f, err := open(b)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Info()
	if err != nil {
		t.Fatal(err)
	}
	docs := info.Components[len(info.Components)-1]
	if info.VersionCode != 77 || docs.Name != "org.example.rich.Docs" || !docs.Exported || docs.Enabled || !info.Debuggable {
		t.Errorf("version code %d, %+v", info.VersionCode, docs)
	}
	if !strings.HasPrefix(info.VersionName, "@0x7f") || !strings.HasPrefix(info.Label, "@0x7f") {
		t.Errorf("version name %s, label %s: want references", info.VersionName, info.Label)
	}
	all, err := f.Badging()
	if err != nil || all.VersionName != "1.0-rc" || !strings.Contains(all.Label, "two lines") {
		t.Errorf("Badging: %v, %+v", err, all)
	}
}

// TestRealSplits lets aapt2 split the rich package, and asks which splits devices
// need.
func TestRealSplits(t *testing.T) {
	dir := project(t, richManifest)
	at := func(name string) string { return filepath.Join(dir, name+".apk") }
	base := byAapt2(t, dir, "--split", at("x")+":xhdpi", "--split", at("xx")+":xxhdpi", "--split", at("fr")+":fr,fr-rCA", "--split", at("pt")+":pt-rBR,pt-rPT")
	var packages []*apk.Badging
	for _, path := range []string{base, at("x"), at("xx"), at("fr"), at("pt")} {
		b, err := read(path)
		if err != nil {
			t.Fatal(err)
		}
		compareBadging(t, path)
		packages = append(packages, b)
	}
	set, err := apk.NewSplitSet(packages)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range set.Splits {
		if !s.Config || s.Feature != "" || s.Other != "" || s.Density == 0 && len(s.Locales) == 0 {
			t.Errorf("split %s: %+v", s.Split, s)
		}
	}
	need, err := set.For(apk.Device{Density: 400, Locales: []string{"pt-AO"}})
	if err != nil || len(need) != 2 || need[0].Density+need[1].Density != apk.DensityXXHigh || len(need[0].Locales)+len(need[1].Locales) == 0 {
		t.Errorf("For = %+v, %v", need, err)
	}
}
