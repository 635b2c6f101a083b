// Package storetest makes the stores that tests are about.
package storetest

import (
	"context"
	"testing"

	"mios/publish/app"
	"mios/publish/app/check"
	"mios/publish/app/listing"
	"mios/publish/app/report"
	"mios/publish/app/worker"
	"mios/publish/repotest"
	"mios/storage"
)

// Config is that of an empty store with its records and blobs at two addresses, as
// [storage.Records] and [storage.Blobs] have them, and a repository and keys of its
// own. The test closes what it opens.
func Config(tb testing.TB, records, blobs string) app.Config {
	tb.Helper()
	db, err := storage.Records(tb.Context(), records)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	b, err := storage.Blobs(tb.Context(), blobs)
	if err != nil {
		tb.Fatal(err)
	}
	return app.Config{DB: db, Blobs: b, Repo: repotest.New(tb, repotest.Keys(tb))}
}

// InProcess parses in the test's own process, which is quicker where a race detector
// slows programs' starts: what the worker adds is tested on its own.
type InProcess struct{}

// Inspect is what [app.Parser] wants.
func (InProcess) Inspect(ctx context.Context, files []worker.File) (*check.Facts, error) {
	var list []report.Package
	for _, f := range files {
		list = append(list, report.Package{ReaderAt: f.ReaderAt, Name: f.Name, Size: f.Size})
	}
	return check.Inspect(ctx, list)
}

// Convert is what [app.Parser] wants.
func (InProcess) Convert(ctx context.Context, in []byte, kind listing.Kind) ([]listing.Picture, error) {
	return listing.Convert(ctx, in, kind)
}
