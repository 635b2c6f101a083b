package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"mios"
	api "mios/api/repo"
	"mios/publish/app/fdroid"
	"mios/publish/app/listing"
	"mios/publish/repo"
	"mios/storage/blob"
	"mios/storage/record"
)

// maxPublished is how many releases of an app devices are told of, beside those
// that are the current ones of their tracks.
const maxPublished = 8

// A view is all that is told of one package.
type view struct {
	app      *App
	releases []api.AppRelease // the newest first
	rows     map[string]*submissionRow
	listing  *Listing
}

// load reads what is to be told of a package. Without releases it is nil.
func load(tx *record.Tx, pkg string) (*view, error) {
	a, err := wantApp(tx, pkg)
	if err != nil {
		return nil, err
	}
	all, err := loadReleases(tx, pkg)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	v := &view{app: a, rows: map[string]*submissionRow{}}
	if v.listing, err = loadListing(tx, pkg); err != nil {
		return nil, err
	}
	for i, r := range all {
		if i >= maxPublished && !isCurrent(all, &r) {
			continue
		}
		row := v.rows[r.Submission]
		if row == nil {
			if row, err = loadSubmission(tx, r.Submission); err != nil {
				return nil, err
			}
			v.rows[r.Submission] = row
		}
		rel := r.publish(row.Template)
		if rel.Deltas, err = loadDeltas(tx, &rel); err != nil {
			return nil, err
		}
		v.releases = append(v.releases, rel)
	}
	return v, nil
}

func isCurrent(all []Release, r *Release) bool {
	c := current(all, r.Track)
	return c != nil && c.Number == r.Number
}

// publish is the release as devices see it.
func (r *Release) publish(t api.AppRelease) api.AppRelease {
	t.Release, t.Time = r.Number, r.At.Unix()
	t.Tracks, t.Regions, t.Classes = []string{r.Track}, r.Regions, r.Classes
	t.Share, t.Salt = r.Share, fmt.Sprintf("%s %d", r.Package, r.Number)
	t.Halted, t.Withdrawn, t.Rollback = r.Halted, r.Withdrawn, r.Rollback
	return t
}

// publication is the package as the repository publishes it.
func (s *Store) publication(ctx context.Context, v *view) repo.App {
	out := repo.App{Package: api.Package{Package: v.app.Package, Releases: v.releases}}
	add := func(t api.Target) {
		out.Files = append(out.Files, repo.File{Target: t, Content: &lazyBlob{ctx: ctx, blobs: s.cfg.Blobs, digest: t.SHA256}})
	}
	seen := map[mios.Digest]bool{}
	for i := range v.releases {
		r := &v.releases[i]
		for _, d := range r.Deltas {
			add(d.Target)
		}
		if seen[r.Target.SHA256] {
			continue
		}
		seen[r.Target.SHA256] = true
		add(r.Target)
		for _, split := range r.Splits {
			add(split.Target)
		}
	}
	out.Listing = v.catalogue(add)
	return out
}

// catalogue is what the catalogue shows of the package, its newest release that
// anybody may see first.
func (v *view) catalogue(add func(api.Target)) *api.Listing {
	row := v.rows[v.shown().submission(v)]
	out := &api.Listing{Package: v.app.Package, Added: v.app.Added.Unix(), Locales: map[string]api.LocaleListing{}}
	icon := v.icon(fdroid.DefaultLocale, row.Icon, add)
	base := api.LocaleListing{Name: row.Label, Notes: row.Note, Icon: icon}
	if v.listing == nil || len(v.listing.Locales) == 0 {
		out.Locales[fdroid.DefaultLocale] = base
		return out
	}
	for _, tag := range slices.Sorted(maps.Keys(v.listing.Locales)) {
		l, loc := v.listing.Locales[tag], base
		if l.Title != "" {
			loc.Name = l.Title
		}
		loc.Summary, loc.Description = l.Short, withoutHTML(l.Full)
		if text, ok := l.Changelogs[row.VersionCode]; ok {
			loc.Notes = text
		} else if text, ok := l.Changelogs[0]; ok {
			loc.Notes = text
		}
		if own := v.icon(tag, l.Icon, add); own != nil {
			loc.Icon = own
		}
		loc.Feature = v.picture(tag, "feature", l.FeatureGraphic, add)
		v.picture(tag, "promo", l.PromoGraphic, add) // F-Droid's clients show these
		v.picture(tag, "banner", l.TVBanner, add)
		for form, list := range l.Screenshots {
			for i := range list {
				t := v.screenshot(tag, form, i)
				add(t)
				if loc.Screenshots == nil {
					loc.Screenshots = map[string][]api.Target{}
				}
				loc.Screenshots[string(form)] = append(loc.Screenshots[string(form)], t)
			}
		}
		out.Locales[tag] = loc
	}
	if _, ok := out.Locales[fdroid.DefaultLocale]; !ok {
		out.Default = slices.Sorted(maps.Keys(out.Locales))[0]
	}
	return out
}

// shown is the release that people see the words of.
func (v *view) shown() *shownRelease {
	best := &v.releases[0]
	for i := range v.releases {
		if r := &v.releases[i]; !r.Withdrawn && slices.Contains(r.Tracks, api.TrackProduction) {
			best = r
			break
		}
	}
	return (*shownRelease)(best)
}

type shownRelease api.AppRelease

// submission is the one of which the release is.
func (r *shownRelease) submission(v *view) string {
	for id, row := range v.rows {
		if row.Template.Target.SHA256 == r.Target.SHA256 {
			return id
		}
	}
	return ""
}

// iconSize is the size of the icons that devices are shown, in pixels; F-Droid's
// clients get the largest.
const iconSize = 192

// icon returns the icon of a locale for our own devices; all sizes get into the
// tree.
func (v *view) icon(locale string, list []listing.Picture, add func(api.Target)) *api.Target {
	var best *api.Target
	for i := range list {
		t := v.picture(locale, iconName(&list[i]), &list[i], add)
		if best == nil || list[i].Width <= iconSize {
			best = t
		}
	}
	return best
}

func (v *view) picture(locale, name string, p *listing.Picture, add func(api.Target)) *api.Target {
	if p == nil {
		return nil
	}
	t := v.target(locale, name, p)
	add(t)
	return &t
}

// target is where a picture lies in the tree.
func (v *view) target(locale, name string, p *listing.Picture) api.Target {
	return api.Target{Path: api.ImagePath(v.app.Package, locale+"_"+name+p.Ext()), Length: p.Size, SHA256: p.SHA256}
}

func iconName(p *listing.Picture) string { return fmt.Sprintf("icon_%d", p.Width) }

func (v *view) screenshot(locale string, form listing.Form, i int) api.Target {
	return v.target(locale, fmt.Sprintf("%s_%d", form, i+1), &v.listing.Locales[locale].Screenshots[form][i])
}

// A lazyBlob opens a blob when it is first read.
type lazyBlob struct {
	ctx    context.Context
	blobs  blob.Store
	digest mios.Digest
	f      blob.File
}

func (l *lazyBlob) Read(p []byte) (n int, err error) {
	if l.f == nil {
		if l.f, err = l.blobs.Open(l.ctx, l.digest); err != nil {
			return 0, err
		}
	}
	n, err = l.f.Read(p)
	if err != nil { // io.EOF too: nobody reads on
		err = errors.Join(err, l.f.Close())
		if errors.Is(err, io.EOF) {
			err = io.EOF
		}
	}
	return n, err
}
