package repo_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	publish "mios/publish/repo"
)

// TestPrune publishes for a time, and removes what nothing names any more: devices
// notice nothing, and one that began to look before the last change ends well.
func TestPrune(t *testing.T) {
	d := newDeskOf(t, 12, publish.InitOptions{AppBits: 1, ClaimBits: 1})
	ctx := t.Context()
	d.now = time.Now()
	for n := 2; n < 8; n++ {
		a := app(n, n)
		a.Listing.Author = strings.Repeat("x", n)
		d.setApps(a)
	}
	slow := d.fresh() // it has metadata, and no bins
	if p, err := d.repo.Prune(ctx, 24*time.Hour); err != nil || p.Files != 0 || p.Kept < 30 {
		t.Errorf("Prune of what is new = %+v, %v; want nothing removed", p, err)
	}
	if _, err := d.repo.Prune(ctx, 0); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Prune of everything = %v", err)
	}
	// All was stored forty days ago, and one thing changed since.
	err := filepath.WalkDir(filepath.Join(d.dir, publish.PublicDir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		old := time.Now().Add(-40 * 24 * time.Hour)
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	changed := app(3, 9)
	changed.Listing.Author = "Somebody"
	d.must(d.repo.SetApps(ctx, changed))
	before := len(d.fileNames())
	p, err := d.repo.Prune(ctx, 30*24*time.Hour)
	if err != nil || p.Files < 20 || p.Bytes < 1000 || len(d.fileNames()) != before-p.Files {
		t.Errorf("Prune = %+v, %v; %d files before, %d after", p, err, before, len(d.fileNames()))
	}
	t.Logf("pruned %+v", *p)
	if list, err := slow.AppReleases(ctx); err != nil || len(list) != 12 {
		t.Errorf("a slow device reads %d apps, %v", len(list), err)
	}
	if found, err := slow.Search(ctx, "xxxx", ""); err != nil || len(found) != 4 {
		t.Errorf("a slow device finds %s, %v", names(found), err)
	}
	for i := range 2 {
		c := d.fresh()
		if list, err := c.AppReleases(ctx); err != nil || len(list) != 12+i {
			t.Errorf("afterwards %d apps, %v", len(list), err)
		}
		for _, query := range []string{"somebody", "application 4"} {
			if found, err := c.Search(ctx, query, ""); err != nil || len(found) == 0 {
				t.Errorf("afterwards Search(%q) = %s, %v", query, names(found), err)
			}
		}
		d.setApps(app(50+i, 1))
		d.must(d.repo.Refresh(ctx))
	}
}
