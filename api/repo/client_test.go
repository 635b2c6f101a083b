package repo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/api"
	"mios/api/repo"
	"mios/key"
	publish "mios/publish/repo"
	"mios/publish/repotest"
)

// TestAYearAsleep: three root rotations, new keys for everything, and all that
// the device knows has expired.
func TestAYearAsleep(t *testing.T) {
	w := newWorld(t)
	keys := []publish.Keys{w.keys}
	roles := []string{"root", "targets", "snapshot", "timestamp", "os-iot", "rollout", "claims", "apps"}
	for i := range 3 {
		w.now = w.now.Add(120 * 24 * time.Hour)
		fresh := repotest.Keys(t)
		r, err := publish.Open(w.repo.Dir(), publish.WithKeys(append(keys, fresh)...), publish.WithClock(w.clock))
		if err != nil {
			t.Fatal(err)
		}
		w.must(r.Rotate(t.Context(), publish.Rotation{Roles: roles, Keys: fresh}))
		keys = []publish.Keys{fresh}
		if w.repo, err = publish.Open(w.repo.Dir(), publish.WithKeys(fresh), publish.WithClock(w.clock)); err != nil {
			t.Fatal(err)
		}
		w.tick()
		w.publishOS("iot", 10+i, repo.Everyone, repo.Everyone)
		w.must(w.repo.Refresh(t.Context())) // which signs the rollout again
	}
	if err := w.client.CheckFresh(); !errors.Is(err, repo.ErrExpired) {
		t.Errorf("CheckFresh after a year = %v, want %v", err, repo.ErrExpired)
	}
	w.sync()
	w.refresh()
	if r := w.newest(); r.Version != "12" {
		t.Errorf("a year later release %s, want 12", r.Version)
	}
	// And once more without a network.
	w.mirror.files = map[string][]byte{"metadata/1.root.json": w.mirror.files["metadata/1.root.json"]}
	w.client = w.open(w.dir)
	if r := w.newest(); r.Version != "12" {
		t.Errorf("after a restart release %s, want 12", r.Version)
	}
}

// TestRootsWithoutTheRest: where everything has expired, the device installs
// nothing, but learns who may sign tomorrow.
func TestRootsWithoutTheRest(t *testing.T) {
	w := newWorld(t)
	fresh := repotest.Keys(t)
	r, _ := publish.Open(w.repo.Dir(), publish.WithKeys(w.keys, fresh), publish.WithClock(w.clock))
	w.must(r.Rotate(t.Context(), publish.Rotation{Roles: []string{"root", "timestamp"}, Keys: fresh}))
	w.now = w.now.Add(30 * time.Hour)
	w.sync()
	if err := w.client.Refresh(t.Context()); !errors.Is(err, repo.ErrExpired) {
		t.Fatalf("Refresh = %v, want %v", err, repo.ErrExpired)
	}
	// A timestamp by the old key is refused from now on, even after a restart
	// and behind a mirror that hides the new root.
	w.freshTimestamp()
	hidden := w.mirror.files["metadata/2.root.json"]
	delete(w.mirror.files, "metadata/2.root.json")
	w.client = w.open(w.dir)
	if err := w.client.Refresh(t.Context()); !errors.Is(err, repo.ErrSignature) {
		t.Errorf("Refresh with the old timestamp key = %v, want %v", err, repo.ErrSignature)
	}
	if hidden == nil {
		t.Error("there was no second root")
	}
}

// TestFastForward: a thief of the online keys makes versions and times run
// away; a new root with other keys brings devices back.
func TestFastForward(t *testing.T) {
	w := newWorld(t)
	honest := w.saveMirror()
	_, snap := w.current()
	snap.Signed.Version = 1 << 40
	snap.Signed.Expires = w.now.Add(50 * 365 * 24 * time.Hour)
	w.forgeSnapshot(snap)
	ts, _ := w.current()
	ts.Signed.Version = 1 << 40
	ts.Signed.Expires = w.now.Add(49 * 365 * 24 * time.Hour)
	ts.Signed.UnrecognizedFields = map[string]any{repo.SignedAt: w.now.Add(40 * 365 * 24 * time.Hour).Format(time.RFC3339)}
	w.forgeTimestamp(ts)
	if err := w.client.Refresh(t.Context()); !errors.Is(err, repo.ErrExpired) { // the root has, by then
		t.Fatalf("Refresh = %v", err)
	}
	w.mirror.files = honest
	if err := w.client.Refresh(t.Context()); !errors.Is(err, repo.ErrExpired) {
		t.Errorf("Refresh from the honest mirror = %v; the stolen time should still stand in its way", err)
	}
	fresh := repotest.Keys(t)
	r, _ := publish.Open(w.repo.Dir(), publish.WithKeys(w.keys, fresh), publish.WithClock(w.clock))
	w.tick()
	w.must(r.Rotate(t.Context(), publish.Rotation{Roles: []string{"snapshot", "timestamp"}, Keys: fresh}))
	w.sync()
	w.client = w.open(w.dir)
	w.refresh()
	if r := w.newest(); r.Version != "2" {
		t.Errorf("after the new root release %s, want 2", r.Version)
	}
}

func TestClock(t *testing.T) {
	w := newWorld(t)
	signed := w.now
	w.now = time.Unix(0, 0)
	if got := w.client.Now(); !got.Equal(signed) {
		t.Errorf("with a clock at 1970 Now = %v, want the newest signed time %v", got, signed)
	}
	if got := w.open(w.dir).Now(); !got.Equal(signed) {
		t.Errorf("after a restart Now = %v, want %v", got, signed)
	}
	if got := w.open(t.TempDir()).Now(); !got.Equal(start) {
		t.Errorf("of a new device Now = %v, want the build time %v", got, start)
	}
	w.refresh()
	w.now = signed.Add(time.Hour)
	if got := w.client.Now(); !got.Equal(w.now) {
		t.Errorf("Now = %v, want the clock's %v", got, w.now)
	}
	// A time that was seen stays, also where the rest was refused.
	w.freshTimestamp()
	w.mirror.files[w.nameOf("snapshot")] = []byte("x")
	w.client = w.open(w.dir)
	w.client.Refresh(t.Context())
	seen := w.now
	w.now = time.Unix(0, 0)
	if got := w.open(w.dir).Now(); got.Before(signed) || got.After(seen) {
		t.Errorf("Now = %v, want between %v and %v", got, signed, seen)
	}
}

func TestStale(t *testing.T) {
	w := newWorld(t) // which allows 12 h
	w.now = w.now.Add(13 * time.Hour)
	if err := w.client.CheckFresh(); !errors.Is(err, repo.ErrStale) {
		t.Errorf("CheckFresh after 13 h = %v, want %v", err, repo.ErrStale)
	}
	w.refresh() // the same files, which have not expired
	if _, err := w.client.OSReleases(mios.AMD64, "stable"); !errors.Is(err, repo.ErrStale) {
		t.Errorf("OSReleases = %v, want %v", err, repo.ErrStale)
	}
	if _, err := w.client.AppRelease(t.Context(), clockApp); !errors.Is(err, repo.ErrStale) {
		t.Errorf("AppRelease = %v, want %v", err, repo.ErrStale)
	}
	w.must(w.repo.Refresh(t.Context()))
	w.sync()
	w.refresh()
	if r := w.newest(); r.Version != "2" {
		t.Errorf("release %s, want 2", r.Version)
	}
	if _, err := w.open(t.TempDir()).OSReleases(mios.AMD64, "stable"); !errors.Is(err, repo.ErrStale) {
		t.Errorf("OSReleases of a new device = %v, want %v", err, repo.ErrStale)
	}
}

// TestStateIsNotBelieved changes what the client keeps on disk.
func TestStateIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "trusted.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(good, &state); err != nil {
		t.Fatal(err)
	}
	// A stranger's repository, in the place of this one's.
	other := newWorld(t)
	strange, err := os.ReadFile(filepath.Join(other.dir, "trusted.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "null": []byte("null"), "torn": good[:len(good)/2], "another repository's": strange,
		"zeros": make([]byte, 4096), "list": []byte(`{"roots":[null],"roles":{"x":null}}`),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		w.client = w.open(w.dir)
		if err := w.client.CheckFresh(); !errors.Is(err, repo.ErrStale) {
			t.Errorf("%s: CheckFresh = %v, want %v", name, err, repo.ErrStale)
		}
		w.refresh()
		if r := w.newest(); r.Version != "2" {
			t.Errorf("%s: release %s, want 2", name, r.Version)
		}
	}
}

// TestRefreshFetchesLittle: what did not change is not fetched again.
func TestRefreshFetchesLittle(t *testing.T) {
	w := newWorld(t)
	w.mirror.gets = nil
	w.refresh()
	if want := []string{"metadata/2.root.json", "metadata/timestamp.json"}; !slices.Equal(w.mirror.gets, want) {
		t.Errorf("with nothing new it fetched %v, want %v", w.mirror.gets, want)
	}
	w.tick()
	w.must(w.repo.Refresh(t.Context()))
	w.sync()
	w.mirror.gets = nil
	w.refresh()
	if len(w.mirror.gets) > 4 {
		t.Errorf("with a new timestamp it fetched %v", w.mirror.gets)
	}
}

func TestOSOffer(t *testing.T) {
	w := newWorld(t)
	in, out := 0, 0
	for i := range 2000 {
		r, err := w.client.OSOffer(&api.Device{Arch: mios.AMD64, Channel: "stable"}, fmt.Sprint("device", i), "")
		if err != nil {
			t.Fatal(err)
		}
		if r.Version == "2" {
			in++
		} else {
			out++
		}
	}
	if in < 5 || in > 45 { // 1 %
		t.Errorf("of 2000 devices %d are offered version 2, want about 20", in)
	}
	for _, tt := range []struct {
		arch    mios.Arch
		channel string
		newer   int64
		want    string
	}{
		{mios.ARM64, "stable", 0, "is for amd64, and this device is arm64"},
		{mios.AMD64, "beta", 0, "is in channel stable, and this device follows beta"},
		{mios.AMD64, "stable", start.Unix() + 2, "in channel stable: not found"},
	} {
		r, err := w.client.OSOffer(&api.Device{Arch: tt.arch, Channel: tt.channel, BuildTime: tt.newer}, "x", "")
		if !errors.Is(err, mios.ErrNotFound) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("OSOffer(%+v) = %+v, %v; want not found and %q", tt, r, err, tt.want)
		}
	}
}

// TestOSOfferSaysWhy: why the newest release is not for this device.
func TestOSOfferSaysWhy(t *testing.T) {
	w := newWorld(t)
	r := &repo.OSRelease{
		Product: "iot", Arch: mios.AMD64, Version: "3", BuildTime: start.Unix() + 3, Channels: []string{"stable"},
		Regions: []string{"CN", "DE"}, Salt: "salt", MaxShare: repo.Everyone,
	}
	r.Target = repo.Target{Path: repo.OSPath("iot", r.Arch, "3", r.BuildTime), Length: int64(len(payload(3))), SHA256: mios.Sum(payload(3))}
	w.must(w.repo.PublishOS(t.Context(), r, bytes.NewReader(payload(3)), repo.Everyone))
	narrow := func(n repo.Narrow) func() {
		return func() { w.must(w.repo.SetRollout(t.Context(), "iot", r.Target.SHA256, n)) }
	}
	for _, tt := range []struct {
		name   string
		do     func()
		region string
		ships  []string
		want   string // "" if it is offered
	}{
		{"its region", nil, "DE", nil, ""},
		{"its product's", nil, "", []string{"CN"}, ""},
		{"another region", nil, "FR", []string{"CN"}, "(release 3 is for CN, DE, and this device is in FR)"},
		{"more regions", nil, "", []string{"CN", "FR"}, "(release 3 is for CN, DE, and this device is in any of CN, FR)"},
		{"no region", nil, "", nil, "(release 3 is for CN, DE, and this device is anywhere)"},
		{"halted", narrow(repo.Narrow{Share: repo.Everyone, Halted: true}), "DE", nil, "(release 3 is halted)"},
		{"share", narrow(repo.Narrow{}), "DE", nil, "(release 3 goes out step by step, and this device's turn has not come)"},
		{"withdrawn", narrow(repo.Narrow{Share: repo.Everyone, Withdrawn: true}), "DE", nil, "(release 3 was withdrawn)"},
	} {
		if tt.do != nil {
			w.tick()
			tt.do()
		}
		w.sync()
		w.refresh()
		d := &api.Device{Arch: mios.AMD64, Channel: "stable", Regions: tt.ships, BuildTime: start.Unix() + 2}
		got, err := w.client.OSOffer(d, "x", tt.region)
		switch {
		case tt.want == "" && (err != nil || got.Version != "3"):
			t.Errorf("%s: OSOffer = %+v, %v; want release 3", tt.name, got, err)
		case tt.want != "" && (!errors.Is(err, mios.ErrNotFound) || !strings.HasSuffix(err.Error(), ": not found "+tt.want)):
			t.Errorf("%s: OSOffer = %+v, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestShare(t *testing.T) {
	// Whoever is in a share is in every larger one.
	for i := range 500 {
		id, was := fmt.Sprint(i), false
		for s := repo.Share(0); s <= repo.Everyone; s += 250 {
			is := s.Includes(id, "salt")
			if was && !is {
				t.Fatalf("device %s is in a share below %d, and not in it", id, s)
			}
			was = is
		}
		if !was || repo.Share(0).Includes(id, "salt") || repo.Share(-5).Includes(id, "salt") {
			t.Fatalf("device %s: everyone excludes it, or nobody includes it", id)
		}
	}
	for _, tt := range []struct {
		in   string
		want repo.Share
		text string
	}{{"5", 500, "5 %"}, {"0.25 %", 25, "0.25 %"}, {"100%", 10000, "100 %"}, {"0", 0, "0 %"}} {
		if got, err := repo.ParseShare(tt.in); err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("ParseShare(%q) = %d (%s), %v; want %d", tt.in, got, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", "x", "101", "-1", "NaN", "5 percent"} {
		if s, err := repo.ParseShare(bad); err == nil {
			t.Errorf("ParseShare(%q) = %d, want an error", bad, s)
		}
	}
}

func TestCheck(t *testing.T) {
	good := repo.OSRelease{Product: "iot", Arch: mios.AMD64, Version: "1", BuildTime: 1, Channels: []string{"stable"}, Salt: "s"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(r *repo.OSRelease){
		"product": func(r *repo.OSRelease) { r.Product = "../x" },
		"arch":    func(r *repo.OSRelease) { r.Arch = "mips" },
		"version": func(r *repo.OSRelease) { r.Version = "a/b" },
		"time":    func(r *repo.OSRelease) { r.BuildTime = 0 },
		"channel": func(r *repo.OSRelease) { r.Channels = nil },
		"name":    func(r *repo.OSRelease) { r.Channels = []string{"stable", "../../metadata"} },
		"salt":    func(r *repo.OSRelease) { r.Salt = "" },
		"share":   func(r *repo.OSRelease) { r.MaxShare = 10001 },
	} {
		r := good
		change(&r)
		if err := r.Check(); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%s: Check = %v, want invalid", name, err)
		}
	}
	for _, bad := range []string{"", "one", "a..b", "a.1", "../x.y", "a.b/c", strings.Repeat("a.", 200) + "b"} {
		if err := repo.CheckPackage(bad); err == nil {
			t.Errorf("CheckPackage(%q) accepted it", bad)
		}
	}
}

// FuzzSigned: whatever thieves of any key sign, the client neither panics nor
// offers what the os keys did not sign.
func FuzzSigned(f *testing.F) {
	w := newWorld(f)
	honest := w.saveMirror()
	for _, role := range []string{"apps", "rollout", "claims", "targets", "os-iot"} {
		var m struct {
			Signed json.RawMessage `json:"signed"`
		}
		if err := json.Unmarshal(w.mirror.files[w.nameOf(role)], &m); err != nil {
			f.Fatal(err)
		}
		f.Add(role, []byte(m.Signed))
	}
	f.Fuzz(func(t *testing.T, role string, signed []byte) {
		signer, ok := map[string]string{"apps": key.Apps, "rollout": key.Rollout, "claims": key.Claims, "targets": key.Targets, "os-iot": key.OS}[role]
		if !ok {
			return
		}
		w.tb, w.mirror.files = t, honest
		w.mirror.files = w.saveMirror()
		m := w.role(role)
		version := m.Signed.Version
		if json.Unmarshal(signed, &m.Signed) != nil {
			return
		}
		for _, f := range m.Signed.Targets {
			if f == nil {
				return // go-tuf's own marshalling wants them
			}
		}
		m.Signed.Version = version
		w.forge(role, m, signer)
		c := w.open(t.TempDir())
		if c.Refresh(t.Context()) == nil {
			c.OSOffer(&api.Device{Arch: mios.AMD64, Channel: "stable"}, "x", "")
			c.AppRelease(t.Context(), clockApp)
			c.AppReleases(t.Context())
		}
	})
}
