package ota_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"mios"
	api "mios/api/repo"
	"mios/format/otazip"
	"mios/internal/testkit"
	"mios/publish/ota"
	"mios/publish/ota/otatest"
	"mios/publish/repo"
	"mios/publish/repotest"
	"mios/storage/tree"
	"mios/storage/tree/dir"
)

const (
	viewsDir = "os/phone/arm64/updaters/"
	base     = "https://updates.example.org/repo"
)

func withBase(s *ota.ViewSettings) { s.BaseURL = base }

// view returns a pointer's content, or "" where there is none.
func view(t *testing.T, r *repo.Repo, name string) string {
	t.Helper()
	b, err := tree.ReadAll(t.Context(), r.Tree(), viewsDir+name, 1<<20)
	if err != nil && !errors.Is(err, mios.ErrNotFound) {
		t.Fatal(err)
	}
	return string(b)
}

// published is a repository with builds 1 and 2 and their packages, with a delta
// between them. share is how far build 2 goes.
func published(t *testing.T, share api.Share) (r *repo.Repo, one, two *api.OSRelease) {
	t.Helper()
	r = repotest.New(t, repotest.Keys(t), otatest.Product)
	b1, b2 := otatest.NewBuild("1", 1_800_000_000), otatest.NewBuild("2", 1_800_001_000)
	full1, full2 := b1.Full(t), b2.Full(t)
	delta := b2.Delta(t, b1)
	one = b1.Publish(t, r, api.Everyone, full1)
	two = b2.Publish(t, r, share, full2, delta)
	zips, _ := otatest.PublishZips(t, r, withBase, b1.Zip(t, full1, nil, nil), b2.Zip(t, delta, b1, nil), b2.Zip(t, full2, nil, nil))
	var files []string
	for _, z := range zips {
		files = append(files, strings.TrimPrefix(z.File, viewsDir))
	}
	if want := []string{"oriole-ota_update-1.zip", "oriole-incremental-1-2.zip", "oriole-ota_update-2.zip"}; !slices.Equal(files, want) {
		t.Fatalf("published %q, want %q", files, want)
	}
	return r, one, two
}

// TestViews changes the rollout and wants the views to follow.
func TestViews(t *testing.T) {
	r, one, two := published(t, 500)
	const first, second, none = "1 1800000000 oriole stable\n", "2 1800001000 oriole stable\n", "none 0 oriole stable\n"
	for _, tt := range []struct {
		name   string
		rel    *api.OSRelease
		n      api.Narrow
		line   string
		listed int
	}{
		{"to 5 %", two, api.Narrow{Share: 500}, first, 1},
		{"to everyone", two, api.Narrow{Share: api.Everyone}, second, 2},
		{"to all but one in 10000", two, api.Narrow{Share: api.Everyone - 1}, first, 1},
		{"to everyone again", two, api.Narrow{Share: api.Everyone}, second, 2},
		{"halted", two, api.Narrow{Share: api.Everyone, Halted: true}, first, 1},
		{"goes on", two, api.Narrow{Share: api.Everyone}, second, 2},
		{"the older one halted", one, api.Narrow{Share: api.Everyone, Halted: true}, second, 1},
		{"both", two, api.Narrow{Share: api.Everyone, Withdrawn: true}, none, 0},
		{"the older one goes on", one, api.Narrow{Share: api.Everyone}, first, 1},
	} {
		if _, err := r.SetRollout(t.Context(), otatest.Product, tt.rel.Target.SHA256, tt.n); err != nil {
			t.Fatal(err)
		}
		if _, err := ota.UpdateViews(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := view(t, r, "oriole-stable"); got != tt.line {
			t.Errorf("%s: the line is %q, want %q", tt.name, got, tt.line)
		}
		if got := view(t, r, "oriole-stable.json"); strings.Count(got, `"filename"`) != tt.listed || strings.Contains(got, "incremental") {
			t.Errorf("%s: the JSON is %s, want %d full packages", tt.name, got, tt.listed)
		}
		if again, err := ota.UpdateViews(t.Context(), r); err != nil || len(again) != 0 {
			t.Errorf("%s: views made again have changed: %v, %v", tt.name, again, err)
		}
	}
	if got := view(t, r, "oriole-beta"); got != "" {
		t.Errorf("there is a view of a channel that no release is in: %q", got)
	}
}

// TestViewSettings wants settings kept, and what they change.
func TestViewSettings(t *testing.T) {
	r, _, _ := published(t, api.Everyone)
	for _, want := range []string{`"url": "` + base + "/" + viewsDir + `oriole-ota_update-2.zip"`, `"romtype": "stable"`, `"version": "16"`, `"datetime": 1800001000`} {
		if got := view(t, r, "oriole-stable.json"); !strings.Contains(got, want) {
			t.Errorf("the JSON is %s, want %s in it", got, want)
		}
	}
	b3 := otatest.NewBuild("3", 1_800_002_000)
	full := b3.Full(t)
	rel, _, err := ota.Publish(t.Context(), r, ota.Release{
		Product: otatest.Product, Arch: otatest.Arch, Version: "3", BuildTime: b3.Time, Channels: []string{"stable", "beta"}, Regions: []string{"CN"}, MaxShare: api.Everyone,
	}, full, api.Everyone)
	if err != nil {
		t.Fatal(err)
	}
	zip := b3.Zip(t, full, nil, nil)
	otatest.PublishZips(t, r, func(s *ota.ViewSettings) { s.ROMType, s.Version = "UNOFFICIAL", "23.0" }, zip)
	if got := view(t, r, "oriole-stable"); got != "2 1800001000 oriole stable\n" {
		t.Errorf("a release for one region is shown to all: %q", got)
	}
	otatest.PublishZips(t, r, func(s *ota.ViewSettings) { s.AnyRegion = true }, zip)
	if got := view(t, r, "oriole-stable"); got != "3 1800002000 oriole stable\n" {
		t.Errorf("the line is %q, want build 3", got)
	}
	if got := view(t, r, "oriole-beta.json"); !strings.Contains(got, base) || !strings.Contains(got, `"UNOFFICIAL"`) || !strings.Contains(got, `"23.0"`) {
		t.Errorf("the JSON is %s, want what was set before", got)
	}
	// A release that leaves a channel leaves its view.
	if _, _, err := ota.Publish(t.Context(), r, ota.Release{
		Product: otatest.Product, Arch: otatest.Arch, Version: "3", BuildTime: b3.Time, Channels: rel.Channels[:1], MaxShare: api.Everyone,
	}, full, api.Everyone); err != nil {
		t.Fatal(err)
	}
	if _, err := ota.UpdateViews(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := view(t, r, "oriole-beta"); got != "none 0 oriole beta\n" {
		t.Errorf("the line of the channel that was left is %q", got)
	}
	for _, bad := range []string{"updates.example.org", "ftp://updates.example.org", "https://", "https://example.org/?a=b", "https://example.org/#a"} {
		if err := (&ota.ViewSettings{BaseURL: bad}).Check(); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("address %q: %v, want invalid", bad, err)
		}
	}
}

// TestZipRefused wants each package refused with the reason, and nothing stored.
func TestZipRefused(t *testing.T) {
	r := repotest.New(t, repotest.Keys(t), otatest.Product)
	b1, b2, b3 := otatest.NewBuild("1", 1_800_000_000), otatest.NewBuild("2", 1_800_001_000), otatest.NewBuild("3", 1_800_002_000)
	full, delta := b2.Full(t), b2.Delta(t, b1)
	b2.Publish(t, r, api.Everyone, full)
	good := b2.Zip(t, full, nil, nil)
	another := *b2
	another.Images = map[string][]byte{"boot": b1.Images["boot"], "vbmeta": b2.Images["vbmeta"]}
	spoiled := func(change func(*otazip.Writer)) string { return b2.Zip(t, full, nil, change) }
	file := func(b []byte) string {
		name := t.TempDir() + "/bad.zip"
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for _, tt := range []struct{ name, file, want string }{
		{"a payload", full, "it is a payload without a package"},
		{"no release of that build", b3.Zip(t, b3.Full(t), nil, nil), "no release of the build of 1800002000"},
		{"other partitions", another.Zip(t, another.Full(t), nil, nil), "release 2 of phone for arm64: it makes another partition boot"},
		{"half of it", file(whole[:len(whole)/2]), "zip"},
		{"a byte flipped", file(flipped), "data has SHA-256"},
		{"unsigned", spoiled(func(w *otazip.Writer) { w.Key = nil }), "sign it with the key whose certificate the devices have"},
		{"not for slots", spoiled(func(w *otazip.Writer) { w.Metadata.Type = otazip.Block }), `ota-type is "BLOCK", want AB`},
		{"of another time", spoiled(func(w *otazip.Writer) { w.Metadata.Postcondition.Timestamp++ }), "it says that it brings the build of 1800001001"},
		{"without incremental", spoiled(func(w *otazip.Writer) { w.Metadata.Postcondition.Incremental = "" }), `post-build-incremental is ""`},
		{"for two devices", spoiled(func(w *otazip.Writer) { w.Metadata.Precondition.Device = []string{"oriole", "raven"} }), `pre-device is "oriole|raven"`},
		{"a path as incremental", spoiled(func(w *otazip.Writer) { w.Metadata.Postcondition.Incremental = "../2" }), `post-build-incremental is "../2"`},
		{"another payload's properties", spoiled(func(w *otazip.Writer) { w.Properties = "FILE_HASH=x\n" }), "does not say FILE_HASH="},
		{"a delta that says that it is full", b2.Zip(t, delta, nil, nil), `pre-build-incremental is ""`},
		{"a full one that says that it is a delta", b2.Zip(t, full, b1, nil), "it is from build 1, and its payload is a full one"},
	} {
		_, _, err := ota.PublishZips(t.Context(), r, ota.Zips{Certificates: []*x509.Certificate{otatest.Certificate(t)}}, good, tt.file)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, _, err := ota.PublishZips(t.Context(), r, ota.Zips{}, good); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("without a certificate: %v, want invalid", err)
	}
	z := ota.Zips{Certificates: []*x509.Certificate{otatest.Certificate(t)}, Keys: []*rsa.PublicKey{&testkit.RSA(1).PublicKey}}
	if _, _, err := ota.PublishZips(t.Context(), r, z, good); err == nil || !strings.Contains(err.Error(), "sign it with the ota key that the devices trust") {
		t.Errorf("a payload by another key: %v", err)
	}
	if names, err := r.Tree().List(t.Context(), strings.TrimSuffix(viewsDir, "/")); err != nil || len(names) != 0 {
		t.Errorf("refused packages left %q, %v", names, err)
	}
	// The same partitions in another payload are the release's.
	otatest.PublishZips(t, r, nil, b2.Zip(t, delta, b1, nil), good)
	if got := view(t, r, "oriole-stable"); got != "2 1800001000 oriole stable\n" {
		t.Errorf("the line is %q, want build 2", got)
	}
	if got := view(t, r, "oriole-stable.json"); got != "" {
		t.Errorf("without an address there is JSON: %s", got)
	}
	// A name is never another package's.
	if _, _, err := ota.PublishZips(t.Context(), r, ota.Zips{Certificates: []*x509.Certificate{otatest.Certificate(t)}},
		spoiled(func(w *otazip.Writer) { w.Metadata.Postcondition.SDKLevel = "37" })); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("another package of the same name: %v, want a conflict", err)
	}
}

var errPower = errors.New("the power went")

// broken is a tree whose power goes with the n-th write, before or after it.
type broken struct {
	*dir.Tree
	n     int
	after bool
}

func (b *broken) write(f func() error) error {
	if b.n--; b.n < 0 || b.n == 0 && !b.after {
		return errPower
	}
	if err := f(); err != nil || b.n > 0 {
		return err
	}
	return errPower
}

func (b *broken) Create(ctx context.Context, name string, r io.Reader) error {
	return b.write(func() error { return b.Tree.Create(ctx, name, r) })
}

func (b *broken) Point(ctx context.Context, name string, old, new []byte) error {
	return b.write(func() error { return b.Tree.Point(ctx, name, old, new) })
}

// TestZipKilled kills the publishing at each write: what a view shows is there,
// and once it is run again all is as if nothing had been.
func TestZipKilled(t *testing.T) {
	b1, b2 := otatest.NewBuild("1", 1_800_000_000), otatest.NewBuild("2", 1_800_001_000)
	full1, full2 := b1.Full(t), b2.Full(t)
	zip1, zip2 := b1.Zip(t, full1, nil, nil), b2.Zip(t, full2, nil, nil)
	keys := repotest.Keys(t)
	var want map[string][]byte
	for n := 0; ; n++ { // the last time nothing is killed
		r := repotest.New(t, keys, otatest.Product)
		b1.Publish(t, r, api.Everyone, full1)
		b2.Publish(t, r, api.Everyone, full2)
		otatest.PublishZips(t, r, withBase, zip1)
		kills := &broken{dir.New(r.Dir() + "/" + repo.PublicDir), n/2 + 1, n%2 == 1}
		dying, err := repo.Open(r.Dir(), repo.WithKeys(keys), repo.WithTree(kills))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = ota.PublishZips(t.Context(), dying, ota.Zips{Certificates: []*x509.Certificate{otatest.Certificate(t)}}, zip2)
		if err != nil && !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		if line := view(t, r, "oriole-stable"); line != "1 1800000000 oriole stable\n" && (line != "2 1800001000 oriole stable\n" || view(t, r, "oriole-ota_update-2.zip") == "") {
			t.Errorf("killed at write %d: the line is %q", n/2+1, line)
		}
		otatest.PublishZips(t, r, withBase, zip2)
		got := repotest.Load(t, r.Tree(), viewsDir)
		if want == nil {
			want = got
		}
		if len(got) != 7 || !maps.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("killed at write %d and published again: files %q, and other content than before", n/2+1, slices.Sorted(maps.Keys(got)))
		}
		if err == nil {
			if n < 8 {
				t.Errorf("killed at %d points only", n)
			}
			return
		}
	}
}
