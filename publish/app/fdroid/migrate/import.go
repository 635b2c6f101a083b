package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"mios"
	api "mios/api/repo"
	"mios/publish/app"
	"mios/publish/app/fdroid"
	"mios/publish/app/report"
	"mios/publish/app/worker"
)

// An Importer moves a repository of fdroidserver's into a store, by the store's
// own rules: each version is submitted, approved and released to everybody. What
// is in the store already stays as it is, so that importing once more takes what
// is new, and goes on after a kill. Store and Who must be set.
type Importer struct {
	Store *app.Store
	Who   string // does it, for the history
	Why   string
	// Progress hears how many packages are read, and then how many apps are taken
	// over; nil: nobody does.
	Progress func(what string, done, total int)
}

// The states of an imported version.
const (
	Taken   = "taken"   // released now
	There   = "there"   // it had been imported, or submitted, before
	Waiting = "waiting" // submitted, and not released: see why
	Left    = "left"    // not taken: see why
)

// Imported says what became of a repository.
type Imported struct {
	Name    string        `json:"name,omitempty"` // what config.yml says, which store.yaml is to say
	Address string        `json:"address,omitempty"`
	Mirrors []string      `json:"mirrors,omitempty"`
	Apps    []ImportedApp `json:"apps"`
	Left    []string      `json:"left"` // files that were left, each with the reason
}

// An ImportedApp is one package.
type ImportedApp struct {
	Package  string            `json:"package"`
	Versions []ImportedVersion `json:"versions"`          // ascending
	Listing  bool              `json:"listing,omitempty"` // texts and pictures are other ones than before
	Project  bool              `json:"project,omitempty"` // author, licence, links and categories are
	Left     []string          `json:"left,omitempty"`    // of texts and pictures, each with the reason
}

// An ImportedVersion is one APK.
type ImportedVersion struct {
	File        string `json:"file"` // in repo/
	VersionCode int64  `json:"version_code"`
	VersionName string `json:"version_name,omitempty"`
	State       string `json:"state"`         // [Taken], [There], [Waiting] or [Left]
	Why         string `json:"why,omitempty"` // it is not taken, or not with all there is of it
	Submission  string `json:"submission,omitempty"`
	Track       string `json:"track,omitempty"` // where it was released now
}

// Import reads the repository in a folder and takes it over. An error is of what
// went wrong here; what the store refuses stands in the result, and what was
// taken before an error stays.
func (im *Importer) Import(ctx context.Context, fsys fs.FS) (*Imported, error) {
	known, err := im.known(ctx)
	if err != nil {
		return nil, err
	}
	r, err := Read(ctx, fsys, Options{
		Inspect: func(ctx context.Context, p Package) (*report.App, error) { return im.inspect(ctx, known, p) },
		Progress: func(done, total int) {
			im.progress("read packages", done, total)
		},
	})
	if err != nil {
		return nil, err
	}
	out := &Imported{Name: r.Name, Address: r.Address, Mirrors: r.Mirrors, Apps: []ImportedApp{}, Left: append([]string{}, r.Problems...)}
	for i, a := range r.Apps {
		im.progress("take apps over", i, len(r.Apps))
		done, err := im.app(ctx, r, a, known)
		if err != nil {
			return out, fmt.Errorf("%s: %w", a.Package, err)
		}
		out.Apps = append(out.Apps, *done)
	}
	return out, nil
}

func (im *Importer) progress(what string, done, total int) {
	if im.Progress != nil {
		im.Progress(what, done, total)
	}
}

// known lists the store's submissions of one file, by that file.
func (im *Importer) known(ctx context.Context) (map[mios.Digest]*app.Submission, error) {
	known := map[mios.Digest]*app.Submission{}
	for f := (app.Filter{Limit: 1000}); ; {
		list, err := im.Store.Submissions(ctx, f)
		if err != nil || len(list) == 0 {
			return known, err
		}
		for i := range list {
			sub := &list[i]
			if before := known[fileOf(sub)]; len(sub.Files) == 1 && (before == nil || before.State == app.Rejected) {
				known[fileOf(sub)] = sub
			}
		}
		f.Before = list[len(list)-1].ID
	}
}

func fileOf(sub *app.Submission) mios.Digest {
	if len(sub.Files) == 0 {
		return mios.Digest{}
	}
	return sub.Files[0].SHA256
}

// inspect tells what is in a package: what the store found out when it was
// submitted, or what its worker does now.
func (im *Importer) inspect(ctx context.Context, known map[mios.Digest]*app.Submission, p Package) (*report.App, error) {
	if sub := known[p.Digest]; sub != nil && sub.State != app.Checking {
		if facts, err := im.Store.Facts(ctx, sub.ID); err == nil && facts != nil && facts.App != nil {
			return facts.App, nil
		}
	}
	facts, err := im.Store.Inspect(ctx, worker.File{ReaderAt: p, Name: p.Name, Size: p.Size})
	if err != nil {
		return nil, err
	}
	if s := facts.App.Signature; s == nil || !s.Verified {
		return nil, fmt.Errorf("its signature does not verify: %w", mios.ErrDenied)
	}
	return facts.App, nil
}

// app takes one app over.
func (im *Importer) app(ctx context.Context, r *Repository, a *fdroid.App, known map[mios.Digest]*app.Submission) (*ImportedApp, error) {
	out := &ImportedApp{Package: a.Package, Versions: []ImportedVersion{}}
	versions := slices.SortedStableFunc(slices.Values(a.Versions), func(x, y fdroid.Version) int { return cmp.Compare(x.Code, y.Code) })
	suggested := a.SuggestedCode
	if !slices.ContainsFunc(versions, func(v fdroid.Version) bool { return v.Code <= suggested }) {
		suggested = 0 // it says nothing: no version would be anybody's
	}
	for i := range versions {
		v := &versions[i]
		done := ImportedVersion{File: v.File.Name, VersionCode: v.Code, VersionName: v.Name}
		track := api.TrackProduction
		if suggested > 0 && v.Code > suggested {
			track = api.TrackBeta
		}
		if err := im.version(ctx, r, v, known[v.File.Digest], track, &done); err != nil {
			return nil, err
		}
		out.Versions = append(out.Versions, done)
	}
	if _, err := im.Store.App(ctx, a.Package); errors.Is(err, mios.ErrNotFound) {
		return out, nil // nothing of it was approved
	} else if err != nil {
		return nil, err
	}
	if err := im.project(ctx, a, out); err != nil {
		return nil, err
	}
	return out, im.listing(ctx, r, a, out)
}

// version takes one version over, on a track.
func (im *Importer) version(ctx context.Context, r *Repository, v *fdroid.Version, sub *app.Submission, track string, out *ImportedVersion) error {
	if _, extension := ext(v.File.Name); extension != "apk" {
		out.State, out.Why = Left, "it is no package, and this store has packages alone"
		return nil
	}
	out.Why = without(v)
	state, err := im.submit(ctx, r, v, sub, track, out)
	if err == nil {
		if out.State = state; state == There {
			out.Why = ""
		}
		return nil
	}
	if !isRefusal(err) {
		return err
	}
	out.State, out.Why = Left, strings.TrimPrefix(err.Error(), v.File.Name+": ")
	if out.Submission != "" {
		out.State = Waiting
	}
	return nil
}

// without says what of a version this store has no place for, or "".
func without(v *fdroid.Version) string {
	var list []string
	if v.OBBMain.Name != "" || v.OBBPatch.Name != "" {
		list = append(list, "expansion files")
	}
	if v.Source.Name != "" {
		list = append(list, "archive of sources")
	}
	if len(v.AntiFeatures) > 0 {
		list = append(list, "anti-features that other versions do not have")
	}
	if len(list) == 0 {
		return ""
	}
	return "without its " + strings.Join(list, " and its ") + ", which this store does not keep"
}

func isRefusal(err error) bool {
	return errors.Is(err, mios.ErrInvalid) || errors.Is(err, mios.ErrDenied) || errors.Is(err, mios.ErrConflict) || errors.Is(err, mios.ErrNotFound)
}

// submit brings a version as far as it is not yet.
func (im *Importer) submit(ctx context.Context, r *Repository, v *fdroid.Version, sub *app.Submission, track string, out *ImportedVersion) (state string, err error) {
	if sub == nil {
		f, err := r.Open(v.File.Name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		u := app.Upload{Files: []app.UploadFile{{Name: v.File.Name, Content: f, Digest: v.File.Digest}}}
		if sub, err = im.Store.Submit(ctx, im.Who, u); err != nil {
			return "", err
		}
	}
	out.Submission = sub.ID
	if sub.State == app.Rejected {
		out.Why = "it was rejected before: " + sub.Verdict.Why
		return Left, nil
	}
	if sub.State == app.Review {
		if sub, err = im.Store.Review(ctx, im.Who, sub.ID, true, im.Why); err != nil {
			return "", err
		}
	}
	a, err := im.Store.App(ctx, sub.Package)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(a.Releases, func(r app.Release) bool { return r.Submission == sub.ID }) {
		return There, nil
	}
	o := app.ReleaseOptions{Track: track, Share: api.Everyone, Why: im.Why}
	if _, err := im.Store.Release(ctx, im.Who, sub.ID, o); err != nil {
		return "", err
	}
	out.Track = track
	return Taken, nil
}

// listing takes texts and pictures over.
func (im *Importer) listing(ctx context.Context, r *Repository, a *fdroid.App, out *ImportedApp) error {
	dir, err := os.MkdirTemp("", "mios-listing-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := r.layout(a, dir); err != nil {
		return err
	}
	changed, left, err := im.Store.TakeListing(ctx, im.Who, a.Package, os.DirFS(dir), im.Why)
	if err != nil && !isRefusal(err) {
		return err
	}
	if err != nil {
		left = append(left, err.Error())
	}
	out.Listing, out.Left = changed, append(out.Left, left...)
	return nil
}

// project takes over what is known beside them.
func (im *Importer) project(ctx context.Context, a *fdroid.App, out *ImportedApp) error {
	p := &app.Project{
		License: a.License, AuthorName: a.AuthorName, AuthorEmail: a.AuthorEmail, AuthorSite: a.AuthorSite, AuthorPhone: a.AuthorPhone,
		WebSite: a.WebSite, SourceCode: a.SourceCode, IssueTracker: a.IssueTracker, Translation: a.Translation, Changelog: a.Changelog,
		Donate: a.Donate, Bitcoin: a.Bitcoin, Litecoin: a.Litecoin, Flattr: a.Flattr, Liberapay: a.Liberapay, OpenCollective: a.OpenCollective,
		Categories: a.Categories,
	}
	for name, texts := range a.AntiFeatures {
		if p.AntiFeatures == nil {
			p.AntiFeatures = map[string]map[string]string{}
		}
		p.AntiFeatures[name] = texts
	}
	var err error
	if out.Project, err = im.Store.SetProject(ctx, im.Who, a.Package, p, im.Why); err != nil && isRefusal(err) {
		out.Left = append(out.Left, err.Error())
		return nil
	}
	return err
}
