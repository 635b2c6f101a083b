package migrate_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"mios/internal/conformance"
	"mios/internal/testkit"
	"mios/publish/app/fdroid"
	"mios/publish/app/fdroid/migrate"
	"mios/storage/tree/dir"
)

// documented are the differences from fdroidserver's indexes that are meant;
// docs/fdroid.md lists them. The path is that of a value, its parts separated
// by slashes.
var documented = []struct{ path, why string }{
	{`index-v2.json/packages/[^/]+/versions/[^/]+/file/ipfsCIDv1`, "we do not name files for IPFS"},
	{`index-v2.json/repo/icon/en-US/(name|sha256|size)`, "the icon is not in the set, so the test gives another; its name has its hash"},
	{`index-v1.json/repo/icon`, "likewise"},
	{`entry.json/index/(name|sha256|size)`, "the index has its hash in its name, so that an old entry.jar finds what it names"},
	{`index-v1.json/apps/(info.guardianproject.urzip|obb.mainpatch.current)/icon`, "one icon an app: old clients get that of the listing, too"},
	{`index-v2.json/packages/info.guardianproject.urzip/metadata/(featureGraphic|icon)/en-US/(name|sha256|size)`, "fdroidserver compresses pictures of metadata/ anew; we take them as they are"},
	{`index-v1.json/apps/info.guardianproject.urzip/localized/en-US/(featureGraphic|icon)`, "likewise"},
	{`index-v2.json/packages/info.guardianproject.urzip/versions/[^/]+/whatsNew/en-US`, "changelogs/100.txt belongs to version 100; fdroidserver wants an entry in Builds, too"},
	{`index-v1.json/apps/info.guardianproject.urzip/localized/en-US/whatsNew`, "likewise: it takes default.txt, since the suggested version is none there is"},
	{`index-v1.json/packages/duplicate.permisssions/[^/]+/versionName`, "F-Droid's client refuses an index-v1 with a version that has no versionName: an empty one stands there"},
	{`index-v1.json/packages/(com.politedroid|no.min.target.sdk)/[^/]+/targetSdkVersion`, "said also where the manifest does not: it is minSdkVersion"},
	{`index-v1.json/packages/no.min.target.sdk/[^/]+/minSdkVersion`, "a manifest without one means 1 (Android), not 3 (fdroidserver, after an old aapt)"},
	{`index-v2.json/packages/no.min.target.sdk/versions/[^/]+/manifest/usesSdk/(min|target)SdkVersion`, "likewise"},
}

// TestConformance reads the repository that fdroidserver made, and publishes it:
// the indexes are fdroidserver's, value by value, but for what is documented.
func TestConformance(t *testing.T) {
	root := conformance.Dir(t, "fdroid")
	r, err := migrate.Read(t.Context(), os.DirFS(root), migrate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Log(p)
	}
	want := map[string]map[string]any{}
	for _, name := range []string{"index-v1.json", "index-v2.json", "entry.json"} {
		b, err := os.ReadFile(filepath.Join(root, "repo", name))
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		want[name] = v
	}
	tr := dir.New(t.TempDir())
	c := configOf(t, want["index-v2.json"]["repo"])
	c.Tree, c.Key = tr, testkit.RSA(0)
	if err := r.Copy(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	setDates(r.Apps, want["index-v2.json"])
	_, err = fdroid.Publish(t.Context(), c, func(yield func(*fdroid.App, error) bool) {
		for _, a := range r.Apps {
			if !yield(a, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	entry := object(t, read(t, tr, "entry.json"))
	name := entry["index"].(map[string]any)["name"].(string)
	got := map[string]map[string]any{
		"entry.json":    entry,
		"index-v2.json": object(t, read(t, tr, name[1:])),
		"index-v1.json": object(t, inJAR(t, read(t, tr, "index-v1.jar"))),
	}
	for _, index := range []map[string]map[string]any{got, want} {
		byName(index["index-v1.json"])
		asSets(index["index-v1.json"])
		asSets(index["index-v2.json"])
	}
	used := map[string]bool{}
	for _, name := range []string{"index-v1.json", "index-v2.json", "entry.json"} {
		compareIndex(t, name, got[name], want[name], used)
	}
	for _, d := range documented {
		if !used[d.path] {
			t.Errorf("%s is documented to differ, and does not", d.path)
		}
	}
}

func compareIndex(t *testing.T, name string, got, want map[string]any, used map[string]bool) {
	tally := conformance.New(t, "F-Droid's "+name+" (values equal or documented)")
	a, b := map[string]any{}, map[string]any{}
	flatten(name, got, a)
	flatten(name, want, b)
	for k := range b {
		if _, ok := a[k]; !ok {
			a[k] = nil
		}
	}
	equal, known := 0, 0
	paths := slices.Sorted(func(yield func(string) bool) {
		for k := range a {
			if !yield(k) {
				return
			}
		}
	})
	for _, path := range paths {
		same := reflect.DeepEqual(a[path], b[path])
		why := ""
		if !same {
			why = reason(path, used)
		}
		tally.Case(same || why != "")
		switch {
		case same:
			equal++
		case why != "":
			known++
		default:
			t.Errorf("%s: %v, fdroidserver has %v", path, a[path], b[path])
		}
	}
	t.Logf("%s: %d values compared, %d equal, %d documented", name, len(paths), equal, known)
}

// reason says why two values may differ, and notes what it takes that from.
func reason(path string, used map[string]bool) string {
	for _, d := range documented {
		if regexp.MustCompile("^" + d.path + "$").MatchString(path) {
			used[d.path] = true
			return d.why
		}
	}
	return ""
}

// flatten lists all values that are no objects by their paths. Empty objects
// and lists are values.
func flatten(path string, v any, out map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			flatten(path+"/"+k, e, out)
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for i, e := range v {
			flatten(fmt.Sprint(path, "/", i), e, out)
		}
		if len(v) > 0 {
			return
		}
	}
	out[path] = v
}

// byName makes of index-v1's apps an object by package, and of the versions
// one by hash: their order means nothing to clients. Texts of an app that
// index-v1 has in the app itself are put where those by locale are, for clients
// take those first.
func byName(index map[string]any) {
	apps := map[string]any{}
	for _, a := range index["apps"].([]any) {
		a := a.(map[string]any)
		apps[a["packageName"].(string)] = a
		for _, k := range []string{"name", "summary", "description"} {
			s, ok := a[k]
			if !ok {
				continue
			}
			if a["localized"] == nil {
				a["localized"] = map[string]any{}
			}
			localized := a["localized"].(map[string]any)
			for _, l := range localized {
				delete(l.(map[string]any), k)
			}
			if localized["en-US"] == nil {
				localized["en-US"] = map[string]any{}
			}
			localized["en-US"].(map[string]any)[k] = s
			delete(a, k)
		}
	}
	index["apps"] = apps
	for pkg, list := range index["packages"].(map[string]any) {
		versions := map[string]any{}
		for i, v := range list.([]any) {
			v.(map[string]any)["place"] = i
			versions[v.(map[string]any)["hash"].(string)] = v
		}
		index["packages"].(map[string]any)[pkg] = versions
	}
}

// asSets makes of lists of permissions objects by name: their order means
// nothing, nor does it when one is there twice.
func asSets(index map[string]any) {
	for _, pkg := range index["packages"].(map[string]any) {
		versions := pkg.(map[string]any)
		if v2, ok := versions["versions"].(map[string]any); ok {
			versions = v2
		}
		for _, v := range versions {
			fields := v.(map[string]any)
			if manifest, ok := fields["manifest"].(map[string]any); ok {
				fields = manifest
			}
			for _, k := range []string{"uses-permission", "uses-permission-sdk-23", "usesPermission", "usesPermissionSdk23"} {
				list, ok := fields[k].([]any)
				if !ok {
					continue
				}
				set := map[string]any{}
				for _, p := range list {
					switch p := p.(type) {
					case []any:
						set[p[0].(string)] = p[1]
					case map[string]any:
						set[p["name"].(string)] = p["maxSdkVersion"]
					}
				}
				fields[k] = set
			}
		}
	}
}

// setDates takes over the dates of fdroidserver, which come from the moment
// when it was run first.
func setDates(apps []*fdroid.App, index map[string]any) {
	packages := index["packages"].(map[string]any)
	for _, a := range apps {
		p, ok := packages[a.Package].(map[string]any)
		if !ok {
			continue
		}
		meta := p["metadata"].(map[string]any)
		a.Added, a.Updated = seconds(meta["added"]), seconds(meta["lastUpdated"])
		for i := range a.Versions {
			if v, ok := p["versions"].(map[string]any)[a.Versions[i].File.Digest.String()].(map[string]any); ok {
				a.Versions[i].Added = seconds(v["added"])
			}
		}
	}
}

func seconds(v any) int64 { return int64(v.(float64)) / 1000 }

// configOf is the configuration that fdroidserver had, from the index.
func configOf(t *testing.T, repo any) fdroid.Config {
	t.Helper()
	b, err := json.Marshal(repo)
	if err != nil {
		t.Fatal(err)
	}
	type group struct {
		Name, Description fdroid.Text
		Icon              map[string]jsonFile
	}
	var v struct {
		Name, Description fdroid.Text
		Address           string
		Mirrors           []struct{ URL string }
		Timestamp         int64
		AntiFeatures      map[string]group
		Categories        map[string]group
		Requests          struct{ Install, Uninstall []string }
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	c := fdroid.Config{Name: v.Name, Description: v.Description, Address: v.Address, Time: time.UnixMilli(v.Timestamp),
		Install: v.Requests.Install, Uninstall: v.Requests.Uninstall, Icon: []byte("\x89PNG"),
		AntiFeatures: map[string]fdroid.Group{}, Categories: map[string]fdroid.Group{}}
	for _, m := range v.Mirrors {
		c.Mirrors = append(c.Mirrors, m.URL)
	}
	for _, g := range []struct {
		from map[string]group
		to   map[string]fdroid.Group
	}{{v.AntiFeatures, c.AntiFeatures}, {v.Categories, c.Categories}} {
		for name, one := range g.from {
			out := fdroid.Group{Name: one.Name, Description: one.Description, Icon: fdroid.Images{}}
			for locale, f := range one.Icon {
				out.Icon[locale] = f.file(t)
			}
			g.to[name] = out
		}
	}
	return c
}
