// Package store_test measures how long it takes from an upload to what devices
// see.
package store_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/fdroid"
	"mios/publish/app/worker"
	"mios/publish/repo"
	"mios/publish/repotest"
	"mios/storage"
	"mios/storage/record"
)

// TestMain lets the program become a worker that parses packages.
func TestMain(m *testing.M) {
	worker.Main()
	m.Run()
}

// runs is how often an upload is measured.
const runs = 9

// BenchmarkStoreUpload takes an upload with many apps in the repository and in
// F-Droid's indexes, and with few: the time from when its bytes are there to
// when the tree is swapped, checks, review and release in between; and that of
// F-Droid's indexes, which follow.
func BenchmarkStoreUpload(b *testing.B) {
	for b.Loop() {
		few, _ := measure(b, 100)
		many, indexes := measure(b, 5000)
		b.ReportMetric(few.Seconds()*1000, "ms/100-apps")
		b.ReportMetric(many.Seconds()*1000, "ms/5000-apps")
		b.ReportMetric(float64(many)/float64(few), "ratio")
		b.ReportMetric(indexes.Seconds()*1000, "ms/indexes")
	}
	b.ReportMetric(0, "ns/op")
}

// measure returns the median times of an upload into a store of n apps.
func measure(b *testing.B, n int) (tree, indexes time.Duration) {
	ctx := b.Context()
	dir := b.TempDir()
	db, err := storage.Records(ctx, "sqlite:"+filepath.Join(dir, "store.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	blobs, err := storage.Blobs(ctx, filepath.Join(dir, "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	r, err := repo.Init(ctx, filepath.Join(dir, "repo"), repotest.Keys(b), repo.InitOptions{AppBits: 7})
	if err != nil {
		b.Fatal(err)
	}
	c := app.Config{DB: db, Blobs: blobs, Repo: r}
	plain, err := app.Open(ctx, c)
	if err != nil {
		b.Fatal(err)
	}
	c.FDroid = &fdroid.Config{Key: testkit.RSA(0), Name: fdroid.Text{"en-US": "Bench"}, Address: "https://example.org/apps"}
	withIndexes, err := app.Open(ctx, c)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, r, db, n)
	var trees, all []time.Duration
	signers := []apksig.Signer{apptest.Signer(b)}
	for i := range runs {
		apk := apptest.APK{Package: fmt.Sprintf("org.example.new%d", i), Label: fmt.Sprint("New ", i), Signers: signers, Files: map[string]string{"assets/x": fmt.Sprint(i)}}.Build(b)
		begin := time.Now()
		sub, err := plain.Submit(ctx, "ada", app.Upload{Files: []app.UploadFile{{Name: "a.apk", Content: bytes.NewReader(apk)}}})
		if err == nil {
			_, err = plain.Review(ctx, "rex", sub.ID, true, "")
		}
		if err == nil {
			_, err = plain.Release(ctx, "rex", sub.ID, app.ReleaseOptions{Share: api.Everyone})
		}
		if err == nil {
			_, err = plain.Compile(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
		trees = append(trees, time.Since(begin))
		touch(b, db)
		begin = time.Now()
		if _, err := withIndexes.Compile(ctx); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(begin))
	}
	return median(trees), median(all)
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// touch says that F-Droid's indexes have to be written.
func touch(b *testing.B, db *record.DB) {
	b.Helper()
	if err := db.Tx(b.Context(), func(tx *record.Tx) error {
		_, err := tx.Exec(`INSERT INTO store_outbox (kind, package, revision) VALUES ('fdroid', '', 1) ON CONFLICT (kind, package) DO NOTHING`)
		return err
	}); err != nil {
		b.Fatal(err)
	}
}

// fill publishes n apps, and writes the rows that they leave in a store, without
// an upload of each.
func fill(b *testing.B, r *repo.Repo, db *record.DB, n int) {
	b.Helper()
	const batch = 500
	owner := mios.Sum([]byte("owner"))
	for from := 0; from < n; from += batch {
		var apps []repo.App
		var claims []api.Claim
		for i := from; i < min(n, from+batch); i++ {
			pkg, content := fmt.Sprintf("org.example.app%05d", i), fmt.Sprint("package ", i)
			target := api.Target{Path: api.AppPath(pkg, 1), Length: int64(len(content)), SHA256: mios.Sum([]byte(content))}
			apps = append(apps, repo.App{
				Package: api.Package{Package: pkg, Releases: []api.AppRelease{{
					Release: 1, Target: target, Package: pkg, VersionCode: 1, VersionName: "1", Signers: []mios.Digest{owner}, Tracks: []string{api.TrackProduction}, Share: api.Everyone,
				}}},
				Listing: &api.Listing{Package: pkg, Locales: map[string]api.LocaleListing{"en-US": {Name: fmt.Sprint("App ", i)}}},
				Files:   []repo.File{{Target: target, Content: bytes.NewReader([]byte(content))}},
			})
			claims = append(claims, api.Claim{Package: pkg, Signers: []mios.Digest{owner}})
		}
		if _, err := r.Claim(b.Context(), claims...); err != nil {
			b.Fatal(err)
		}
		if _, err := r.SetApps(b.Context(), apps...); err != nil {
			b.Fatal(err)
		}
		if err := db.Tx(b.Context(), func(tx *record.Tx) error { return rows(tx, apps) }); err != nil {
			b.Fatal(err)
		}
	}
}

func rows(tx *record.Tx, apps []repo.App) error {
	for i := range apps {
		rel := &apps[i].Package.Releases[0]
		name := apps[i].Listing.Locales["en-US"].Name
		entry, err := json.Marshal(&fdroid.App{
			Package: rel.Package, Added: 1, Updated: 1, Name: fdroid.Text{"en-US": name}, Summary: fdroid.Text{"en-US": "An app among others"},
			Versions: []fdroid.Version{{
				File: fdroid.File{Name: filepath.Base(rel.Target.File()), Digest: rel.Target.SHA256, Size: rel.Target.Length},
				Code: 1, Name: "1", Added: 1, MinSDK: 28, TargetSDK: 35, Signers: rel.Signers,
			}},
		})
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO store_apps (package, label, claim, data, listing) VALUES (?, ?, 'published', '{}', '')`, rel.Package, name); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO store_fdroid (package, data) VALUES (?, ?)`, rel.Package, string(entry)); err != nil {
			return err
		}
	}
	return nil
}
