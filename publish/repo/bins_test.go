package repo_test

import (
	"path/filepath"
	"testing"
	"time"

	publish "mios/publish/repo"
	"mios/publish/repotest"
)

// TestManyBins keeps a repository for thousands of apps quick.
func TestManyBins(t *testing.T) {
	d := &desk{tb: t, dir: filepath.Join(t.TempDir(), "repo"), keys: repotest.Keys(t), now: start}
	var err error
	if d.repo, err = publish.Init(t.Context(), d.dir, d.keys, publish.InitOptions{AppBits: 7}, publish.WithClock(d.clock)); err != nil {
		t.Fatal(err)
	}
	d.now = start.Add(20 * 24 * time.Hour) // so that every bin is signed again
	began := time.Now()
	if res := d.must(d.repo.Refresh(t.Context())); len(res.Roles) < 129 {
		t.Errorf("%d roles signed again, want all 128 bins and more", len(res.Roles))
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("128 bins signed again in %v", took)
	}
}
