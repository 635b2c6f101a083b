package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/storetest"
	"mios/storage/blob"
	"mios/storage/record"
)

// A backend is where a store keeps its rows and files.
type backend struct{ records, blobs string }

// backends are those that every test of a store runs on.
var backends = map[string]func(t *testing.T) backend{
	"sqlite": func(t *testing.T) backend {
		dir := t.TempDir()
		return backend{"sqlite:" + filepath.Join(dir, "store.db"), filepath.Join(dir, "blobs")}
	},
	"postgres": func(t *testing.T) backend {
		return backend{testkit.Postgres(t), testkit.S3(t)}
	},
}

// each runs a test on every backend.
func each(t *testing.T, f func(d *desk)) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(backends)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(newDesk(t, backends[name](t)))
		})
	}
}

// A desk is a store with all that is around it.
type desk struct {
	*testing.T
	*app.Store
	cfg app.Config
	ada apksig.Signer // whose app org.example.clock is

	mu  sync.Mutex
	now time.Time
}

func newDesk(t *testing.T, b backend) *desk {
	t.Helper()
	d := &desk{T: t, ada: apptest.Signer(t), now: time.Now().Truncate(time.Second)}
	d.cfg = storetest.Config(t, b.records, b.blobs)
	d.cfg.Parser, d.cfg.Now = storetest.InProcess{}, d.clock
	d.open()
	return d
}

// open opens the store anew, as after a start.
func (d *desk) open() {
	d.Helper()
	s, err := app.Open(d.Context(), d.cfg)
	if err != nil {
		d.Fatal(err)
	}
	d.Store = s
}

func (d *desk) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// pass lets time pass.
func (d *desk) pass(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(t)
}

// upload is one of packages, named by their places.
func upload(apks ...[]byte) app.Upload {
	var u app.Upload
	for i, b := range apks {
		u.Files = append(u.Files, app.UploadFile{Name: fmt.Sprintf("%d.apk", i), Content: bytes.NewReader(b)})
	}
	return u
}

// version builds a version of ada's clock.
func (d *desk) version(n int) []byte {
	return apptest.APK{VersionCode: n, Signers: []apksig.Signer{d.ada}}.Build(d)
}

// submit hands in a version of the clock as ada.
func (d *desk) submit(n int) *app.Submission {
	d.Helper()
	sub, err := d.Submit(d.Context(), "ada", upload(d.version(n)))
	if err != nil {
		d.Fatal(err)
	}
	return sub
}

// approve approves a submission as rex, the reviewer.
func (d *desk) approve(id string) {
	d.Helper()
	if _, err := d.Review(d.Context(), "rex", id, true, ""); err != nil {
		d.Fatal(err)
	}
}

// release releases a version of the clock on production, for everybody unless
// the options say otherwise, and compiles.
func (d *desk) release(n int, o app.ReleaseOptions) *app.Release {
	d.Helper()
	sub := d.submit(n)
	d.approve(sub.ID)
	if o.Share == 0 {
		o.Share = api.Everyone
	}
	r, err := d.Release(d.Context(), "rex", sub.ID, o)
	if err != nil {
		d.Fatal(err)
	}
	d.compile()
	return r
}

func (d *desk) compile() *app.Compiled {
	d.Helper()
	c, err := d.Compile(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	return c
}

const clock = "org.example.clock"

// rows counts the rows of all tables that submissions leave something in, and
// the blobs.
func (d *desk) rows() map[string]int {
	d.Helper()
	return countRows(d.T, d.cfg.DB, d.cfg.Blobs)
}

func countRows(t *testing.T, db *record.DB, blobs blob.Store) map[string]int {
	t.Helper()
	n := map[string]int{}
	err := db.View(t.Context(), func(tx *record.Tx) error {
		for _, table := range []string{"events", "apps", "submissions", "releases", "deltas", "blobs", "outbox", "fdroid"} {
			var count int
			if err := tx.QueryRow(`SELECT COUNT(*) FROM store_` + table).Scan(&count); err != nil {
				return err
			}
			n[table] = count
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range blobs.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n["files"]++
	}
	return n
}

// refuses checks that an upload is refused with one kind of error and a
// sentence, and that nothing is left of it.
func (d *desk) refuses(name, who string, u app.Upload, want error, sentence string) {
	d.Helper()
	before := d.rows()
	_, err := d.Submit(d.Context(), who, u)
	if !errors.Is(err, want) || err == nil || !strings.Contains(err.Error(), sentence) {
		d.Errorf("%s: Submit = %v, want %v and %q", name, err, want, sentence)
	}
	if after := d.rows(); !maps.Equal(before, after) {
		d.Errorf("%s: something is left behind: %v, before %v", name, after, before)
	}
}

// events are what the history says was done to a package.
func (d *desk) events(pkg string) []string {
	d.Helper()
	list, err := d.History(d.Context(), pkg)
	if err != nil && !errors.Is(err, mios.ErrNotFound) {
		d.Fatal(err)
	}
	var what []string
	for _, e := range list {
		what = append(what, e.Who+" "+e.What)
	}
	return what
}
