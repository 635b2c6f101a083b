package apk_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"mios/format/apk"
)

func TestManifest(t *testing.T) {
	m, err := apk.ParseManifest(compile(t, manifestText))
	if err != nil {
		t.Fatal(err)
	}
	if app := m.Application; !app.Enabled || app.HasCode || !app.AllowBackup || !app.ExtractNativeLibs || app.UsesCleartextTraffic == (m.TargetSDK >= 28) {
		t.Errorf("application: %+v", app)
	}
	want := &apk.Manifest{
		Application: m.Application, Screens: apk.Screens{Small: true, Normal: true, Large: true, XLarge: true, AnyDensity: true},
		Package: "org.mios.test", VersionCode: 7, VersionName: "1.2", MinSDK: 24, TargetSDK: 35,
		TargetSandboxVersion: 1, Label: "Test Ünit",
		Permissions: []apk.UsesPermission{{Name: "android.permission.INTERNET"}, {Name: "android.permission.VIBRATE", MaxSDK: 30}},
		MetaData:    map[string]string{"mios.executable": "hello", "port": "8080"},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("manifest:\n%+v\nwant\n%+v", m, want)
	}
	if !m.Uses(apk.PermissionInternet, 35) || m.Uses("android.permission.VIBRATE", 31) || !m.Uses("android.permission.VIBRATE", 30) {
		t.Error("Uses does not heed maxSdkVersion")
	}
}

func TestManifestRefuses(t *testing.T) {
	const head = `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="a.b">`
	for _, tt := range []struct{ text, want string }{
		{`<application/>`, "root element is application"},
		{`<manifest package="nodot"/>`, `package name "nodot"`},
		{`<manifest package="a..b"/>`, `package name "a..b"`},
		{`<manifest package="a.b/../c"/>`, "package name"},
		{`<manifest/>`, `package name ""`},
		{head + `<application><meta-data android:name="x" android:value="1"/><meta-data android:name="x" android:value="2"/></application></manifest>`, `"x" twice`},
	} {
		if _, err := apk.ParseManifest(compile(t, tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseManifest(%s) = %v, want an error with %q", tt.text, err, tt.want)
		}
	}
}

func TestParseTextErrors(t *testing.T) {
	const ns = `xmlns:android="http://schemas.android.com/apk/res/android"`
	for _, tt := range []struct{ text, want string }{
		{"", "1:1: no element"},
		{"<manifest>", "1:1: unexpected EOF"},
		{"<manifest>\n <a b='1' b='2'/></manifest>", "2:2: element a: attribute b twice"},
		{"<manifest>text</manifest>", "1:11: text \"text\" between elements"},
		{"<!DOCTYPE x><manifest/>", "1:1: a document type"},
		{"<manifest " + ns + " android:nope='1'/>", "android:nope is not known here"},
		{"<manifest " + ns + " android:label='@string/x'/>", "refers to a resource"},
		{"<manifest " + ns + " android:debuggable='maybe'/>", "want true or false"},
		{"<manifest " + ns + " android:versionCode='4294967296'/>", "want a whole number of 32 bits"},
		{"<manifest " + ns + " android:installLocation='nowhere'/>", "want one of the names"},
		{"<manifest android:label='x'/>", "undeclared prefix"},
		{"<a/><b/>", "1:5: a second root element b"},
		{"<x:a xmlns:x='y'/>", "element a in a namespace"},
		{strings.Repeat("<a>", 200), "too many"},
	} {
		_, err := apk.ParseText([]byte(tt.text))
		if _, ok := errors.AsType[*apk.TextError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseText(%.60s) = %v, want a TextError with %q", tt.text, err, tt.want)
		}
	}
}

// literal puts references by number in the place of those by name.
var literal = strings.NewReplacer("@string/", "text ", "@drawable/icon", "@0x7f020000", "@drawable/banner", "@0x7f020001", "@bool/debug", "true", "@xml/apdu", "@0x7f030000")

// FuzzParseXML checks that nothing makes the parser panic, and that what it
// reads survives being written.
func FuzzParseXML(f *testing.F) {
	f.Add(compile(f, manifestText))
	f.Add(compile(f, literal.Replace(richManifest)))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := apk.ParseXML(b)
		if err != nil {
			return
		}
		apk.NewManifest(root)
		again, err := apk.ParseXML(apk.AppendXML(nil, root))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if _, err := apk.ParseXML(apk.AppendXML(nil, again)); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParseText(f *testing.F) {
	f.Add([]byte(manifestText))
	f.Add([]byte(literal.Replace(richManifest)))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := apk.ParseText(b)
		if err != nil {
			return
		}
		if _, err := apk.ParseXML(apk.AppendXML(nil, root)); err != nil {
			t.Fatalf("ParseXML(AppendXML(%q)): %v", b, err)
		}
	})
}
