package app_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"mios"
	"mios/api"
	apirepo "mios/api/repo"
	"mios/format/apkdelta"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/fdroid"
	"mios/publish/app/history"
	"mios/publish/repo"
	"mios/publish/repotest"
	"mios/storage/record"
	"mios/storage/tree"
)

// drawn is a picture of w by h pixels.
func drawn(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w {
		img.Set(i, i*h/w, color.NRGBA{R: uint8(i), A: 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func fastlane(t testing.TB, title string) fstest.MapFS {
	return fstest.MapFS{
		"en-US/title.txt":                         {Data: []byte(title)},
		"en-US/short_description.txt":             {Data: []byte("Rings on time.")},
		"en-US/full_description.txt":              {Data: []byte("It <b>rings</b>.<br>Every morning.")},
		"en-US/changelogs/1.txt":                  {Data: []byte("It rings.")},
		"en-US/images/icon.png":                   {Data: drawn(t, 512, 512)},
		"en-US/images/phoneScreenshots/1_day.png": {Data: drawn(t, 540, 960)},
		"de-DE/title.txt":                         {Data: []byte("Uhr")},
	}
}

// TestListing follows texts and pictures from a folder to a device and to
// F-Droid's clients, and their going.
func TestListing(t *testing.T) { each(t, testListing) }

func testListing(d *desk) {
	ctx := d.Context()
	key := testkit.RSA(2048)
	d.cfg.FDroid = &fdroid.Config{Key: key, Name: fdroid.Text{"en-US": "Shop"}, Address: "https://example.org/apps"}
	d.open()
	u := upload(d.version(1))
	folder := fastlane(d, "Alarm clock")
	for i := range 30 {
		folder[fmt.Sprintf("en-US/more%02d.txt", i)] = &fstest.MapFile{}
	}
	u.Listing = folder
	sub, err := d.Submit(ctx, "ada", u)
	if err != nil {
		d.Fatal(err)
	}
	if kept, err := d.Submission(ctx, sub.ID); err != nil || len(kept.LeftOut) != 21 || kept.LeftOut[20] != "and 10 more" || !strings.Contains(kept.LeftOut[0], "more00.txt") {
		d.Errorf("of the listing was left out: %+v, %v", kept, err)
	}
	d.approve(sub.ID)
	if _, err := d.Release(ctx, "rex", sub.ID, app.ReleaseOptions{Share: apirepo.Everyone}); err != nil {
		d.Fatal(err)
	}
	if c := d.compile(); c.FDroid == nil || c.FDroid.Packages != 1 {
		d.Errorf("F-Droid's indexes: %+v", c.FDroid)
	}
	l, err := client(d.T, d.Repo()).Listing(ctx, clock)
	if err != nil {
		d.Fatal(err)
	}
	en, de := l.Locales["en-US"], l.Locales["de-DE"]
	if en.Name != "Alarm clock" || en.Summary != "Rings on time." || en.Description != "It rings.\nEvery morning." || en.Notes != "It rings." || de.Name != "Uhr" {
		d.Errorf("listing %+v", l.Locales)
	}
	if en.Icon == nil || len(en.Screenshots["phone"]) != 1 {
		d.Fatalf("pictures %+v", en)
	}
	for _, target := range []apirepo.Target{*en.Icon, en.Screenshots["phone"][0]} {
		b, err := tree.ReadAll(ctx, d.Repo().Tree(), target.File(), 1<<20)
		if err == nil {
			err = target.Check(b)
		}
		if err == nil {
			_, err = png.Decode(bytes.NewReader(b))
		}
		if err != nil {
			d.Errorf("%s: %v", target.Path, err)
		}
	}
	d.fdroidIndex("Alarm clock", 1)
	before := d.rows()["files"]
	small := fstest.MapFS{"en-US/title.txt": {Data: []byte("Clock")}, "en-US/titel.txt": {Data: []byte("Uhr")}, "en-US/changelogs/new.txt": {Data: []byte("x")}}
	wantLeft := []string{
		"en-US/changelogs/new.txt: It is the changelog of no version: left out: Name it after the version code, such as 42.txt",
		"en-US/titel.txt: It is nothing that a listing has: left out",
	}
	if _, left, err := d.SetListing(ctx, "ada", clock, small, "smaller"); err != nil || !slices.Equal(left, wantLeft) {
		d.Fatalf("SetListing leaves out %q, %v; want %q", left, err, wantLeft)
	}
	d.compile()
	d.fdroidIndex("Clock", 1)
	if now := d.rows()["files"]; now > before {
		d.Errorf("%d files after a smaller listing, %d before", now, before)
	}
	bad := fstest.MapFS{"en-US/title.txt": {Data: []byte(strings.Repeat("long ", 50))}}
	rows := d.rows()
	if _, _, err := d.SetListing(ctx, "ada", clock, bad, ""); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "title.txt") {
		d.Errorf("SetListing of a long title = %v", err)
	}
	if after := d.rows(); after["files"] != rows["files"] || after["events"] != rows["events"] {
		d.Errorf("a refused listing leaves %v, before %v", after, rows)
	}
}

// fdroidIndex checks what F-Droid's newest index says of the clock; its files
// must be there.
func (d *desk) fdroidIndex(name string, versions int) {
	d.Helper()
	b, err := tree.ReadAll(d.Context(), d.Repo().Tree(), "apps/entry.json", 1<<20)
	if err != nil {
		d.Fatal(err)
	}
	var entry struct {
		Index struct{ Name string }
	}
	var index struct {
		Packages map[string]struct {
			Metadata struct {
				Name map[string]string
				Icon map[string]struct{ Name string }
			}
			Versions map[string]struct{ File struct{ Name string } }
		}
	}
	if err := json.Unmarshal(b, &entry); err != nil {
		d.Fatal(err)
	}
	if b, err = tree.ReadAll(d.Context(), d.Repo().Tree(), "apps"+entry.Index.Name, 1<<20); err != nil {
		d.Fatal(err)
	}
	if err := json.Unmarshal(b, &index); err != nil {
		d.Fatal(err)
	}
	p := index.Packages[clock]
	if p.Metadata.Name["en-US"] != name || len(p.Versions) != versions {
		d.Errorf("F-Droid's index says %s", b)
	}
	files := []string{}
	for _, v := range p.Versions {
		files = append(files, v.File.Name)
	}
	for _, i := range p.Metadata.Icon {
		files = append(files, i.Name)
	}
	for _, f := range files {
		if r, err := d.Repo().Tree().Open(d.Context(), "apps"+f); err != nil {
			d.Errorf("F-Droid's index names %s: %v", f, err)
		} else {
			r.Close()
		}
	}
}

// TestDeltas makes deltas from the versions that devices have, offers those that
// are small, and applies them.
func TestDeltas(t *testing.T) { each(t, testDeltas) }

func testDeltas(d *desk) {
	ctx := d.Context()
	noise := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{7}).Read(noise)
	var apks [][]byte
	for n := 1; n <= 6; n++ {
		noise[n*100] ^= 1
		if n == 6 { // another app altogether
			rand.NewChaCha8([32]byte{8}).Read(noise)
		}
		b := apptest.APK{VersionCode: n, Signers: []apksig.Signer{d.ada}, Files: map[string]string{"assets/noise": string(noise)}}.Build(d)
		apks = append(apks, b)
		sub, err := d.Submit(ctx, "ada", upload(b))
		if err != nil {
			d.Fatal(err)
		}
		d.approve(sub.ID)
		if _, err := d.Release(ctx, "rex", sub.ID, app.ReleaseOptions{Share: apirepo.Everyone}); err != nil {
			d.Fatal(err)
		}
		d.compile()
		if err := d.MakeDeltas(ctx, func(string) {}); err != nil {
			d.Fatal(err)
		}
		d.compile()
		p, err := d.Repo().Package(ctx, clock)
		if err != nil {
			d.Fatal(err)
		}
		want := min(n-1, 3)
		if n == 6 {
			want = 0
		}
		if got := p.Releases[0].Deltas; len(got) != want {
			d.Errorf("version %d: %d deltas, want %d", n, len(got), want)
		}
		for _, delta := range p.Releases[0].Deltas {
			d.applies(apks, b, delta)
		}
	}
}

// applies checks that a published delta makes the new package of an old one.
func (d *desk) applies(old [][]byte, new []byte, delta apirepo.AppDelta) {
	d.Helper()
	i := slices.IndexFunc(old, func(b []byte) bool { return mios.Sum(b) == delta.From })
	if i < 0 {
		d.Fatalf("a delta from %s, which was never released", delta.From)
	}
	b, err := tree.ReadAll(d.Context(), d.Repo().Tree(), delta.Target.File(), 1<<20)
	if err != nil {
		d.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := apkdelta.Apply(d.Context(), bytes.NewReader(old[i]), int64(len(old[i])), bytes.NewReader(b), &out, apkdelta.Limits{}); err != nil || !bytes.Equal(out.Bytes(), new) {
		d.Errorf("the delta from version %d makes another file, %v", i+1, err)
	}
	if len(b)*100 >= len(new)*60 {
		d.Errorf("a delta of %d bytes to a package of %d is offered", len(b), len(new))
	}
}

// TestClaimOffline waits for the claims role's key.
func TestClaimOffline(t *testing.T) { each(t, testClaimOffline) }

func testClaimOffline(d *desk) {
	ctx := d.Context()
	all := repotest.Keys(d)
	whole := repotest.New(d, all)
	online := keysWithout(all, "claims")
	r, err := repo.Open(whole.Dir(), repo.WithKeys(online))
	if err != nil {
		d.Fatal(err)
	}
	d.cfg.Repo = r
	d.open()
	sub := d.submit(1)
	d.approve(sub.ID)
	if _, err := d.Release(ctx, "rex", sub.ID, app.ReleaseOptions{Share: apirepo.Everyone}); err != nil {
		d.Fatal(err)
	}
	for range 2 {
		if c := d.compile(); !slices.Equal(c.Waiting, []string{clock}) {
			d.Errorf("Compile = %+v, want that the clock waits", c)
		}
	}
	if a, err := d.App(ctx, clock); err != nil || a.Claim != app.ClaimWaits || !a.Pending {
		d.Errorf("App = %+v, %v", a, err)
	}
	if got := d.offer(apirepo.AppDevice{}); got != "" {
		d.Errorf("a device is offered %q before the claim is signed", got)
	}
	bundle, err := r.Export(ctx)
	if err != nil {
		d.Fatal(err)
	}
	if n, err := bundle.Sign(all); n != 1 || err != nil {
		d.Fatal(n, err)
	}
	if _, err := r.Import(ctx, bundle); err != nil {
		d.Fatal(err)
	}
	if c := d.compile(); len(c.Waiting) > 0 || len(c.Packages) != 1 {
		d.Errorf("Compile = %+v, want the clock published", c)
	}
	if got := d.offer(apirepo.AppDevice{}); got != "1 1" {
		d.Errorf("a device is offered %q, want release 1", got)
	}
}

// without are keys of which a role's are elsewhere.
type without struct {
	repo.Keys
	role string
}

func (k without) Signers(role string) ([]crypto.Signer, error) {
	if role == k.role {
		return nil, nil
	}
	return k.Keys.Signers(role)
}

func keysWithout(k repo.Keys, role string) repo.Keys { return without{k, role} }

// TestAlike points out names that may be taken for others, and domains that do
// not vouch.
func TestAlike(t *testing.T) { each(t, testAlike) }

// prover vouches for what it lists.
type prover []string

func (p prover) Prove(ctx context.Context, pkg string, signers []mios.Digest) error {
	if slices.Contains(p, pkg) {
		return nil
	}
	return fmt.Errorf("package %s: its domain does not vouch: %w", pkg, mios.ErrDenied)
}

func testAlike(d *desk) {
	ctx := d.Context()
	d.release(1, app.ReleaseOptions{})
	d.cfg.Policy, d.cfg.Prover = app.Policy{ProveDomain: true, OtherReviewer: true}, prover{"org.example.good"}
	d.open()
	eve := apptest.Signer(d)
	for _, tt := range []struct {
		pkg, label  string
		alike, good bool
	}{
		{"org.examp1e.clock", "Other", true, false},
		{"com.other.app", "Clock", true, false},
		{"com.other.mail", "Post", false, false},
		{"org.example.good", "Good", false, true},
	} {
		sub, err := d.Submit(ctx, "eve", upload(apptest.APK{Package: tt.pkg, Label: tt.label, Signers: []apksig.Signer{eve}}.Build(d)))
		if err != nil {
			d.Fatal(err)
		}
		if (len(sub.Alike) > 0) != tt.alike || (sub.Domain == "") != tt.good {
			d.Errorf("%s, %s: alike %+v, domain %q", tt.pkg, tt.label, sub.Alike, sub.Domain)
		}
		if _, err := d.Review(ctx, "rex", sub.ID, true, ""); errors.Is(err, mios.ErrDenied) == tt.good {
			d.Errorf("%s: Review = %v, want approval: %v", tt.pkg, err, tt.good)
		}
	}
	own := d.submit(2)
	if _, err := d.Review(ctx, "ada", own.ID, true, ""); !errors.Is(err, mios.ErrDenied) {
		d.Errorf("Review by who submitted = %v, want denied", err)
	}
	if _, err := d.Review(ctx, "rex", own.ID, false, ""); !errors.Is(err, mios.ErrInvalid) {
		d.Errorf("a rejection without a reason = %v", err)
	}
	files := d.rows()["files"]
	if _, err := d.Review(ctx, "rex", own.ID, false, "It is ugly."); err != nil {
		d.Fatal(err)
	}
	if got := d.rows()["files"]; got != files-1 {
		d.Errorf("%d files after a rejection, %d before", got, files)
	}
	if again := d.submit(2); again.ID == own.ID {
		d.Error("what was rejected cannot be handed in again")
	}
}

// TestHistory changes the history behind the store's back: it says where.
func TestHistory(t *testing.T) { each(t, testHistory) }

func testHistory(d *desk) {
	ctx := d.Context()
	d.release(1, app.ReleaseOptions{})
	d.release(2, app.ReleaseOptions{})
	a, err := d.Audit(ctx, mios.Digest{})
	if err != nil || a.Events != 6 {
		d.Fatalf("Audit = %+v, %v", a, err)
	}
	d.release(3, app.ReleaseOptions{})
	if b, err := d.Audit(ctx, a.Head); err != nil || b.Events != 9 {
		d.Errorf("Audit with an earlier head = %+v, %v", b, err)
	}
	if _, err := d.Audit(ctx, mios.Sum(nil)); !errors.Is(err, mios.ErrInvalid) {
		d.Errorf("Audit with a head that never was = %v", err)
	}
	for _, tt := range []struct {
		change, undo string
		seq          int64
	}{
		{`UPDATE store_events SET who = 'eve' WHERE seq = 4 AND who = 'ada'`, `UPDATE store_events SET who = 'ada' WHERE seq = 4`, 4},
		{`UPDATE store_events SET seq = 90 WHERE seq = 9`, `UPDATE store_events SET seq = 9 WHERE seq = 90`, 9},
		{`UPDATE store_head SET event = 10 WHERE id = 1`, `UPDATE store_head SET event = 9 WHERE id = 1`, 10},
	} {
		d.exec(tt.change)
		_, err := d.History(ctx, clock)
		var broken *history.BrokenError
		if !errors.As(err, &broken) || broken.Seq != tt.seq {
			d.Errorf("after %s: %v, want that event %d is named", tt.change, err, tt.seq)
		}
		d.exec(tt.undo)
	}
	if _, err := d.Audit(ctx, a.Head); err != nil {
		d.Error(err)
	}
}

func (d *desk) exec(statement string) {
	d.Helper()
	if err := d.cfg.DB.Tx(d.Context(), func(tx *record.Tx) error {
		n, err := tx.Exec(statement)
		if err == nil && n != 1 {
			err = fmt.Errorf("%s: %d rows", statement, n)
		}
		return err
	}); err != nil {
		d.Fatal(err)
	}
}

// TestAudience releases for some regions and classes of devices.
func TestAudience(t *testing.T) { each(t, testAudience) }

func testAudience(d *desk) {
	d.release(1, app.ReleaseOptions{Regions: []string{"DE", "AT"}})
	for _, tt := range []struct {
		region, want string
	}{{"DE", "1 1"}, {"AT", "1 1"}, {"FR", ""}, {"", ""}} {
		if got := d.offer(apirepo.AppDevice{Place: api.Place{Region: tt.region}}); got != tt.want {
			d.Errorf("a device in %q is offered %q, want %q", tt.region, got, tt.want)
		}
	}
	sub := d.submit(2)
	d.approve(sub.ID)
	for _, o := range []app.ReleaseOptions{
		{Regions: []string{"Germany"}}, {Classes: []string{"toaster"}}, {Track: "nightly"}, {Share: -1}, {Share: 10001},
		{Steps: []apirepo.Share{500, 100}}, {Every: 1}, {Why: "<b>"},
	} {
		if _, err := d.Release(d.Context(), "rex", sub.ID, o); !errors.Is(err, mios.ErrInvalid) {
			d.Errorf("Release with %+v = %v, want invalid", o, err)
		}
	}
	if _, err := d.Release(d.Context(), "rex", sub.ID, app.ReleaseOptions{Classes: []string{"watch"}, Share: apirepo.Everyone}); err != nil {
		d.Fatal(err)
	}
	d.compile()
	if got := d.offer(apirepo.AppDevice{Place: api.Place{Region: "DE"}}); got != "1 1" {
		d.Errorf("a phone is offered %q, want the release before the watch's", got)
	}
}

// TestSplits releases a base package with splits, each for some devices.
func TestSplits(t *testing.T) { each(t, testSplits) }

func testSplits(d *desk) {
	var apks [][]byte
	for _, split := range []string{"config.de", "", "config.x86_64", "config.xxhdpi"} {
		a := apptest.APK{Split: split, Signers: []apksig.Signer{d.ada}}
		if split == "config.x86_64" {
			a.Files = map[string]string{"lib/x86_64/libclock.so": "code"}
		}
		apks = append(apks, a.Build(d))
	}
	sub, err := d.Submit(d.Context(), "ada", upload(apks...))
	if err != nil {
		d.Fatal(err)
	}
	d.approve(sub.ID)
	if _, err := d.Release(d.Context(), "rex", sub.ID, app.ReleaseOptions{Share: apirepo.Everyone}); err != nil {
		d.Fatal(err)
	}
	d.compile()
	p, err := d.Repo().Package(d.Context(), clock)
	if err != nil {
		d.Fatal(err)
	}
	r := &p.Releases[0]
	wholeRelease(d.T, d.Repo(), r)
	if r.Target.SHA256 != mios.Sum(apks[1]) {
		d.Error("the base package is another file")
	}
	got := map[string]string{}
	for _, s := range r.Splits {
		got[s.Name] = s.Locale + s.ABI + s.Density
	}
	if want := map[string]string{"config.de": "de", "config.x86_64": "x86_64", "config.xxhdpi": "480"}; !maps.Equal(got, want) {
		d.Errorf("splits %v, want %v", got, want)
	}
	if d.compile(); d.rows()["fdroid"] != 0 {
		d.Error("F-Droid's clients are told of a set, which they cannot install")
	}
}
