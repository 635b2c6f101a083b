package repo_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/api/repo"
	publish "mios/publish/repo"
	"mios/publish/repotest"
)

var owner = mios.Sum([]byte("owner"))

// app is version n of the i-th app, with its file and a listing.
func app(i, n int) publish.App {
	pkg := fmt.Sprintf("org.example.app%d", i)
	apk := fmt.Sprintf("%s %d", pkg, n)
	target := repo.Target{Path: repo.AppPath(pkg, int64(n)), Length: int64(len(apk)), SHA256: mios.Sum([]byte(apk))}
	rel := repo.AppRelease{
		Release: int64(n), Target: target, Package: pkg, VersionCode: int64(n), VersionName: fmt.Sprint(n), Signers: []mios.Digest{owner},
		MinSDK: 21, Tracks: []string{repo.TrackProduction}, Share: repo.Everyone,
	}
	return publish.App{
		Package: repo.Package{Package: pkg, Releases: []repo.AppRelease{rel}},
		Listing: &repo.Listing{
			Package: pkg, Author: fmt.Sprintf("Author%d", i%50), Categories: []string{[]string{"Games", "Office & Home"}[i%2]},
			Locales: map[string]repo.LocaleListing{
				"en-US": {Name: fmt.Sprintf("Application %d", i), Summary: fmt.Sprintf("An app of kind k%d for tests", i%7)},
				"de":    {Name: fmt.Sprintf("Größte Anwendung %d", i)},
			},
		},
		Files: []publish.File{{Target: target, Content: strings.NewReader(apk)}},
	}
}

// setApps claims and publishes apps.
func (d *desk) setApps(apps ...publish.App) *publish.Result {
	d.tb.Helper()
	var claims []repo.Claim
	for _, a := range apps {
		claims = append(claims, repo.Claim{Package: a.Package.Package, Signers: []mios.Digest{owner}})
	}
	if _, err := d.repo.Claim(d.tb.Context(), claims...); err != nil {
		d.tb.Fatal(err)
	}
	return d.must(d.repo.SetApps(d.tb.Context(), apps...))
}

// newDeskOf is [newDesk] with another number of bins, and n apps.
func newDeskOf(tb testing.TB, n int, o publish.InitOptions) *desk {
	tb.Helper()
	d := &desk{tb: tb, dir: filepath.Join(tb.TempDir(), "repo"), keys: repotest.Keys(tb), now: start}
	var err error
	if d.repo, err = publish.Init(tb.Context(), d.dir, d.keys, o, publish.WithClock(d.clock)); err != nil {
		tb.Fatal(err)
	}
	var apps []publish.App
	for i := range n {
		apps = append(apps, app(i, 1))
	}
	if n > 0 {
		d.setApps(apps...)
	}
	return d
}

// TestManyBins signs every bin again when half of its life is over.
func TestManyBins(t *testing.T) {
	d := newDeskOf(t, 120, publish.InitOptions{AppBits: 3})
	d.now = start.Add(20 * 24 * time.Hour) // so that every bin is signed again
	if res := d.must(d.repo.Refresh(t.Context())); len(res.Roles) < 10 {
		t.Errorf("%d roles signed again, want all 8 bins and more", len(res.Roles))
	}
}
