package qemu_test

import (
	"context"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mios/desk"
	"mios/key"
	"mios/publish/repo"
	"mios/publish/repotest"
)

const year = 365 * 24 * time.Hour

// TestAYearAsleep: a new device whose clock chip is at 1980 has its build's
// time, then the repository's. A year and three roots later, with new keys for
// everything, it updates itself; and when its clock chip has lost everything
// again, and no server answers, it still knows what time it was.
func TestAYearAsleep(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	lost := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	at := func(clock time.Time) *device {
		return boot(t, release1(t), func(cfg *desk.DeviceConfig) { cfg.Dir, cfg.Clock, cfg.Repository = dir, clock, c.GuestURL() })
	}
	var asked paths
	c.tamper(gone)

	d := at(lost)
	d.healthy()
	d.clockFrom(time.Unix(d.Manifest().BuildTime, 0))
	// The vendor's clock is three hours ahead: the device's must follow.
	now := time.Now().Add(3 * time.Hour).Truncate(time.Second)
	v := vendor{t: t, dir: c.Dir(), now: now, keys: []repo.Keys{the.desk.Keys()}}
	v.must(v.open().Refresh(t.Context()))
	c.tamper(asked.count)
	if said, status := d.update(); status != 0 || !strings.Contains(said, "no newer release") {
		t.Errorf("update_engine_client says %q with status %d, want no newer release", said, status)
	}
	d.clockFrom(now)
	if !asked.has("timestamp.json") {
		t.Errorf("the device asked for %v, and not for the timestamp", asked.list())
	}
	d.Close()

	for range 3 {
		v.rotate(year / 3)
	}
	release := release2(t)
	the.mu.Lock()
	_, _, err := the.desk.Publish(t.Context(), v.open(), release, nil)
	the.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	v.must(v.open().Refresh(t.Context()))
	d = at(v.now)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := d.Healthy(ctx); err != nil { // with release 1, which looks for an update by itself
		t.Fatal(err)
	}
	d.healthy()
	d.want("2 _b healthy")
	d.clockFrom(v.now)
	for _, root := range []string{"2.root.json", "3.root.json", "4.root.json"} {
		if !asked.has(root) {
			t.Errorf("the device asked for %v, and not for %s", asked.list(), root)
		}
	}
	d.Close()

	c.tamper(gone)
	d = at(lost)
	d.healthy()
	d.want("2 _b healthy")
	d.clockFrom(v.now)
}

// clockFrom checks that the device's clock is at a time or at most an hour
// later.
func (d *device) clockFrom(from time.Time) {
	d.t.Helper()
	n, err := strconv.ParseInt(d.shell("date +%s"), 10, 64)
	if got := time.Unix(n, 0); err != nil || got.Before(from) || got.After(from.Add(time.Hour)) {
		d.t.Errorf("the device's clock is at %v (%v), want %v or up to an hour later", got, err, from)
	}
}

// gone is a server without anything.
func gone(http.Handler) http.Handler { return http.NotFoundHandler() }

// paths are what was asked for.
type paths struct {
	mu    sync.Mutex
	names []string
}

func (p *paths) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.names = append(p.names, path.Base(r.URL.Path))
		p.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (p *paths) list() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.names, " ")
}

func (p *paths) has(name string) bool {
	return strings.Contains(" "+p.list()+" ", " "+name+" ")
}

// A vendor has a repository, keys that change, and a clock.
type vendor struct {
	t    *testing.T
	dir  string
	now  time.Time
	keys []repo.Keys
}

func (v *vendor) open() *repo.Repo {
	v.t.Helper()
	r, err := repo.Open(v.dir, repo.WithKeys(v.keys...), repo.WithClock(func() time.Time { return v.now }))
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}

func (v *vendor) must(_ *repo.Result, err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// rotate gives all roles new keys, some time later.
func (v *vendor) rotate(later time.Duration) {
	v.t.Helper()
	v.now = v.now.Add(later)
	fresh, old := repotest.Keys(v.t), v.keys
	v.keys = append([]repo.Keys{fresh}, old...)
	v.must(v.open().Rotate(v.t.Context(), repo.Rotation{Keys: fresh, Roles: []string{
		key.Root, key.Targets, key.Claims, key.Apps, key.Rollout, key.Snapshot, key.Timestamp, "os-iot",
	}}))
	v.keys = []repo.Keys{fresh}
}
