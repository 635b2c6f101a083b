package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"mios"
	"mios/api/repo"
	"mios/key"
	publish "mios/publish/repo"
	"mios/publish/repotest"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A world is a vendor's repository, the mirror between it and a device, which
// an attacker holds, and the device.
type world struct {
	tb     testing.TB
	keys   *key.Set
	repo   *publish.Repo
	now    time.Time // everybody's
	mirror mirror
	dir    string // the device's
	client *repo.Client
	// wantRefused is set by an attack that the next look for news finds out.
	wantRefused error
}

// A mirror is what an attacker serves.
type mirror struct {
	files map[string][]byte
	// endless are paths that never end.
	endless map[string]bool
	// rude mirrors' fetchers do not count bytes.
	rude bool
	gets []string
}

func (m *mirror) Get(ctx context.Context, path string, max int64) ([]byte, error) {
	m.gets = append(m.gets, path)
	if m.endless[path] {
		if m.rude {
			return make([]byte, max+1), nil
		}
		return nil, fmt.Errorf("%s: over %d bytes: %w", path, max, repo.ErrLength)
	}
	b, ok := m.files[path]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", path, mios.ErrNotFound)
	case int64(len(b)) > max && !m.rude:
		return nil, fmt.Errorf("%s: over %d bytes: %w", path, max, repo.ErrLength)
	}
	return b, nil
}

// newWorld has releases 1 and 2 (to 5 % at most, 1 % today), an app, and a
// device that knows all of it.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{tb: tb, keys: repotest.Keys(tb), now: start, dir: tb.TempDir()}
	var err error
	w.repo, err = publish.Init(tb.Context(), filepath.Join(tb.TempDir(), "repo"), w.keys, publish.InitOptions{AppBits: 1}, publish.WithClock(w.clock))
	if err != nil {
		tb.Fatal(err)
	}
	w.must(w.repo.AddProduct(tb.Context(), "iot", w.keys, 0))
	w.must(w.repo.AddProduct(tb.Context(), "car", w.keys, 0)) // with the same keys
	w.publishOS("iot", 1, repo.Everyone, repo.Everyone)
	w.publishOS("car", 7, repo.Everyone, repo.Everyone)
	w.tick()
	w.publishOS("iot", 2, 500, 100)
	w.publishApp()
	w.sync()
	w.client = w.open(w.dir)
	w.refresh()
	return w
}

func (w *world) clock() time.Time { return w.now }
func (w *world) tick()            { w.now = w.now.Add(time.Minute) }

func (w *world) must(_ *publish.Result, err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal(err)
	}
}

func payload(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 100+n) }

func (w *world) publishOS(product string, n int, limit, share repo.Share) {
	w.tb.Helper()
	r := &repo.OSRelease{
		Product: product, Arch: mios.AMD64, Version: fmt.Sprint(n), BuildTime: start.Unix() + int64(n),
		Channels: []string{"stable"}, Salt: "salt", MaxShare: limit,
	}
	r.Target = repo.Target{Path: repo.OSPath(product, r.Arch, r.Version, r.BuildTime), Length: int64(len(payload(n))), SHA256: mios.Sum(payload(n))}
	w.must(w.repo.PublishOS(w.tb.Context(), r, bytes.NewReader(payload(n)), share))
}

const clockApp = "org.example.clock"

var owner, thief = mios.Sum([]byte("owner")), mios.Sum([]byte("thief"))

func appRelease(code int64, signer mios.Digest) repo.AppRelease {
	apk := fmt.Appendf(nil, "apk %d", code)
	return repo.AppRelease{
		Target:  repo.Target{Path: repo.AppPath(clockApp, code), Length: int64(len(apk)), SHA256: mios.Sum(apk)},
		Package: clockApp, VersionCode: code, VersionName: "v", Signers: []mios.Digest{signer},
		Release: code, Tracks: []string{repo.TrackProduction}, Share: repo.Everyone,
	}
}

func (w *world) publishApp() {
	w.tb.Helper()
	w.must(w.repo.Claim(w.tb.Context(), repo.Claim{Package: clockApp, Signers: []mios.Digest{owner}}))
	r := appRelease(1, owner)
	w.must(w.repo.PublishApp(w.tb.Context(), &r, strings.NewReader("apk 1")))
}

// sync copies the vendor's tree to the mirror.
func (w *world) sync() {
	w.tb.Helper()
	w.mirror.files = repotest.Load(w.tb, w.repo.Tree())
}

func (w *world) open(dir string) *repo.Client {
	w.tb.Helper()
	c, err := repo.Open(repo.Config{
		Dir: dir, Root: w.mirror.files["metadata/1.root.json"], Fetcher: &w.mirror, Product: "iot",
		BuildTime: start, MaxAge: 12 * time.Hour, Now: w.clock,
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return c
}

func (w *world) refresh() {
	w.tb.Helper()
	if err := w.client.Refresh(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
}

// newest is the newest release that the device knows, whatever its share.
func (w *world) newest() repo.OSRelease {
	w.tb.Helper()
	list, err := w.client.OSReleases(mios.AMD64, "stable")
	if err != nil || len(list) == 0 {
		w.tb.Fatalf("OSReleases = %v, %v", list, err)
	}
	return list[0]
}

// forger is who holds the mirror.
func (w *world) forger() *repotest.Forger {
	return &repotest.Forger{TB: w.tb, Keys: w.keys, Files: w.mirror.files}
}

func read[T metadata.Roles](w *world, name string) *metadata.Metadata[T] {
	w.tb.Helper()
	return repotest.Read[T](w.forger(), name)
}

func write[T metadata.Roles](w *world, name string, m *metadata.Metadata[T], keyRoles ...string) []byte {
	w.tb.Helper()
	return repotest.Write(w.forger(), name, m, keyRoles...)
}

func (w *world) current() (*metadata.Metadata[metadata.TimestampType], *metadata.Metadata[metadata.SnapshotType]) {
	w.tb.Helper()
	return w.forger().Current()
}

func (w *world) role(role string) *metadata.Metadata[metadata.TargetsType] {
	w.tb.Helper()
	return w.forger().Role(role)
}

func (w *world) forge(role string, m *metadata.Metadata[metadata.TargetsType], keyRole string) {
	w.tb.Helper()
	w.forger().Forge(role, m, keyRole)
}

func (w *world) forgeSnapshot(snap *metadata.Metadata[metadata.SnapshotType]) {
	w.tb.Helper()
	w.forger().ForgeSnapshot(snap)
}

func (w *world) forgeTimestamp(ts *metadata.Metadata[metadata.TimestampType]) {
	w.tb.Helper()
	w.forger().ForgeTimestamp(ts)
}

func (w *world) putFile(m *metadata.Metadata[metadata.TargetsType], name string, content any) {
	w.tb.Helper()
	w.forger().Put(m, name, content)
}

// nameOf is the file of a role's newest metadata.
func (w *world) nameOf(role string) string {
	w.tb.Helper()
	return w.forger().Name(role)
}

func (w *world) flip(role string) { w.forger().Flip(w.nameOf(role)) }

func metaFile(version int64, b []byte) *metadata.MetaFiles { return repotest.Meta(version, b) }

func (w *world) saveMirror() map[string][]byte { return maps.Clone(w.mirror.files) }

// saveState is what the device keeps.
func (w *world) saveState() []byte {
	w.tb.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "trusted.json"))
	if err != nil {
		w.tb.Fatal(err)
	}
	return b
}
