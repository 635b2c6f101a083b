package migrate_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"mios/build/app"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/publish/app/fdroid"
	"mios/publish/app/fdroid/migrate"
	"mios/storage/tree"
	"mios/storage/tree/dir"
)

// makeAPK makes a signed package with a picture for its icon.
func makeAPK(t *testing.T, pkg, code string) *fstest.MapFile {
	t.Helper()
	root, err := apk.ParseText([]byte(`<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="` + pkg + `"
  android:versionCode="` + code + `" android:versionName="v` + code + `"><uses-sdk android:minSdkVersion="26"/>
  <uses-permission-sdk-23 android:name="android.permission.CAMERA"/><application android:label="Label" android:hasCode="false"/></manifest>`))
	if err != nil {
		t.Fatal(err)
	}
	var plain, signed bytes.Buffer
	w := apk.NewWriter(&plain)
	if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cert, err := app.Certificate(testkit.RSA(1))
	if err != nil {
		t.Fatal(err)
	}
	o := apksig.SignOptions{Signers: []apksig.Signer{{Key: testkit.RSA(1), Certificate: cert}}, V2: true}
	if err := apksig.Sign(t.Context(), bytes.NewReader(plain.Bytes()), int64(plain.Len()), o, &signed); err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: signed.Bytes(), ModTime: time.Unix(1_600_000_000, 0)}
}

func file(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

// newFolder is a repository as fdroidserver keeps it, with things in it that
// are wrong.
func newFolder(t *testing.T) fstest.MapFS {
	return fstest.MapFS{
		"config.yml":               file("repo_name: Ours\nrepo_url: https://example.org/fdroid/repo\nmirrors:\n  - https://example.net/fdroid\n  - url: https://example.com/fdroid\n    countryCode: DE\nkeystorepass: secret\n"),
		"repo/org.example.a_1.apk": makeAPK(t, "org.example.a", "1"),
		"repo/org.example.a_2.apk": makeAPK(t, "org.example.a", "2"),
		"repo/org.example.a_3.apk": makeAPK(t, "org.example.a", "3"),
		"repo/org.example.b_1.apk": makeAPK(t, "org.example.b", "1"),
		"repo/org.example.c_1.apk": makeAPK(t, "org.example.c", "1"),
		"repo/org.example.d_1.apk": makeAPK(t, "org.example.d", "1"),
		"repo/broken.apk":          file("PK no"),
		"repo/index-v1.jar":        file("old"),
		"repo/main.x.obb":          file("?"),
		"metadata/org.example.a.yml": file(`
Categories: [Internet, 2.0]
License: MIT
Name: 'A & <b>'
AntiFeatures:
  Ads: They pay.
  Tracking:
    de: Zählt.
CurrentVersion: 1.10
CurrentVersionCode: 2
Donate: https://example.org/donate
Builds:
  - versionName: one
    versionCode: 1
    antifeatures: KnownVuln
  - versionCode: 2
  - versionCode: 3
    disable: does not start
`),
		"metadata/org.example.a/de/short_description.txt":        file("\n" + strings.Repeat("ü", 90)),
		"metadata/org.example.a/de/changelogs/2.txt":             file("Neu.\n"),
		"metadata/org.example.a/en-US/full_description.txt":      file("Full\n"),
		"metadata/org.example.a/en-US/description.txt":           file("not this one"),
		"metadata/org.example.a/en-US/changelogs/default.txt":    file("Something.\n"),
		"metadata/org.example.a/en-US/images/icon.png":           file("\x89PNG icon"),
		"metadata/org.example.a/en-US/phoneScreenshots/2.png":    file("\x89PNG 2"),
		"metadata/org.example.a/en-US/phoneScreenshots/10.jpg":   file("JPEG 10"),
		"metadata/org.example.a/en-US/phoneScreenshots/note.txt": file("no picture"),
		"metadata/org.example.b.yml":                             file("Disabled: gone\n"),
		"metadata/org.example.d.yml":                             file("Categories: [unclosed\n"),
	}
}

func TestRead(t *testing.T) {
	r, err := migrate.Read(t.Context(), newFolder(t), migrate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "Ours" || r.Address != "https://example.org/fdroid/repo" || !slices.Equal(r.Mirrors, []string{"https://example.net/fdroid", "https://example.com/fdroid"}) {
		t.Errorf("config: %+v", r)
	}
	if len(r.Apps) != 1 || r.Apps[0].Package != "org.example.a" {
		t.Fatalf("%d apps: %v", len(r.Apps), r.Problems)
	}
	all := strings.Join(r.Problems, "\n")
	for _, want := range []string{"repo/broken.apk: ", "repo/main.x.obb: want main.CODE.PACKAGE.obb", "metadata/org.example.b.yml: the app is disabled: gone",
		"metadata/org.example.c.yml: it is not there", "metadata/org.example.d.yml: it cannot be read: "} {
		if !strings.Contains(all, want) {
			t.Errorf("problems lack %q:\n%s", want, all)
		}
	}
	checkApp(t, r.Apps[0])
	tr := dir.New(t.TempDir())
	if err := r.Copy(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	for name := range r.Files {
		got, err := tree.ReadAll(t.Context(), tr, fdroid.Folder+"/"+name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(f)
		f.Close()
		if err != nil || !bytes.Equal(got, want) || len(got) == 0 {
			t.Errorf("%s: %d bytes were copied, want %d, %v", name, len(got), len(want), err)
		}
	}
}

func checkApp(t *testing.T, a *fdroid.App) {
	t.Helper()
	if !slices.Equal(a.Categories, []string{"Internet", "2.0"}) || a.License != "MIT" || a.Name["en-US"] != "A & <b>" || a.SuggestedName != "1.1" || a.SuggestedCode != 2 {
		t.Errorf("app: %+v", a)
	}
	if got := a.Summary["de"]; got != strings.Repeat("ü", 80) {
		t.Errorf("summary %q: want it cut to 80 characters", got)
	}
	if a.Description["en-US"] != "Full\n" || a.AntiFeatures["Ads"]["en-US"] != "They pay." || a.AntiFeatures["Tracking"]["de"] != "Zählt." {
		t.Errorf("description %q, anti-features %v", a.Description, a.AntiFeatures)
	}
	if !strings.HasPrefix(a.Icon["en-US"].Name, "org.example.a/en-US/icon_") || len(a.Phone["en-US"]) != 2 || a.Phone["en-US"][0].Name != "org.example.a/en-US/phoneScreenshots/10.jpg" {
		t.Errorf("icon %v, screenshots %v", a.Icon, a.Phone)
	}
	if len(a.Versions) != 2 || a.Versions[0].Code != 2 || a.Versions[1].Code != 1 || a.Added != 1_600_000_000 {
		t.Fatalf("versions: %+v: want 2 and 1, for 3 is disabled", a.Versions)
	}
	v := a.Versions[0]
	if v.WhatsNew["de"] != "Neu.\n" || v.WhatsNew["en-US"] != "Something.\n" || v.Name != "v2" || v.MinSDK != 26 || len(v.Signers) != 1 || len(v.Sig) != 32 ||
		len(v.Permissions) != 0 || len(v.PermissionsSDK23) != 1 {
		t.Errorf("version 2: %+v", v)
	}
	if _, ok := a.Versions[1].AntiFeatures["KnownVuln"]; !ok || a.Versions[1].WhatsNew != nil {
		t.Errorf("version 1: %+v", a.Versions[1])
	}
}

func TestNoRepository(t *testing.T) {
	empty := t.TempDir()
	if _, err := migrate.Read(t.Context(), os.DirFS(empty), migrate.Options{}); err == nil || !strings.Contains(err.Error(), "name the folder that holds") {
		t.Errorf("an empty folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(empty, "config.yml"), []byte("a: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := migrate.Read(t.Context(), os.DirFS(empty), migrate.Options{}); err == nil || !strings.Contains(err.Error(), "config.yml") {
		t.Errorf("a broken config.yml: %v", err)
	}
}
