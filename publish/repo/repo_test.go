package repo_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/api"
	"mios/api/repo"
	"mios/key"
	publish "mios/publish/repo"
	"mios/publish/repotest"
	"mios/storage/tree"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A desk is a repository with its keys and a clock.
type desk struct {
	tb   testing.TB
	dir  string
	keys *key.Set
	now  time.Time
	repo *publish.Repo
}

func newDesk(tb testing.TB) *desk {
	tb.Helper()
	d := &desk{tb: tb, dir: filepath.Join(tb.TempDir(), "repo"), keys: repotest.Keys(tb), now: start}
	var err error
	d.repo, err = publish.Init(tb.Context(), d.dir, d.keys, publish.InitOptions{AppBits: 1}, publish.WithClock(d.clock))
	if err != nil {
		tb.Fatal(err)
	}
	d.must(d.repo.AddProduct(tb.Context(), "iot", d.keys, 0))
	return d
}

func (d *desk) clock() time.Time { return d.now }

// must wants a change to be published.
func (d *desk) must(res *publish.Result, err error) *publish.Result {
	d.tb.Helper()
	if err != nil {
		d.tb.Fatal(err)
	}
	if !res.Published || len(res.Waiting) > 0 {
		d.tb.Fatalf("result %+v, want all of it published", res)
	}
	return res
}

func release(n int) (*repo.OSRelease, []byte) {
	payload := bytes.Repeat([]byte{byte(n)}, 1000+n)
	r := &repo.OSRelease{
		Product: "iot", Arch: mios.AMD64, Version: fmt.Sprint(n), BuildTime: start.Unix() + int64(n),
		Channels: []string{"stable"}, Salt: "s", MaxShare: repo.Everyone,
	}
	r.Target = repo.Target{Path: repo.OSPath("iot", r.Arch, r.Version, r.BuildTime), Length: int64(len(payload)), SHA256: sha256.Sum256(payload)}
	return r, payload
}

func (d *desk) publishOS(n int) *repo.OSRelease {
	d.tb.Helper()
	r, payload := release(n)
	d.must(d.repo.PublishOS(d.tb.Context(), r, bytes.NewReader(payload), repo.Everyone))
	return r
}

// treeFetcher reads a tree as a client does.
type treeFetcher struct{ tree.Tree }

func (f treeFetcher) Get(ctx context.Context, path string, max int64) ([]byte, error) {
	file, err := f.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if file.Size() > max {
		return nil, fmt.Errorf("%s: %w", path, repo.ErrLength)
	}
	return io.ReadAll(file)
}

// client returns a device's client that trusts the repository's first root.
func (d *desk) client(t tree.Tree) *repo.Client {
	d.tb.Helper()
	root, err := os.ReadFile(filepath.Join(d.dir, publish.PublicDir, "metadata", "1.root.json"))
	if err != nil {
		d.tb.Fatal(err)
	}
	c, err := repo.Open(repo.Config{Dir: d.tb.TempDir(), Root: root, Fetcher: treeFetcher{t}, Product: "iot", BuildTime: start, Now: d.clock})
	if err != nil {
		d.tb.Fatal(err)
	}
	return c
}

// newest returns the version that a fresh device is offered, or "".
func (d *desk) newest(t tree.Tree) string {
	d.tb.Helper()
	c := d.client(t)
	if err := c.Refresh(d.tb.Context()); err != nil {
		d.tb.Fatalf("Refresh: %v", err)
	}
	r, err := c.OSOffer(&api.Device{Arch: mios.AMD64, Channel: "stable"}, "device", "")
	if errors.Is(err, mios.ErrNotFound) {
		return ""
	}
	if err != nil {
		d.tb.Fatal(err)
	}
	return r.Version
}

func TestPublish(t *testing.T) {
	d := newDesk(t)
	if v := d.newest(d.repo.Tree()); v != "" {
		t.Errorf("an empty repository offers version %q", v)
	}
	d.publishOS(1)
	d.publishOS(2)
	if v := d.newest(d.repo.Tree()); v != "2" {
		t.Errorf("offered version %q, want 2", v)
	}
	// The same again changes nothing that a device sees, and is no error.
	d.publishOS(2)
	r, _ := release(2)
	other := []byte("other bytes")
	r.Target.SHA256, r.Target.Length = sha256.Sum256(other), int64(len(other))
	if _, err := d.repo.PublishOS(t.Context(), r, bytes.NewReader(other), repo.Everyone); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("PublishOS of another payload under the same version = %v, want a conflict", err)
	}
	r3, payload := release(3)
	if _, err := d.repo.PublishOS(t.Context(), r3, bytes.NewReader(payload[1:]), repo.Everyone); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("PublishOS of a file that shrank = %v, want a conflict", err)
	}
	if v := d.newest(d.repo.Tree()); v != "2" {
		t.Errorf("after refusals version %q is offered, want 2", v)
	}
	s, err := d.repo.Status(t.Context())
	if err != nil || len(s.Releases) != 2 || s.Releases[0].Version != "2" || s.Root != 1 {
		t.Errorf("Status = %+v, %v", s, err)
	}
	b, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(b), `"version":"2","build_time":`) || !strings.Contains(string(b), `"share":10000`) {
		t.Errorf("Status as JSON = %s, %v", b, err)
	}
}

func TestRollout(t *testing.T) {
	d := newDesk(t)
	d.publishOS(1)
	r := d.publishOS(2)
	for _, tt := range []struct {
		n    repo.Narrow
		want string
	}{
		{repo.Narrow{Share: 0}, "1"},
		{repo.Narrow{Share: repo.Everyone}, "2"},
		{repo.Narrow{Share: repo.Everyone, Halted: true}, "1"},
		{repo.Narrow{Share: repo.Everyone, Withdrawn: true}, "1"},
	} {
		d.must(d.repo.SetRollout(t.Context(), "iot", r.Target.SHA256, tt.n))
		if v := d.newest(d.repo.Tree()); v != tt.want {
			t.Errorf("with %+v version %q is offered, want %q", tt.n, v, tt.want)
		}
	}
	if _, err := d.repo.SetRollout(t.Context(), "iot", r.Target.SHA256, repo.Narrow{Share: repo.Everyone}); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("SetRollout of a withdrawn release = %v, want a conflict", err)
	}
}

func TestApps(t *testing.T) {
	d := newDesk(t)
	signer, thief := mios.Sum([]byte("cert")), mios.Sum([]byte("thief"))
	app := func(code int64, signer mios.Digest, apk string) (*repo.AppRelease, io.Reader) {
		return &repo.AppRelease{
			Target: repo.Target{Path: repo.AppPath("org.example.clock", code), Length: int64(len(apk)), SHA256: mios.Sum([]byte(apk))},
			Tracks: []string{repo.TrackProduction}, Share: repo.Everyone,
			Package: "org.example.clock", VersionCode: code, VersionName: fmt.Sprint(code), Signers: []mios.Digest{signer},
		}, strings.NewReader(apk)
	}
	publishApp := func(code int64, signer mios.Digest, apk string) (*publish.Result, error) {
		rel, r := app(code, signer, apk)
		return d.repo.PublishApp(t.Context(), rel, r)
	}
	if _, err := publishApp(1, signer, "v1"); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("PublishApp without a claim = %v, want not found", err)
	}
	d.must(d.repo.Claim(t.Context(), repo.Claim{Package: "org.example.clock", Signers: []mios.Digest{signer}}))
	d.must(publishApp(1, signer, "v1"))
	d.must(publishApp(2, signer, "v2"))
	for _, tt := range []struct {
		code   int64
		signer mios.Digest
		apk    string
		want   error
	}{
		{3, thief, "v3", mios.ErrDenied},
		{1, signer, "v1", mios.ErrConflict},
		{2, signer, "other v2", mios.ErrConflict},
	} {
		if _, err := publishApp(tt.code, tt.signer, tt.apk); !errors.Is(err, tt.want) {
			t.Errorf("PublishApp(%d, %q) = %v, want %v", tt.code, tt.apk, err, tt.want)
		}
	}
	c := d.client(d.repo.Tree())
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	rel, err := c.AppRelease(t.Context(), "org.example.clock")
	if err != nil || rel.VersionCode != 2 {
		t.Errorf("AppRelease = %+v, %v; want version 2", rel, err)
	}
	if _, err := c.AppRelease(t.Context(), "org.example.other"); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("AppRelease of another = %v, want not found", err)
	}
	list, err := c.AppReleases(t.Context())
	if err != nil || len(list) != 1 {
		t.Errorf("AppReleases = %v, %v; want one", list, err)
	}
}

// split copies some keys of a set into a folder of their own.
func split(t *testing.T, from *key.Set, names ...string) *key.Set {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		for _, ext := range []string{".pem", ".pub.pem"} {
			b, err := os.ReadFile(filepath.Join(from.Dir(), name+ext))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name+ext), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	set, err := key.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSignElsewhere(t *testing.T) {
	d := newDesk(t)
	online := split(t, d.keys, "apps", "rollout", "snapshot", "timestamp")
	server, err := publish.Open(d.dir, publish.WithKeys(online), publish.WithClock(d.clock))
	if err != nil {
		t.Fatal(err)
	}
	r, payload := release(1)
	res, err := server.PublishOS(t.Context(), r, bytes.NewReader(payload), repo.Everyone)
	if err != nil || len(res.Waiting) != 1 || res.Waiting[0] != (publish.Waiting{Role: "os-iot", Version: 2, Have: 0, Need: 2}) {
		t.Fatalf("PublishOS without os keys = %+v, %v; want os-iot to wait", res, err)
	}
	if v := d.newest(server.Tree()); v != "" {
		t.Errorf("version %q is offered before it was signed", v)
	}
	for i, holder := range []string{"os", "os-2"} {
		bundle, err := server.Export(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(bundle)
		if err != nil {
			t.Fatal(err)
		}
		if bundle, err = publish.ReadBundle(b); err != nil {
			t.Fatal(err)
		}
		if n, err := bundle.Sign(split(t, d.keys, "root", "targets")); n != 0 || err != nil {
			t.Errorf("Sign with keys of other roles added %d, %v", n, err)
		}
		if n, err := bundle.Sign(split(t, d.keys, holder)); n != 1 || err != nil {
			t.Fatalf("Sign = %d, %v; want 1", n, err)
		}
		lines, err := bundle.Requests[0].Describe()
		if err != nil || !strings.Contains(strings.Join(lines, "\n"), fmt.Sprintf("%d of 2 signatures", i+1)) || !strings.Contains(strings.Join(lines, "\n"), "version 1 for iot amd64 in stable") {
			t.Errorf("Describe = %q, %v", lines, err)
		}
		res, err := server.Import(t.Context(), bundle)
		if err != nil || res.Published != (i == 1) {
			t.Fatalf("Import after %d signatures = %+v, %v", i+1, res, err)
		}
		if i == 1 {
			if _, err := server.Import(t.Context(), bundle); !errors.Is(err, mios.ErrConflict) {
				t.Errorf("second Import = %v, want a conflict", err)
			}
		}
	}
	if v := d.newest(server.Tree()); v != "1" {
		t.Errorf("version %q is offered, want 1", v)
	}
	if _, err := server.Export(t.Context()); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Export with nothing to sign = %v, want not found", err)
	}
}

func TestImportRefuses(t *testing.T) {
	d := newDesk(t)
	server, _ := publish.Open(d.dir, publish.WithKeys(split(t, d.keys, "rollout", "snapshot", "timestamp")), publish.WithClock(d.clock))
	r, payload := release(1)
	if _, err := server.PublishOS(t.Context(), r, bytes.NewReader(payload), 0); err != nil {
		t.Fatal(err)
	}
	old, err := server.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r2, payload2 := release(2)
	if _, err := server.PublishOS(t.Context(), r2, bytes.NewReader(payload2), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Sign(d.keys); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Import(t.Context(), old); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("Import of what changed since = %v, want a conflict", err)
	}
	bundle, _ := server.Export(t.Context())
	stranger := repotest.Keys(t, key.OS)
	for i := range bundle.Requests { // the bundle's own groups are not believed
		for j := range bundle.Requests[i].Groups {
			bundle.Requests[i].Groups[j].Threshold = 1
		}
	}
	if n, _ := bundle.Sign(stranger); n != 0 {
		t.Errorf("a stranger's keys signed %d times", n)
	}
	if res, err := server.Import(t.Context(), bundle); err != nil || res.Published {
		t.Errorf("Import without signatures = %+v, %v", res, err)
	}
}

func TestRotate(t *testing.T) {
	d := newDesk(t)
	d.publishOS(1)
	old := d.keys
	for i, roles := range [][]string{
		{"root"}, {"timestamp", "snapshot"}, {"targets"}, {"os-iot", "claims"}, {"apps", "rollout"}, {"root", "targets", "snapshot", "timestamp"}, nil,
	} {
		d.now = d.now.Add(time.Hour)
		fresh := repotest.Keys(t)
		r, err := publish.Open(d.dir, publish.WithKeys(d.keys, fresh, old), publish.WithClock(d.clock))
		if err != nil {
			t.Fatal(err)
		}
		d.must(r.Rotate(t.Context(), publish.Rotation{Roles: roles, Keys: fresh}))
		if v := d.newest(r.Tree()); v != "1" {
			t.Errorf("rotation %d of %v: version %q is offered, want 1", i, roles, v)
		}
		// From here on the new keys are wanted for these roles.
		d.keys = merge(t, d.keys, fresh, roles)
		r, err = publish.Open(d.dir, publish.WithKeys(d.keys), publish.WithClock(d.clock))
		if err != nil {
			t.Fatal(err)
		}
		d.repo = r
		d.must(r.Refresh(t.Context()))
	}
	d.publishOS(2)
	if v := d.newest(d.repo.Tree()); v != "2" {
		t.Errorf("after all rotations version %q is offered, want 2", v)
	}
}

// merge returns the old keys with those of some roles replaced.
func merge(t *testing.T, old, fresh *key.Set, roles []string) *key.Set {
	t.Helper()
	dir := t.TempDir()
	for _, set := range []*key.Set{old, fresh} {
		list, err := set.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			rotated := strings.Contains(" "+strings.ReplaceAll(strings.Join(roles, " "), "os-iot", "os")+" ", " "+k.Role+" ")
			if rotated != (set == fresh) {
				continue
			}
			for _, ext := range []string{".pem", ".pub.pem"} {
				b, err := os.ReadFile(filepath.Join(set.Dir(), k.Name+ext))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, k.Name+ext), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	set, err := key.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestRefreshAndWarnings(t *testing.T) {
	d := newDesk(t)
	d.publishOS(1)
	for range 3 {
		d.now = d.now.Add(20 * time.Hour)
		res := d.must(d.repo.Refresh(t.Context()))
		if len(res.Warnings) > 0 {
			t.Errorf("warnings %q", res.Warnings)
		}
		if v := d.newest(d.repo.Tree()); v != "1" {
			t.Errorf("version %q is offered, want 1", v)
		}
	}
	d.now = start.Add(350 * 24 * time.Hour)
	res := d.must(d.repo.Refresh(t.Context()))
	if len(res.Warnings) != 3 || !strings.Contains(res.Warnings[1], "os-iot") {
		t.Errorf("warnings %q, want one each for claims, os-iot and targets", res.Warnings)
	}
}

// TestSameBytes publishes the same twice, in two folders.
func TestSameBytes(t *testing.T) {
	d := newDesk(t)
	d.publishOS(1)
	other := &desk{tb: t, dir: filepath.Join(t.TempDir(), "repo"), keys: d.keys, now: start}
	var err error
	if other.repo, err = publish.Init(t.Context(), other.dir, d.keys, publish.InitOptions{AppBits: 1}, publish.WithClock(other.clock)); err != nil {
		t.Fatal(err)
	}
	other.must(other.repo.AddProduct(t.Context(), "iot", d.keys, 0))
	other.publishOS(1)
	a, b := d.repo.Tree(), other.repo.Tree()
	names, err := a.List(t.Context(), ".")
	if err != nil || len(names) < 10 {
		t.Fatalf("List = %d names, %v", len(names), err)
	}
	for _, name := range names {
		x, err := tree.ReadAll(t.Context(), a, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		y, err := tree.ReadAll(t.Context(), b, name, 1<<20)
		if err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
}
