package apk_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
)

// parse reads a manifest of package a.b from what stands in it.
func parse(t *testing.T, attrs, inside string) *apk.Manifest {
	t.Helper()
	m, err := apk.ParseManifest(compile(t, `<manifest `+androidNS+` package="a.b" `+attrs+`>`+inside+`</manifest>`))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const launcherFilter = `<intent-filter android:autoVerify="true" android:priority="3"><action android:name="android.intent.action.MAIN"/><category android:name="android.intent.category.LAUNCHER"/>
	<data android:scheme="https" android:host="x.org" android:pathSuffix=".html" android:mimeType="text/html"/></intent-filter>`

func TestComponents(t *testing.T) {
	const inside = `<application android:name=".App" android:permission="p"><activity android:name=".A">` + launcherFilter + `<meta-data android:name="n" android:resource="@0x7f010001"/></activity>
		<activity android:name="B" android:exported="true" android:screenOrientation="landscape"/>
		<activity android:name="org.other.C" android:exported="false">` + launcherFilter + `</activity>
		<activity-alias android:name=".D" android:targetActivity=".A" android:enabled="false">` + launcherFilter + `</activity-alias>
		<service android:name=".E" android:foregroundServiceType="camera|location" android:process=":x"/>
		<receiver android:name=".F" android:permission="q"/>
		<provider android:name=".G" android:authorities="a; b" android:readPermission="r" android:writePermission="w"/></application>`
	for _, tt := range []struct {
		sdk, want string
	}{
		{`<uses-sdk android:minSdkVersion="24" android:targetSdkVersion="35"/>`, "activity a.b.A true false, activity a.b.B true true, activity org.other.C false true, activity-alias a.b.D true false, service a.b.E false false, receiver a.b.F false false, provider a.b.G false false"},
		{`<uses-sdk android:minSdkVersion="9" android:targetSdkVersion="16"/>`, "activity a.b.A true false, activity a.b.B true true, activity org.other.C false true, activity-alias a.b.D true false, service a.b.E false false, receiver a.b.F false false, provider a.b.G true false"},
	} {
		m := parse(t, "", tt.sdk+inside)
		var got []string
		for _, c := range m.Components {
			got = append(got, fmt.Sprintf("%s %s %v %v", c.Kind, c.Name, c.Exported, c.ExportedExplicit))
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("components: %s\nwant %s", s, tt.want)
		}
		if c := m.Launchable(); c == nil || c.Name != "a.b.A" {
			t.Errorf("Launchable = %+v", c)
		}
		a, g := m.Components[0], m.Components[6]
		want := apk.IntentFilter{Actions: []string{"android.intent.action.MAIN"}, Categories: []string{"android.intent.category.LAUNCHER"}, AutoVerify: true, Priority: 3,
			Data: []apk.IntentData{{Scheme: "https", Host: "x.org", PathSuffix: ".html", MIMEType: "text/html"}}}
		if !reflect.DeepEqual(a.Filters, []apk.IntentFilter{want}) || a.MetaData[0].Resource != 0x7f010001 {
			t.Errorf("activity: %+v", a)
		}
		if !slices.Equal(g.Authorities, []string{"a", "b"}) || g.Read != "r" || g.Write != "w" || m.Components[4].ForegroundTypes != 72 || m.Components[4].Process != ":x" {
			t.Errorf("provider: %+v", g)
		}
		if m.Application.Name != "a.b.App" || m.Application.Permission != "p" || m.Components[3].Target != "a.b.A" || m.Components[3].Enabled {
			t.Errorf("application: %+v", m.Application)
		}
	}
}

func TestFacts(t *testing.T) {
	m := parse(t, `android:versionCode="-1" android:versionCodeMajor="2" android:isolatedSplits="true" android:requiredSplitTypes="x, y" split="f" configForSplit="g" coreApp="true"`, `
		<uses-sdk android:minSdkVersion="Q" android:targetSdkVersion="30"/>
		<permission android:name="P" android:protectionLevel="signature|privileged"/><permission-tree android:name="T"/><permission-group android:name="G"/>
		<queries><package android:name="q.r"/><provider android:authorities="s;t"/><intent><action android:name="u"/></intent></queries>
		<instrumentation android:name=".I" android:targetPackage="a.c"/><overlay android:targetPackage="android" android:targetName="N" android:priority="4" android:isStatic="true"/>
		<uses-configuration android:reqTouchScreen="finger" android:reqHardKeyboard="true"/><uses-split android:name="h"/>
		<compatible-screens><screen android:screenSize="small" android:screenDensity="ldpi"/></compatible-screens>
		<uses-permission android:name="android.permission.BLUETOOTH_SCAN" android:usesPermissionFlags="neverForLocation" android:required="false"/>
		<application android:debuggable="@0x7f010001" android:appCategory="game" android:usesCleartextTraffic="true" android:extractNativeLibs="false" android:allowBackup="false">
		<uses-native-library android:name="libx.so" android:required="false"/><uses-static-library android:name="st" android:version="5" android:certDigest="aa:bb"/>
		<static-library android:name="mine" android:version="6"/><library android:name="l"/><profileable android:shell="true"/></application>`)
	for what, pair := range map[string][2]any{
		"version":        {m.VersionCode, int64(2)<<32 | 0xffffffff},
		"split":          {[]any{m.Split, m.ConfigForSplit, m.IsolatedSplits, m.RequiredSplits, m.UsesSplits, m.CoreApp}, []any{"f", "g", true, []string{"x", "y"}, []string{"h"}, true}},
		"SDK":            {[]any{m.MinSDK, m.MinSDKCodename, m.TargetSDK, m.TargetSDKCodename}, []any{27, "Q", 30, ""}},
		"declares":       {m.Declares, []apk.Permission{{Name: "P", Protection: 0x12}, {Name: "T", Tree: true}, {Name: "G", IsGroup: true}}},
		"queries":        {m.Queries, apk.Queries{Packages: []string{"q.r"}, Authorities: []string{"s", "t"}, Intents: []apk.IntentFilter{{Actions: []string{"u"}}}}},
		"instrument":     {m.Instrumentations, []apk.Instrumentation{{Name: "a.b.I", Target: "a.c"}}},
		"overlay":        {*m.Overlay, apk.Overlay{Target: "android", TargetName: "N", Priority: 4, Static: true}},
		"configurations": {m.Configurations, []apk.UsesConfiguration{{Touchscreen: 3, HardKeyboard: true}}},
		"screens":        {m.CompatibleScreens, []apk.CompatibleScreen{{Size: 200, Density: 120}}},
		"permission":     {m.Permissions, []apk.UsesPermission{{Name: "android.permission.BLUETOOTH_SCAN", Optional: true, Flags: 0x10000}}},
		"libraries": {m.Libraries, []apk.UsesLibrary{{Kind: apk.LibraryNative, Name: "libx.so"},
			{Kind: apk.LibraryStatic, Name: "st", Required: true, Version: 5, CertDigests: []string{"aa:bb"}}}},
		"provides": {m.Provides, []apk.Library{{Kind: "static-library", Name: "mine", Version: 6}, {Kind: "library", Name: "l"}}},
		"application": {[]any{m.Debuggable, m.Application.Category, m.Application.UsesCleartextTraffic, m.Application.ExtractNativeLibs, m.Application.AllowBackup, m.Application.Profileable},
			[]any{true, "game", true, false, false, true}},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: %+v, want %+v", what, pair[0], pair[1])
		}
	}
}

func TestDeviceClasses(t *testing.T) {
	start := func(category string) string {
		return `<activity android:name=".A"><intent-filter><action android:name="android.intent.action.MAIN"/><category android:name="android.intent.category.` + category + `"/></intent-filter></activity>`
	}
	for _, tt := range []struct{ outside, inside, want string }{
		{"", start("LAUNCHER"), "[phone]"},
		{"", "", "[phone]"},
		{`<uses-feature android:name="android.hardware.type.watch"/>`, start("LAUNCHER"), "[watch]"},
		{`<uses-feature android:name="android.hardware.type.watch" android:required="false"/>`, start("LAUNCHER"), "[phone watch]"},
		{`<uses-feature android:name="android.hardware.type.automotive"/>`, "", "[car]"},
		{`<uses-feature android:name="android.software.leanback"/>`, start("LEANBACK_LAUNCHER"), "[tv]"},
		{"", start("LEANBACK_LAUNCHER"), "[tv]"},
		{`<uses-feature android:name="android.software.leanback" android:required="false"/>`, start("LEANBACK_LAUNCHER") + start("LAUNCHER"), "[phone tv]"},
		{`<uses-feature android:name="android.hardware.type.embedded"/>`, "", "[embedded]"},
		{"", `<uses-library android:name="com.google.android.things"/>`, "[embedded]"},
		{"", `<uses-library android:name="com.google.android.wearable" android:required="false"/>` + start("LAUNCHER"), "[phone watch]"},
	} {
		m := parse(t, "", tt.outside+"<application>"+tt.inside+"</application>")
		if got := fmt.Sprint(m.DeviceClasses()); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.outside, tt.inside, got, tt.want)
		}
	}
}

// splits returns the packages of a set, of which each is written as its split's
// name, "base" for the base, and attributes of its manifest, if there are some.
func splits(t *testing.T, list ...string) (packages []*apk.Badging) {
	t.Helper()
	for _, s := range list {
		name, attrs, _ := strings.Cut(s, " ")
		if name != "base" {
			attrs += ` split="` + name + `"`
		}
		if !strings.Contains(attrs, "versionCode") {
			attrs += ` android:versionCode="1"`
		}
		b := &apk.Badging{Info: apk.Info{Manifest: *parse(t, attrs, "")}}
		for _, abi := range []string{"arm64_v8a", "x86_64"} {
			if strings.HasSuffix(name, abi) {
				b.ABIs = []string{strings.Replace(abi, "64_v", "64-v", 1)}
			}
		}
		packages = append(packages, b)
	}
	return packages
}

var wholeSet = []string{
	"base", "config.arm64_v8a", "config.x86_64", "config.xhdpi", "config.xxhdpi", "config.ldpi", "config.de", "config.fr", "config.zh", "config.b+sr",
	`camera android:isFeatureSplit="true"`, `camera.config.arm64_v8a configForSplit="camera"`, `camera.config.xhdpi configForSplit="camera"`,
}

func TestSplits(t *testing.T) {
	set, err := apk.NewSplitSet(splits(t, wholeSet...))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		d    apk.Device
		want string
	}{
		{apk.Device{ABIs: []string{"arm64-v8a", "armeabi-v7a"}, Density: 420, Locales: []string{"de-AT", "en"}},
			"config.arm64_v8a config.b+sr config.de config.xxhdpi camera camera.config.arm64_v8a camera.config.xhdpi"},
		{apk.Device{ABIs: []string{"arm64-v8a"}, Density: 100, Locales: []string{"en"}}, "config.arm64_v8a config.b+sr config.ldpi camera camera.config.arm64_v8a camera.config.xhdpi"},
		{apk.Device{ABIs: []string{"arm64-v8a"}, Density: 320, Locales: []string{"zh-Hant-TW", "fr-CA"}},
			"config.arm64_v8a config.b+sr config.fr config.xhdpi config.zh camera camera.config.arm64_v8a camera.config.xhdpi"},
	} {
		need, err := set.For(tt.d)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range need {
			names = append(names, s.Split)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("For(%+v) = %s\nwant %s", tt.d, got, tt.want)
		}
	}
	for _, d := range []apk.Device{{ABIs: []string{"riscv64"}}, {ABIs: []string{"x86_64"}}} { // the second's feature has no code for it
		if need, err := set.For(d); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("For(%+v) = %v, %v", d, need, err)
		}
	}
}

func TestSplitsRefuse(t *testing.T) {
	for _, tt := range []struct {
		list []string
		want string
	}{
		{nil, "0 splits without a base"},
		{[]string{"config.de"}, "1 splits without a base"},
		{[]string{"base", "base"}, "two base packages"},
		{[]string{"base", "config.de", "config.de"}, "split config.de twice"},
		{[]string{"base", `config.de android:versionCode="2"`}, "has the version code 2, the base 1"},
		{[]string{"base", `x.config.de configForSplit="x"`}, "needs the feature x"},
		{[]string{`base android:isSplitRequired="true"`}, "does not run without splits"},
		{[]string{`base android:requiredSplitTypes="base__density"`, `config.de android:splitTypes="base__locale"`}, "needs a split of the type base__density"},
	} {
		if _, err := apk.NewSplitSet(splits(t, tt.list...)); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.list, err, tt.want)
		}
	}
	other := splits(t, "base", "config.de")
	other[1].Package = "a.c"
	if _, err := apk.NewSplitSet(other); err == nil || !strings.Contains(err.Error(), "of the package a.c") {
		t.Errorf("another package: %v", err)
	}
}
