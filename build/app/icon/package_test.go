package icon

import (
	"bytes"
	"context"
	"errors"
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
	"mios/internal/conformance"
	"mios/internal/tool"
)

const androidNS = `xmlns:android="http://schemas.android.com/apk/res/android"`

// appFiles are an app's sources, of which aapt2 makes a package.
var appFiles = map[string]string{
	"AndroidManifest.xml": `<manifest ` + androidNS + ` package="org.example.icons">
    <uses-sdk android:minSdkVersion="21" android:targetSdkVersion="33"/>
    <application android:icon="@mipmap/ic" android:roundIcon="@mipmap/round" android:theme="@style/App"/>
</manifest>`,
	"res/mipmap-anydpi-v26/ic.xml": `<adaptive-icon ` + androidNS + `>
    <background android:drawable="@color/brand"/>
    <foreground><inset android:inset="16.7%" android:drawable="@drawable/mark"/></foreground>
</adaptive-icon>`,
	"res/mipmap-anydpi-v26/round.xml": `<adaptive-icon ` + androidNS + `>
    <background android:drawable="@color/brand"/>
    <foreground android:drawable="@android:color/transparent"/>
</adaptive-icon>`,
	"res/drawable/mark.xml": `<vector ` + androidNS + ` xmlns:aapt="http://schemas.android.com/aapt"
    android:width="24dp" android:height="24dp" android:viewportWidth="24" android:viewportHeight="24">
    <path android:pathData="M2,2h20v20h-20z" android:fillType="evenOdd">
        <aapt:attr name="android:fillColor">
            <gradient android:startX="2" android:endX="22" android:startY="0" android:endY="0" android:type="linear">
                <item android:offset="0" android:color="#ffffffff"/>
                <item android:offset="1" android:color="@color/brand2"/>
            </gradient>
        </aapt:attr>
    </path>
    <path android:pathData="M9,9h6v6h-6z" android:fillColor="?accent"/>
</vector>`,
	"res/drawable/broken.xml":        `<bitmap ` + androidNS + ` android:src="@android:drawable/sym_def_app_icon"/>`,
	"res/values/v.xml":               `<resources><attr name="accent" format="color"/><color name="brand">#204060</color><color name="brand2">@color/brand</color><style name="Base"><item name="accent">#ff8000</item></style><style name="App" parent="Base"/></resources>`,
	"res/values-night/v.xml":         `<resources><color name="brand">#000000</color></resources>`,
	"res/values-fr/v.xml":            `<resources><color name="brand">#0000ff</color></resources>`,
	"res/mipmap-xxxhdpi/ic.png":      "",
	"res/drawable-xhdpi/picture.png": "",
}

// buildApp makes a package of appFiles with aapt2.
func buildApp(t *testing.T) *apk.File {
	t.Helper()
	dir := t.TempDir()
	for name, text := range appFiles {
		if strings.HasSuffix(name, ".png") {
			text = string(encode(t, checks(16, 16)))
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	aapt2, err := tool.Look("aapt2")
	if err != nil {
		t.Fatal(err)
	}
	framework, err := tool.Look("/usr/share/android-framework-res/framework-res.apk")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"compile", "--dir", "res", "-o", "res.zip"},
		{"link", "-I", framework, "--manifest", "AndroidManifest.xml", "-o", "app.apk", "res.zip"},
	} {
		cmd := exec.Command(aapt2, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("aapt2 %v: %v\n%s", args, err, out)
		}
	}
	return openAPK(t, filepath.Join(dir, "app.apk"))
}

func openAPK(t *testing.T, name string) *apk.File {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := apk.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// TestPackage draws the icon of a package that aapt2 made, for several devices.
func TestPackage(t *testing.T) {
	f := buildApp(t)
	orange := color.NRGBA{0xff, 0x80, 0, 255}
	for _, tt := range []struct {
		name       string
		o          Options
		size       int
		source     string
		at, middle color.NRGBA // a quarter from the left edge and in the middle
	}{
		{"plain", Options{}, 192, "ic.xml", color.NRGBA{0x20, 0x40, 0x60, 255}, orange},
		{"night", Options{Night: true, Size: 100}, 100, "ic.xml", color.NRGBA{0, 0, 0, 255}, orange},
		{"French", Options{Locale: "fr-CA", Density: 160}, 48, "ic.xml", color.NRGBA{0, 0, 255, 255}, orange},
		{"round", Options{Shape: ShapeCircle}, 192, "round.xml", color.NRGBA{0x20, 0x40, 0x60, 255}, color.NRGBA{0x20, 0x40, 0x60, 255}},
	} {
		p, err := Draw(context.Background(), f, tt.o)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		img := decode(t, p.Data)
		if p.Width != tt.size || p.Height != tt.size || img.Bounds().Dx() != tt.size || filepath.Base(p.Source) != tt.source || p.Exact {
			t.Errorf("%s: %d x %d from %s, exact %v", tt.name, p.Width, p.Height, p.Source, p.Exact)
		}
		if got := pixel(img, tt.size/64, tt.size/2); got != tt.at {
			t.Errorf("%s: background %v, want %v", tt.name, got, tt.at)
		}
		if got := pixel(img, tt.size/2, tt.size/2); got != tt.middle {
			t.Errorf("%s: middle %v, want %v", tt.name, got, tt.middle)
		}
		if themed := strings.Contains(strings.Join(p.Missing, ""), "accent is taken from the application's theme"); themed != (tt.source == "ic.xml") {
			t.Errorf("%s: missing %q: want that the theme is said to be used for ic.xml alone", tt.name, p.Missing)
		}
	}
}

// TestPackageDrawables draws what is not the icon.
func TestPackageDrawables(t *testing.T) {
	f := buildApp(t)
	res, err := f.Resources()
	if err != nil {
		t.Fatal(err)
	}
	ref := func(name string) apk.Value {
		id, err := res.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		return apk.Value{Type: apk.TypeReference, Data: uint32(id)}
	}
	raw, err := f.ReadFile("res/drawable-xhdpi-v4/picture.png", maxFile)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Draw(context.Background(), f, Options{Drawable: ref("drawable/picture")})
	if err != nil || !p.Exact || !bytes.Equal(p.Data, raw) || p.MIME != "image/png" || p.Width != 16 {
		t.Errorf("a bitmap as it is: %+v, %v", p, err)
	}
	p, err = Draw(context.Background(), f, Options{Drawable: ref("drawable/picture"), Size: 64})
	if err != nil || p.Exact || p.Width != 64 || pixel(decode(t, p.Data), 2, 2) != (color.NRGBA{255, 255, 255, 255}) {
		t.Errorf("a bitmap made larger: %+v, %v", p, err)
	}
	p, err = Draw(context.Background(), f, Options{Drawable: ref("color/brand2")})
	if err != nil || pixel(decode(t, p.Data), 0, 0) != (color.NRGBA{0x20, 0x40, 0x60, 255}) {
		t.Errorf("a color: %+v, %v", p, err)
	}
	if _, err = Draw(context.Background(), f, Options{Drawable: ref("drawable/broken")}); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "is the system's own") {
		t.Errorf("a drawable of the system's: %v", err)
	}
}

// TestConformance draws the icons of real apps, and their vectors as librsvg
// does.
func TestConformance(t *testing.T) {
	icons := conformance.New(t, "icons of real apps")
	vectors := conformance.New(t, "vectors of real apps against librsvg")
	names, err := filepath.Glob(filepath.Join(conformance.Dir(t, "apps"), "*.apk"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(conformance.Dir(t, "fdroid"), "repo", "*.apk"))
	if err != nil || len(names) == 0 || len(more) == 0 {
		t.Fatalf("%d and %d apps, %v", len(names), len(more), err)
	}
	for _, name := range append(names, more...) {
		f := openAPK(t, name)
		p, err := Draw(context.Background(), f, Options{})
		switch {
		case errors.Is(err, mios.ErrNotFound):
			if filepath.Base(name) != "com.example.test.helloworld_1.apk" { // the one without
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || len(p.Data) == 0 || len(p.Missing) > 0:
			icons.Case(false)
			t.Errorf("%s: %v, %+v", filepath.Base(name), err, p)
		default:
			icons.Case(true)
		}
		conformVectors(t, f, vectors)
	}
}

// conformVectors compares the vectors of a package that need no theme.
func conformVectors(t *testing.T, f *apk.File, tally *conformance.Tally) {
	o := Options{}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	want, err := o.config()
	if err != nil {
		t.Fatal(err)
	}
	src, err := newSource(f, want)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range f.Entries {
		if !strings.HasPrefix(e.Name, "res/drawable") || !isXML(e.Name) {
			continue
		}
		root, err := f.ReadXML(e.Name)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if root.Name != "vector" {
			continue
		}
		p, err := o.drawing(context.Background(), src, nil).icon(apk.Value{Type: apk.TypeString, Str: e.Name}, 64, false)
		if err != nil || len(p.Missing) > 0 {
			continue
		}
		t.Run(filepath.Base(e.Name), func(t *testing.T) {
			compareRSVG(t, src, e.Name, decode(t, p.Data))
			tally.Case(!t.Failed())
		})
	}
}
