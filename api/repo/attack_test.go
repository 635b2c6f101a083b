package repo_test

import (
	"encoding/json"
	"errors"
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

// bin is how the test's repository calls the app's bin.
func (w *world) bin() string {
	return w.role(repo.RoleApps).Signed.Delegations.SuccinctRoles.GetRolesForTarget(repo.PackagePath(clockApp))[0].Name
}

// claimBin is the bin of the app's claim.
func (w *world) claimBin() string {
	return w.role(repo.RoleClaims).Signed.Delegations.SuccinctRoles.GetRolesForTarget(repo.ClaimsPath(clockApp))[0].Name
}

// onlineKeys are the roles whose keys are on servers.
var onlineKeys = []string{key.Apps, key.Rollout, key.Snapshot, key.Timestamp}

// attacks are what whoever holds the mirror can do, some with stolen keys. The
// device must refuse for that reason, and know afterwards what it knew before.
var attacks = []struct {
	name   string
	attack func(w *world)
	want   error
}{
	{"freeze: the same files after the timestamp ended", func(w *world) { w.now = w.now.Add(25 * time.Hour) }, repo.ErrExpired},
	{"expired snapshot under a stolen timestamp key", func(w *world) {
		w.now = w.now.Add(8 * 24 * time.Hour)
		w.freshTimestamp()
	}, repo.ErrExpired},
	{"expired targets under stolen online keys", func(w *world) {
		w.now = w.now.Add(370 * 24 * time.Hour)
		_, snap := w.current()
		snap.Signed.Expires = w.now.Add(time.Hour)
		w.forgeSnapshot(snap)
		w.freshTimestamp()
	}, repo.ErrExpired},
	{"expired root", func(w *world) {
		w.now = w.now.Add(3 * 365 * 24 * time.Hour)
		w.freshTimestamp()
	}, repo.ErrExpired},

	{"an older timestamp", func(w *world) {
		old := w.saveMirror()
		w.tick()
		w.must(w.repo.Refresh(w.tb.Context()))
		w.sync()
		w.refresh()
		w.mirror.files = old
	}, repo.ErrRollback},
	{"an older snapshot under a stolen timestamp key", func(w *world) {
		ts, snap := w.current()
		v := snap.Signed.Version - 1
		ts.Signed.Meta["snapshot.json"] = metaFile(v, w.mirror.files[fmt.Sprintf("metadata/%d.snapshot.json", v)])
		w.forgeTimestamp(ts)
	}, repo.ErrRollback},
	{"older releases under stolen timestamp and snapshot keys", func(w *world) {
		_, snap := w.current()
		v := snap.Signed.Meta["os-iot.json"].Version - 1
		snap.Signed.Meta["os-iot.json"] = metaFile(v, w.mirror.files[fmt.Sprintf("metadata/%d.os-iot.json", v)])
		w.forgeSnapshot(snap)
	}, repo.ErrRollback},
	{"no releases under stolen timestamp and snapshot keys", func(w *world) {
		_, snap := w.current()
		delete(snap.Signed.Meta, "os-iot.json")
		w.forgeSnapshot(snap)
	}, repo.ErrRollback},
	{"an older root as the next one", func(w *world) {
		w.mirror.files["metadata/2.root.json"] = w.mirror.files["metadata/1.root.json"]
	}, repo.ErrRollback},

	{"another snapshot of the vendor's", func(w *world) {
		// Two of the same length, or it would be the length that gives it away.
		var old, now []byte
		for ok := true; ok; ok = len(old) != len(now) {
			w.tick()
			w.must(w.repo.SetRollout(w.tb.Context(), "iot", owner, repo.Narrow{}))
			w.sync()
			old, now = now, w.mirror.files[w.nameOf("snapshot")]
		}
		w.mirror.files[w.nameOf("snapshot")] = old
	}, repo.ErrMix},
	{"one byte changed in the releases", func(w *world) { w.newRelease(); w.flip("os-iot") }, repo.ErrMix},
	{"one byte changed in the rollout", func(w *world) { w.newRelease(); w.flip("rollout") }, repo.ErrMix},
	{"a root that skips a version", func(w *world) {
		root := read[metadata.RootType](w, "1.root.json")
		root.Signed.Version = 3
		write(w, "2.root.json", root, key.Root)
	}, repo.ErrMix},
	{"another rollout file", func(w *world) {
		w.newRelease()
		for name, b := range w.mirror.files {
			if strings.HasPrefix(name, "rollout/") {
				b = append([]byte(nil), b...)
				b[len(b)/2] ^= 1
				w.mirror.files[name] = b
			}
		}
	}, repo.ErrHash},

	{"an endless root", func(w *world) { w.endless("metadata/2.root.json") }, repo.ErrLength},
	{"an endless timestamp", func(w *world) { w.endless("metadata/timestamp.json") }, repo.ErrLength},
	{"an endless snapshot", func(w *world) { w.newRelease(); w.endless(w.nameOf("snapshot")) }, repo.ErrLength},
	{"endless releases", func(w *world) { w.newRelease(); w.endless(w.nameOf("os-iot")) }, repo.ErrLength},
	{"an endless timestamp, and a fetcher that does not count", func(w *world) {
		w.mirror.rude = true
		w.endless("metadata/timestamp.json")
	}, repo.ErrLength},
	{"endless releases, and a fetcher that does not count", func(w *world) {
		w.newRelease()
		w.mirror.rude = true
		w.endless(w.nameOf("os-iot"))
	}, repo.ErrLength},
	{"a truncated timestamp", func(w *world) { w.truncate("metadata/timestamp.json") }, mios.ErrInvalid},
	{"a truncated snapshot", func(w *world) { w.newRelease(); w.truncate(w.nameOf("snapshot")) }, repo.ErrLength},
	{"truncated releases", func(w *world) { w.newRelease(); w.truncate(w.nameOf("os-iot")) }, repo.ErrLength},
	{"an empty timestamp", func(w *world) { w.mirror.files["metadata/timestamp.json"] = nil }, mios.ErrInvalid},
	{"no timestamp", func(w *world) { delete(w.mirror.files, "metadata/timestamp.json") }, mios.ErrNotFound},
	{"a snapshot of 1 TiB under a stolen timestamp key", func(w *world) {
		ts, _ := w.current()
		ts.Signed.Meta["snapshot.json"].Version++
		ts.Signed.Meta["snapshot.json"].Length = 1 << 40
		w.forgeTimestamp(ts)
	}, repo.ErrLength},

	{"a timestamp by a stranger", func(w *world) {
		w.keys = repotest.Keys(w.tb)
		w.freshTimestamp()
	}, repo.ErrSignature},
	{"a timestamp by the snapshot's key", func(w *world) {
		ts, _ := w.current()
		ts.Signed.Version++
		write(w, "timestamp.json", ts, key.Snapshot)
	}, repo.ErrSignature},
	{"a root by a stranger", func(w *world) {
		root := read[metadata.RootType](w, "1.root.json")
		root.Signed.Version = 2
		w.keys = repotest.Keys(w.tb)
		write(w, "2.root.json", root, key.Root)
	}, repo.ErrSignature},
	{"a root by one key of three, twice", func(w *world) {
		root := read[metadata.RootType](w, "1.root.json")
		root.Signed.Version = 2
		write(w, "2.root.json", root, key.Root)
		root.Signatures = root.Signatures[:1]
		b, _ := root.ToBytes(false)
		w.mirror.files["metadata/2.root.json"] = b
	}, repo.ErrSignature},
	{"a root by all online keys", func(w *world) {
		root := read[metadata.RootType](w, "1.root.json")
		root.Signed.Version = 2
		write(w, "2.root.json", root, onlineKeys...)
	}, repo.ErrSignature},
	{"releases by all online keys", func(w *world) {
		m := w.role("os-iot")
		m.Signed.Version++
		b := write(w, fmt.Sprintf("%d.os-iot.json", m.Signed.Version), m, onlineKeys...)
		_, snap := w.current()
		snap.Signed.Meta["os-iot.json"] = metaFile(m.Signed.Version, b)
		w.forgeSnapshot(snap)
	}, repo.ErrSignature},
	{"releases by one of two keys", func(w *world) {
		m := w.role("os-iot")
		m.Signed.Version++
		write(w, "x.json", m, key.OS)
		m.Signatures = m.Signatures[:1]
		b, _ := m.ToBytes(false)
		w.mirror.files[fmt.Sprintf("metadata/%d.os-iot.json", m.Signed.Version)] = b
		_, snap := w.current()
		snap.Signed.Meta["os-iot.json"] = metaFile(m.Signed.Version, b)
		w.forgeSnapshot(snap)
	}, repo.ErrSignature},
	{"targets by all online keys", func(w *world) { w.forge(metadata.TARGETS, w.role(metadata.TARGETS), key.Snapshot) }, repo.ErrSignature},
	{"a timestamp that does not say when it was signed", func(w *world) {
		ts, _ := w.current()
		ts.Signed.UnrecognizedFields = nil
		w.forgeTimestamp(ts)
	}, mios.ErrInvalid},
	{"a timestamp without a snapshot", func(w *world) {
		ts, _ := w.current()
		ts.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": nil}
		w.forgeTimestamp(ts)
	}, mios.ErrInvalid},
	{"a role without keys", func(w *world) {
		root := read[metadata.RootType](w, "1.root.json")
		root.Signed.Version = 2
		root.Signed.Keys["x"] = nil
		write(w, "2.root.json", root, key.Root)
	}, mios.ErrInvalid},
}

func (w *world) freshTimestamp() {
	ts, _ := w.current()
	ts.Signed.Expires = w.now.Add(time.Hour)
	ts.Signed.UnrecognizedFields = map[string]any{repo.SignedAt: w.now.Format(time.RFC3339)}
	w.forgeTimestamp(ts)
}

// newRelease makes the vendor publish something that the device has not seen.
func (w *world) newRelease() {
	w.tick()
	w.publishOS("iot", 3, repo.Everyone, repo.Everyone)
	w.sync()
}

func (w *world) truncate(name string) {
	w.mirror.files[name] = w.mirror.files[name][:len(w.mirror.files[name])-2]
}

func (w *world) endless(name string) { w.mirror.endless = map[string]bool{name: true} }

func TestAttacks(t *testing.T) {
	base := newWorld(t)
	files, state := base.saveMirror(), base.saveState()
	for _, tt := range attacks {
		t.Run(tt.name, func(t *testing.T) {
			w := base.copy(t, files, state)
			before := w.newest().Version
			tt.attack(w)
			err := w.client.Refresh(t.Context())
			if !errors.Is(err, tt.want) {
				t.Fatalf("Refresh = %v, want %v", err, tt.want)
			}
			if strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("the refusal is no single sentence: %q", err)
			}
			t.Logf("refused: %v", err)
			// What was known before still is, also after a restart, if it is not
			// too old.
			for _, c := range []*repo.Client{w.client, w.open(w.dir)} {
				list, err := c.OSReleases(mios.AMD64, "stable")
				switch {
				case errors.Is(err, repo.ErrExpired) && tt.want == repo.ErrExpired:
				case err != nil || list[0].Version != before:
					t.Errorf("afterwards OSReleases = %v, %v; want version %s", list, err, before)
				}
			}
		})
	}
}

// copy makes a world of its own out of this one's files, with the same vendor.
func (w *world) copy(t *testing.T, files map[string][]byte, state []byte) *world {
	t.Helper()
	c := &world{tb: t, keys: w.keys, now: w.now, mirror: mirror{files: maps.Clone(files)}, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.dir, "trusted.json"), state, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "repo")
	if err := os.CopyFS(path, os.DirFS(w.repo.Dir())); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.repo, err = publish.Open(path, publish.WithKeys(w.keys), publish.WithClock(c.clock)); err != nil {
		t.Fatal(err)
	}
	c.client = c.open(c.dir)
	return c
}

// TestStolenRolloutKey: in the hands of a thief it can narrow a release, never
// widen it.
func TestStolenRolloutKey(t *testing.T) {
	w := newWorld(t)
	if r := w.newest(); r.Version != "2" || r.Share != 100 {
		t.Fatalf("release %s to %s, want 2 to 1 %%", r.Version, r.Share)
	}
	sum := w.newest().Target.SHA256
	for _, tt := range []struct {
		share repo.Share
		want  repo.Share
	}{{10000, 500}, {1 << 40, 500}, {300, 300}, {-1, 0}, {0, 0}} {
		m := w.role(repo.RoleRollout)
		w.putFile(m, repo.RolloutPath("iot"), repo.Rollout{Product: "iot", Releases: map[mios.Digest]repo.Narrow{sum: {Share: tt.share}}})
		w.forge(repo.RoleRollout, m, key.Rollout)
		w.refresh()
		if r := w.newest(); r.Share != tt.want {
			t.Errorf("a stolen key says %d: the release goes to %d, want %d of 10,000", tt.share, r.Share, tt.want)
		}
	}
	// The rollout of another product, and paths beyond its own.
	m := w.role(repo.RoleRollout)
	w.putFile(m, repo.RolloutPath("iot"), repo.Rollout{Product: "car"})
	w.putFile(m, "os/iot/amd64/9-9/payload.bin", "evil")
	w.forge(repo.RoleRollout, m, key.Rollout)
	w.refresh()
	if _, err := w.client.OSReleases(mios.AMD64, "stable"); !errors.Is(err, repo.ErrRole) {
		t.Errorf("OSReleases with another product's rollout = %v, want %v", err, repo.ErrRole)
	}
}

func TestOtherProduct(t *testing.T) {
	w := newWorld(t)
	// The keys of os-iot sign os-car too: its metadata verifies, but speaks of
	// paths that os-iot may not.
	car := w.role("os-car")
	car.Signed.Version = w.role("os-iot").Signed.Version
	w.forge("os-iot", car, key.OS)
	w.refresh()
	if list, err := w.client.OSReleases(mios.AMD64, "stable"); !errors.Is(err, repo.ErrRole) {
		t.Errorf("OSReleases with os-car's files = %v, %v; want %v", list, err, repo.ErrRole)
	}
	// A release of the right path which says that it is for another product.
	m := w.role("os-iot")
	clear(m.Signed.Targets)
	raw := json.RawMessage(`{"product":"car","arch":"amd64","version":"9","build_time":9,"channels":["stable"],"salt":"s","max_share":10000}`)
	f := metadata.TargetFile()
	f.Length, f.Hashes["sha256"], f.Custom = 1, owner[:], &raw
	m.Signed.Targets["os/iot/amd64/9-9/payload.bin"] = f
	w.forge("os-iot", m, key.OS)
	w.refresh()
	if list, err := w.client.OSReleases(mios.AMD64, "stable"); !errors.Is(err, repo.ErrRole) {
		t.Errorf("OSReleases with a release for another product = %v, %v; want %v", list, err, repo.ErrRole)
	}
}
