package migrate_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"mios/format/apksig"
	"mios/internal/conformance"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/check"
	"mios/publish/app/fdroid/migrate"
	"mios/publish/app/storetest"
	"mios/publish/app/worker"
)

// TestMain lets the test's own program be the process that reads packages.
func TestMain(m *testing.M) {
	worker.Main()
	os.Exit(m.Run())
}

// newStore is an empty store. If loose is set, its checks are lenient, and what it
// reads it reads in this process.
func newStore(t *testing.T, loose bool) *app.Store {
	t.Helper()
	dir := t.TempDir()
	c := storetest.Config(t, "sqlite:"+filepath.Join(dir, "store.db"), filepath.Join(dir, "blobs"))
	if loose {
		p, err := check.ParsePolicy([]byte("target_sdk: 0\nseverities: {signature-old: warn, debug-key: warn, test-key: warn, debuggable: warn}\n"))
		if err != nil {
			t.Fatal(err)
		}
		c.Policy.Checks, c.Parser = &p, storetest.InProcess{}
	}
	s, err := app.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// versionsOf says of each version "FILE STATE TRACK".
func versionsOf(out *migrate.Imported) (list []string) {
	for _, a := range out.Apps {
		for _, v := range a.Versions {
			list = append(list, strings.TrimSpace(v.File+" "+v.State+" "+v.Track))
		}
	}
	return list
}

// TestImport takes a folder over, twice, and what is new in it once more.
func TestImport(t *testing.T) {
	t.Parallel()
	s := newStore(t, false)
	ada, eve := apptest.Signer(t), apptest.Signer(t)
	pack := func(pkg string, version int, by apksig.Signer, more string) *fstest.MapFile {
		return &fstest.MapFile{Data: apptest.APK{Package: pkg, VersionCode: version, Application: more, Signers: []apksig.Signer{by}}.Build(t)}
	}
	folder := fstest.MapFS{
		"repo/a_1.apk": pack("org.example.a", 1, ada, ""), "repo/a_2.apk": pack("org.example.a", 2, ada, ""), "repo/a_3.apk": pack("org.example.a", 3, ada, ""),
		"repo/b_1.apk": pack("org.example.b", 1, ada, `android:debuggable="true"`), "repo/b_2.apk": pack("org.example.b", 2, eve, ""),
		"repo/c_9.apk": pack("org.example.c", 9, ada, ""), "repo/broken.apk": {Data: []byte("PK no")}, "repo/d_1.zip": {Data: []byte("data")},
		"metadata/org.example.a.yml": {Data: []byte("License: MIT\nAuthorName: Ada\nCategories: [Time]\nAntiFeatures: {Ads: Some}\nCurrentVersionCode: 2\nSummary: It rings\n")},
		"metadata/org.example.b.yml": {Data: []byte("AuthorName: <script>x</script>\n")}, "metadata/org.example.c.yml": {Data: []byte("CurrentVersionCode: 5\n")}, "metadata/d.yml": {},
		"metadata/org.example.a/de/title.txt":                    {Data: []byte("Uhr")},
		"metadata/org.example.a/de/full_description.txt":         {Data: []byte("Mit <script>x</script>")},
		"metadata/org.example.a/de/changelogs/2.txt":             {Data: []byte("Neu")},
		"metadata/org.example.a/en-US/phoneScreenshots/shot.png": {Data: []byte("no picture")},
	}
	im := &migrate.Importer{Store: s, Who: "ada", Why: "it moves"}
	var heard int
	im.Progress = func(string, int, int) { heard++ }
	out, err := im.Import(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"d_1.zip left", "a_1.apk taken production", "a_2.apk taken production", "a_3.apk taken beta", "b_1.apk left", "b_2.apk taken production", "c_9.apk taken production"}
	if got := versionsOf(out); !slices.Equal(got, want) {
		t.Errorf("versions %q,\nwant %q", got, want)
	}
	if !strings.Contains(out.Apps[2].Versions[0].Why, "android:debuggable") || len(out.Left) != 1 || !strings.HasPrefix(out.Left[0], "repo/broken.apk: ") || heard == 0 {
		t.Errorf("left %+v, %q, progress was told %d times", out.Apps[2], out.Left, heard)
	}
	if left := strings.Join(out.Apps[1].Left, "\n"); !strings.Contains(left, "de/full_description.txt: ") || !strings.Contains(left, "phoneScreenshots/shot.png: ") || len(out.Apps[1].Left) != 2 {
		t.Errorf("left of org.example.a: %s", left)
	}
	if left := out.Apps[2].Left; len(left) != 1 || !strings.Contains(left[0], "HTML") {
		t.Errorf("left of org.example.b: %q", left)
	}
	a, err := s.App(t.Context(), "org.example.a")
	if err != nil || a.Project == nil || a.Project.License != "MIT" || a.Project.AntiFeatures["Ads"]["en-US"] != "Some" || len(a.Releases) != 3 {
		t.Errorf("app %+v, %v", a, err)
	}
	before, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if out, err = im.Import(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	want = []string{"d_1.zip left", "a_1.apk there", "a_2.apk there", "a_3.apk there", "b_1.apk left", "b_2.apk there", "c_9.apk there"}
	if got := versionsOf(out); !slices.Equal(got, want) {
		t.Errorf("once more: versions %q,\nwant %q", got, want)
	}
	if after, err := s.Status(t.Context()); err != nil || after.Events != before.Events {
		t.Errorf("importing the same once more is %d events, %v", after.Events-before.Events, err)
	}
	if out.Apps[1].Listing || out.Apps[1].Project {
		t.Errorf("once more: %+v", out.Apps[1])
	}
	folder["repo/a_4.apk"] = pack("org.example.a", 4, ada, "")
	folder["metadata/org.example.a.yml"].Data = []byte("License: MIT\nCurrentVersionCode: 4\n")
	folder["metadata/org.example.a/de/title.txt"].Data = []byte("Neue Uhr")
	if out, err = im.Import(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	if got := versionsOf(out)[4]; got != "a_4.apk taken production" || !out.Apps[1].Listing || !out.Apps[1].Project {
		t.Errorf("a new version: %q, %+v", got, out.Apps[1])
	}
}

// TestImportGoesOn: what somebody rejected stays out, what was submitted but not
// released is, and where another one has to approve, it waits.
func TestImportGoesOn(t *testing.T) {
	t.Parallel()
	s := newStore(t, false)
	ada := []apksig.Signer{apptest.Signer(t)}
	folder := fstest.MapFS{"metadata/org.example.clock.yml": {}, "repo/1.apk": {Data: apptest.APK{VersionCode: 1, Signers: ada}.Build(t)}, "repo/2.apk": {Data: apptest.APK{VersionCode: 2, Signers: ada}.Build(t)}}
	for i, name := range []string{"repo/1.apk", "repo/2.apk"} {
		f, err := folder.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := s.Submit(t.Context(), "ada", app.Upload{Files: []app.UploadFile{{Name: "x.apk", Content: f}}})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := s.Review(t.Context(), "rex", sub.ID, false, "it is ugly"); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := (&migrate.Importer{Store: s, Who: "eve"}).Import(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := versionsOf(out), []string{"1.apk left", "2.apk taken production"}; !slices.Equal(got, want) || out.Apps[0].Versions[0].Why != "it was rejected before: it is ugly" {
		t.Errorf("versions %q, want %q: %+v", got, want, out.Apps[0])
	}
}

// TestImportConformance takes fdroidserver's own test repository over.
func TestImportConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the icons of 17 apps are drawn in many sizes")
	}
	root := conformance.Dir(t, "fdroid")
	out, err := (&migrate.Importer{Store: newStore(t, true), Who: "ada"}).Import(t.Context(), os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	tally := conformance.New(t, "fdroidserver's repository, imported (versions)")
	for _, a := range out.Apps {
		for _, v := range a.Versions {
			// A ZIP file is no app, and of two signers one owns a package.
			ok := (v.State == migrate.Taken) != (strings.HasSuffix(v.File, ".zip") || strings.HasSuffix(v.File, "_another-release-key.apk"))
			if tally.Case(ok); !ok {
				t.Errorf("%s: %s %s", v.File, v.State, v.Why)
			}
		}
	}
	if len(out.Apps) != 11 {
		t.Errorf("%d apps, want 11", len(out.Apps))
	}
}
