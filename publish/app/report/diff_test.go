package report

import (
	"bytes"
	"strings"
	"testing"

	"mios/format/apk"
)

const statedManifest = `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.example"
	android:versionCode="1"COMPILE><uses-sdk android:minSdkVersion="24"/><application/></manifest>`

// TestNotStated compares a package that does not say what it was compiled
// against with one that does.
func TestNotStated(t *testing.T) {
	pkg := func(compile string) Package {
		b := signed(t, strings.Replace(statedManifest, "COMPILE", compile, 1))
		return Package{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Name: "a.apk"}
	}
	d, err := Compare(t.Context(), pkg(""), pkg(` android:compileSdkVersion="35"`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := Change{Name: "compile_sdk", Old: "", New: "35"}
	if len(d.Changes) != 1 || d.Changes[0] != want {
		t.Errorf("changes are %+v, want %+v alone", d.Changes, want)
	}
}

// TestLargeCode reads a DEX file that is larger than most: what is wrong with
// this one is not its size.
func TestLargeCode(t *testing.T) {
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	if err := w.Add("classes.dex", apk.Deflate, bytes.NewReader(make([]byte, 70<<20))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := apk.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Code(f); err == nil || !strings.Contains(err.Error(), "classes.dex: dex: offset 0x0: ") {
		t.Errorf("Code = %v, want that it is no DEX file", err)
	}
}
