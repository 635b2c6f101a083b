package app_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/format/apksig"
	"mios/publish/app"
	"mios/publish/app/apptest"
)

// TestLife walks an app from its first upload to a rollback.
func TestLife(t *testing.T) { each(t, testLife) }

func testLife(d *desk) {
	ctx := d.Context()
	one := d.submit(1)
	if one.State != app.Review || !one.First || one.Package != clock || one.VersionCode != 1 || one.Label != "Clock" || len(one.Files) != 1 {
		d.Errorf("submission %+v", one)
	}
	if _, err := d.Release(ctx, "rex", one.ID, app.ReleaseOptions{}); !errors.Is(err, mios.ErrConflict) || !strings.Contains(err.Error(), "--approve") {
		d.Errorf("Release before approval = %v", err)
	}
	d.approve(one.ID)
	r1, err := d.Release(ctx, "rex", one.ID, app.ReleaseOptions{Share: api.Everyone})
	if err != nil || r1.Number != 1 {
		d.Fatalf("Release = %+v, %v", r1, err)
	}
	d.compile()
	if got := d.offer(api.AppDevice{}); got != "1 1" {
		d.Errorf("a device is offered %q, want release 1", got)
	}
	r2 := d.release(2, app.ReleaseOptions{Track: api.TrackBeta})
	if got := d.offer(api.AppDevice{}); got != "1 1" || r2.Share != api.Everyone {
		d.Errorf("production is offered %q after a release on beta, want release 1", got)
	}
	if got := d.offer(api.AppDevice{Track: api.TrackBeta}); got != "2 2" {
		d.Errorf("beta is offered %q, want release 2", got)
	}
	r3, err := d.Release(ctx, "rex", r2.Submission, app.ReleaseOptions{})
	if err != nil || r3.Share != app.DefaultSteps[0] || r3.Number != 3 {
		d.Fatalf("Release on production too = %+v, %v", r3, err)
	}
	if _, err := d.SetShare(ctx, "rex", clock, 3, api.Everyone, "all is well"); err != nil {
		d.Fatal(err)
	}
	d.compile()
	if got := d.offer(api.AppDevice{}); got != "3 2" {
		d.Errorf("a device is offered %q, want release 3", got)
	}
	d.haltAndBack()
	want := []string{"ada submit", "rex approve", "rex release", "ada submit", "rex approve", "rex release", "rex release", "rex share", "rex halt", "rex resume", "rex withdraw", "rex rollback"}
	if got := d.events(clock); !slices.Equal(got, want) {
		d.Errorf("history %v, want %v", got, want)
	}
	if a, err := d.App(ctx, clock); err != nil || a.Pending || a.Claim != app.ClaimPublished || len(a.Releases) != 4 {
		d.Errorf("App = %+v, %v", a, err)
	}
}

// haltAndBack halts release 3, lets it go on, and rolls back.
func (d *desk) haltAndBack() {
	d.Helper()
	ctx := d.Context()
	if _, err := d.Halt(ctx, "rex", clock, 3, "it crashes"); err != nil {
		d.Fatal(err)
	}
	d.compile()
	if got := d.offer(api.AppDevice{}); got != "1 1" {
		d.Errorf("a device is offered %q while 3 is halted, want release 1", got)
	}
	if _, err := d.Resume(ctx, "rex", clock, 3, ""); err != nil {
		d.Fatal(err)
	}
	d.compile()
	if got := d.offer(api.AppDevice{}); got != "3 2" {
		d.Errorf("a device is offered %q after that, want release 3", got)
	}
	r, err := d.Rollback(ctx, "rex", clock, "", 0, "it loses alarms")
	if err != nil || !r.Rollback || r.Number != 4 || r.VersionCode != 1 || r.Share != api.Everyone {
		d.Fatalf("Rollback = %+v, %v", r, err)
	}
	d.compile()
	if got := d.offer(api.AppDevice{}); got != "4 1" {
		d.Errorf("a device is offered %q after the rollback, want release 4", got)
	}
	if _, err := d.Resume(ctx, "rex", clock, 3, ""); !errors.Is(err, mios.ErrConflict) {
		d.Errorf("Resume of what was withdrawn = %v, want a conflict", err)
	}
	if again, err := d.Rollback(ctx, "rex", clock, "", 1, ""); err != nil || again.Number != 4 {
		d.Errorf("Rollback again = %+v, %v; want release 4", again, err)
	}
}

// TestRefuses hands in what is not to be taken.
func TestRefuses(t *testing.T) { each(t, testRefuses) }

func testRefuses(d *desk) {
	d.release(5, app.ReleaseOptions{})
	eve := apptest.Signer(d)
	by := func(s apksig.Signer) []apksig.Signer { return []apksig.Signer{s} }
	broken := d.version(7)
	broken[60] ^= 1
	for _, tt := range []struct {
		name, who string
		apk       []byte
		want      error
		sentence  string
	}{
		{"a lower version code", "ada", d.version(4), mios.ErrConflict, "version code 4 is not above 5"},
		{"the same version code", "ada", apptest.APK{VersionCode: 5, Label: "New", Signers: by(d.ada)}.Build(d), mios.ErrConflict, "raise the version code"},
		{"another developer's package", "eve", apptest.APK{VersionCode: 6, Signers: by(d.ada)}.Build(d), mios.ErrDenied, "another developer's"},
		{"another signer", "ada", apptest.APK{VersionCode: 6, Signers: by(eve)}.Build(d), mios.ErrDenied, "mios app lineage create"},
		{"a lineage from elsewhere", "ada", apptest.APK{VersionCode: 6, Signers: []apksig.Signer{eve, apptest.Signer(d)}, Lineage: nil}.Build(d), mios.ErrDenied, "signed by"},
		{"no signature", "ada", apptest.APK{VersionCode: 6}.Build(d), nil, ""},
		{"a changed byte", "ada", broken, nil, ""},
		{"no package", "ada", []byte("PK\x03\x04 no"), mios.ErrInvalid, ""},
		{"nothing", "ada", nil, mios.ErrInvalid, ""},
		{"a debuggable one", "ada", apptest.APK{VersionCode: 6, Signers: by(d.ada), Application: `android:debuggable="true"`}.Build(d), mios.ErrInvalid, "debug"},
		{"HTML in the label", "ada", apptest.APK{VersionCode: 6, Signers: by(d.ada), Label: "<b>Clock</b>"}.Build(d), mios.ErrInvalid, "HTML"},
		{"HTML in the version", "ada", apptest.APK{VersionCode: 6, Signers: by(d.ada), VersionName: "1<script>"}.Build(d), mios.ErrInvalid, "HTML"},
		{"a label that turns text round", "ada", apptest.APK{VersionCode: 6, Signers: by(d.ada), Label: "Clock\u202ekcolC"}.Build(d), mios.ErrInvalid, "U+202E"},
		{"a split alone", "ada", apptest.APK{VersionCode: 6, Signers: by(d.ada), Split: "config.de"}.Build(d), mios.ErrInvalid, "base"},
	} {
		want := tt.want
		if want == nil {
			want = mios.ErrDenied
			if _, err := d.Submit(d.Context(), tt.who, upload(tt.apk)); errors.Is(err, mios.ErrInvalid) {
				want = mios.ErrInvalid // which of the two is the checks' to say
			}
		}
		d.refuses(tt.name, tt.who, upload(tt.apk), want, tt.sentence)
	}
	d.refusesTexts(by(d.ada))
	d.refusesSets(by(d.ada), by(eve))
}

// refusesTexts hands in what is wrong beside the package.
func (d *desk) refusesTexts(ada []apksig.Signer) {
	good := func() app.Upload { return upload(apptest.APK{VersionCode: 6, Signers: ada}.Build(d)) }
	note := good()
	note.Note = `<img src="x">`
	d.refuses("HTML in the note", "ada", note, mios.ErrInvalid, "HTML")
	d.refuses("HTML in the name", "<i>ada</i>", good(), mios.ErrInvalid, "HTML")
	d.refuses("nobody", "", good(), mios.ErrInvalid, "say who")
	for _, name := range []string{"../../etc/passwd", "/etc/passwd", `..\x.apk`, "..", "a\x00b", "<b>.apk"} {
		u := good()
		u.Files[0].Name = name
		d.refuses("the file name "+name, "ada", u, mios.ErrInvalid, "file name")
	}
	d.refuses("no file", "ada", app.Upload{}, mios.ErrInvalid, "no file")
	gone := good()
	gone.Files[0] = app.UploadFile{Name: "a.apk", Digest: mios.Sum([]byte("never uploaded"))}
	d.refuses("a blob that is not there", "ada", gone, mios.ErrNotFound, "upload it again")
}

// refusesSets hands in sets of packages that are none.
func (d *desk) refusesSets(ada, eve []apksig.Signer) {
	base := apptest.APK{VersionCode: 6, Signers: ada}
	split := apptest.APK{VersionCode: 6, Signers: ada, Split: "config.de"}
	for name, change := range map[string]func(s *apptest.APK){
		"another version":  func(s *apptest.APK) { s.VersionCode = 7 },
		"another package":  func(s *apptest.APK) { s.Package = "org.example.other" },
		"another signer":   func(s *apptest.APK) { s.Signers = eve },
		"no signer":        func(s *apptest.APK) { s.Signers = nil },
		"a base once more": func(s *apptest.APK) { s.Split = "" },
	} {
		s := split
		change(&s)
		before := d.rows()
		_, err := d.Submit(d.Context(), "ada", upload(base.Build(d), s.Build(d)))
		if !errors.Is(err, mios.ErrInvalid) && !errors.Is(err, mios.ErrDenied) {
			d.Errorf("a split of %s: %v", name, err)
		}
		if after := d.rows(); len(after) != len(before) || after["submissions"] != before["submissions"] || after["files"] != before["files"] {
			d.Errorf("a split of %s: left %v, before %v", name, after, before)
		}
	}
	if _, err := d.Submit(d.Context(), "ada", upload(split.Build(d), base.Build(d))); err != nil {
		d.Errorf("a base and its split: %v", err)
	}
}

// TestLineage hands a package over to a new signer.
func TestLineage(t *testing.T) { each(t, testLineage) }

func testLineage(d *desk) {
	d.release(1, app.ReleaseOptions{})
	next, third := apptest.Signer(d), apptest.Signer(d)
	l := apptest.Lineage(d, d.ada, next)
	two := apptest.APK{VersionCode: 2, Signers: []apksig.Signer{d.ada, next}, Lineage: l}.Build(d)
	sub, err := d.Submit(d.Context(), "ada", upload(two))
	if err != nil {
		d.Fatal(err)
	}
	if len(sub.Signers) != 1 || sub.Signers[0] != mios.Sum(next.Certificate) || !slices.Contains(sub.Lineage, mios.Sum(d.ada.Certificate)) {
		d.Errorf("signers %v, lineage %v", sub.Signers, sub.Lineage)
	}
	d.approve(sub.ID)
	if _, err := d.Release(d.Context(), "rex", sub.ID, app.ReleaseOptions{Share: api.Everyone}); err != nil {
		d.Fatal(err)
	}
	d.compile()
	if got := d.offer(api.AppDevice{}); got != "2 2" {
		d.Errorf("a device is offered %q, want the release of the new signer", got)
	}
	old := apptest.APK{VersionCode: 3, Signers: []apksig.Signer{d.ada}}.Build(d)
	d.refuses("the signer before", "ada", upload(old), mios.ErrDenied, "mios app lineage")
	other := apptest.APK{VersionCode: 3, Signers: []apksig.Signer{d.ada, third}, Lineage: apptest.Lineage(d, d.ada, third)}.Build(d)
	d.refuses("another branch", "ada", upload(other), mios.ErrDenied, "mios app lineage")
}

// TestSchedule lets a share grow by itself.
func TestSchedule(t *testing.T) { each(t, testSchedule) }

func testSchedule(d *desk) {
	ctx := d.Context()
	sub := d.submit(1)
	d.approve(sub.ID)
	r, err := d.Release(ctx, "rex", sub.ID, app.ReleaseOptions{Every: time.Hour})
	if err != nil || r.Share != 100 {
		d.Fatalf("Release = %+v, %v", r, err)
	}
	share := func() api.Share {
		d.Helper()
		if err := d.Tick(ctx); err != nil {
			d.Fatal(err)
		}
		a, err := d.App(ctx, clock)
		if err != nil {
			d.Fatal(err)
		}
		return a.Releases[0].Share
	}
	if got := share(); got != 100 {
		d.Errorf("at first %s", got)
	}
	d.pass(time.Hour)
	if got := share(); got != 500 {
		d.Errorf("after an hour %s, want 5 %%", got)
	}
	if got := share(); got != 500 {
		d.Errorf("after no time at all %s, want 5 %%", got)
	}
	if _, err := d.Halt(ctx, "rex", clock, 1, "wait"); err != nil {
		d.Fatal(err)
	}
	d.pass(24 * time.Hour)
	if got := share(); got != 500 {
		d.Errorf("while it is halted %s, want 5 %%", got)
	}
	if _, err := d.Resume(ctx, "rex", clock, 1, ""); err != nil {
		d.Fatal(err)
	}
	for _, want := range []api.Share{500, 2000, api.Everyone, api.Everyone} {
		if got := share(); got != want {
			d.Errorf("the share is %s, want %s", got, want)
		}
		d.pass(time.Hour)
	}
	if a, err := d.App(ctx, clock); err != nil || a.Releases[0].Schedule != nil {
		d.Errorf("the schedule goes on after its last step: %+v, %v", a, err)
	}
}
