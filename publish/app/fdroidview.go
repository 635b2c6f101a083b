package app

import (
	"context"
	"errors"
	"iter"
	"maps"
	"path"
	"slices"

	"mios"
	api "mios/api/repo"
	"mios/publish/app/fdroid"
	"mios/publish/app/listing"
	"mios/storage/record"
)

// fdroidAll is the package of the outbox row that says that F-Droid's indexes
// are to be written: one for all, since each is of the whole.
const fdroidAll = ""

// fdroidFile is a target of ours as F-Droid's indexes name it.
func fdroidFile(t api.Target) fdroid.File {
	return fdroid.File{Name: path.Base(t.File()), Digest: t.SHA256, Size: t.Length}
}

// setFDroid keeps what F-Droid's indexes say of a package, for the next time
// that they are written.
func (s *Store) setFDroid(tx *record.Tx, v *view, revision int64) error {
	a := v.fdroid()
	text := ""
	if a != nil {
		var err error
		if text, err = encode(a); err != nil {
			return err
		}
	}
	var before string
	err := tx.QueryRow(`SELECT data FROM store_fdroid WHERE package = ?`, v.app.Package).Scan(&before)
	if err != nil && !errors.Is(err, mios.ErrNotFound) || before == text {
		return ignoreNotFound(err)
	}
	if a == nil {
		_, err = tx.Exec(`DELETE FROM store_fdroid WHERE package = ?`, v.app.Package)
	} else {
		_, err = tx.Exec(`INSERT INTO store_fdroid (package, data) VALUES (?, ?) ON CONFLICT (package) DO UPDATE SET data = excluded.data`, v.app.Package, text)
	}
	if err != nil || s.cfg.FDroid == nil {
		return err
	}
	return enqueue(tx, workFDroid, fdroidAll, revision)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, mios.ErrNotFound) {
		return nil
	}
	return err
}

// compileFDroid writes F-Droid's indexes if one of their packages has changed, or
// there are none yet: clients can follow a store that has nothing to offer, too.
func (s *Store) compileFDroid(ctx context.Context) (*fdroid.Result, error) {
	if s.cfg.FDroid == nil {
		return nil, nil
	}
	if _, due, err := s.fdroidDue(ctx); err != nil || !due {
		return nil, err
	}
	unlock, err := s.cfg.DB.Lock(ctx, fdroidLock)
	if err != nil {
		return nil, err
	}
	defer unlock()
	todo, due, err := s.fdroidDue(ctx) // others have written them meanwhile
	if err != nil || !due {
		return nil, err
	}
	c := *s.cfg.FDroid
	c.Tree, c.Time = s.cfg.Repo.Tree(), s.cfg.Now()
	var res *fdroid.Result
	err = s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		res, err = fdroid.Publish(ctx, c, fdroidApps(tx))
		return err
	})
	if errors.Is(err, mios.ErrConflict) { // another process's are newer
		return nil, nil
	}
	if err != nil || len(todo) == 0 {
		return res, err
	}
	return res, s.cfg.DB.Tx(ctx, func(tx *record.Tx) error { return todo[0].done(tx) })
}

// fdroidDue tells whether F-Droid's indexes are to be written, with the job that
// says so if there is one.
func (s *Store) fdroidDue(ctx context.Context) (todo []job, due bool, err error) {
	if todo, err = s.jobs(ctx, workFDroid); err != nil || len(todo) > 0 {
		return todo, true, err
	}
	if s.fdroidThere.Load() {
		return nil, false, nil
	}
	there, err := fdroid.Published(ctx, s.cfg.Repo.Tree())
	s.fdroidThere.Store(there)
	return nil, !there, err
}

// fdroidApps reads what F-Droid's indexes say, in the order of packages.
func fdroidApps(tx *record.Tx) iter.Seq2[*fdroid.App, error] {
	return func(yield func(*fdroid.App, error) bool) {
		rows, err := tx.Query(`SELECT package, data FROM store_fdroid ORDER BY package`)
		if err != nil {
			yield(nil, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var pkg, text string
			if err := rows.Scan(&pkg, &text); err != nil {
				yield(nil, err)
				return
			}
			if !yield(fdroid.Lazy(pkg, []byte(text)), nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// fdroidVersions is how many versions of an app F-Droid's clients are told of.
const fdroidVersions = 3

// fdroid is what F-Droid's indexes say of a package, or nil: what is released
// to everybody everywhere, since those clients know no shares, regions and
// splits.
func (v *view) fdroid() *fdroid.App {
	a := &fdroid.App{Package: v.app.Package, Added: v.app.Added.Unix()}
	for i := range v.releases {
		r := &v.releases[i]
		open := r.Share == api.Everyone && !r.Halted && !r.Withdrawn && len(r.Regions) == 0 && len(r.Splits) == 0
		known := slices.ContainsFunc(a.Versions, func(o fdroid.Version) bool { return o.Code == r.VersionCode })
		if !open || known || slices.Contains(r.Tracks, api.TrackInternal) || len(a.Versions) == fdroidVersions {
			continue
		}
		version := v.rows[(*shownRelease)(r).submission(v)].Version
		version.Added = r.Time
		if slices.Contains(r.Tracks, api.TrackBeta) {
			version.Channels = []string{"Beta"}
		}
		if r.Notes != "" {
			version.WhatsNew = fdroid.Text{fdroid.DefaultLocale: r.Notes}
		}
		a.Updated = max(a.Updated, r.Time)
		a.Versions = append(a.Versions, version)
	}
	if len(a.Versions) == 0 {
		return nil
	}
	slices.SortStableFunc(a.Versions, func(x, y fdroid.Version) int { return int(y.Code - x.Code) })
	v.app.Project.fdroid(a)
	v.fdroidTexts(a)
	return a
}

// fdroidTexts adds what people read and see.
func (v *view) fdroidTexts(a *fdroid.App) {
	row := v.rows[v.shown().submission(v)]
	a.Name = fdroid.Text{fdroid.DefaultLocale: row.Label}
	a.Summary, a.Description, a.Video = fdroid.Text{}, fdroid.Text{}, fdroid.Text{}
	a.Icon, a.FeatureGraphic, a.PromoGraphic, a.TVBanner = fdroid.Images{}, fdroid.Images{}, fdroid.Images{}, fdroid.Images{}
	v.fdroidIcon(a, fdroid.DefaultLocale, row.Icon)
	if v.listing == nil {
		return
	}
	shots := map[listing.Form]*fdroid.Screenshots{
		listing.Phone: &a.Phone, listing.SevenInch: &a.SevenInch, listing.TenInch: &a.TenInch, listing.TV: &a.TV, listing.Wear: &a.Wear,
	}
	for _, tag := range slices.Sorted(maps.Keys(v.listing.Locales)) {
		l := v.listing.Locales[tag]
		for _, t := range []struct {
			to   fdroid.Text
			text string
		}{{a.Name, l.Title}, {a.Summary, l.Short}, {a.Description, l.Full}, {a.Video, l.Video}} {
			if t.text != "" {
				t.to[tag] = t.text
			}
		}
		v.fdroidIcon(a, tag, l.Icon)
		for _, p := range []struct {
			to   fdroid.Images
			name string
			pic  *listing.Picture
		}{{a.FeatureGraphic, "feature", l.FeatureGraphic}, {a.PromoGraphic, "promo", l.PromoGraphic}, {a.TVBanner, "banner", l.TVBanner}} {
			if p.pic != nil {
				p.to[tag] = fdroidFile(v.target(tag, p.name, p.pic))
			}
		}
		for form, to := range shots {
			for i := range l.Screenshots[form] {
				if *to == nil {
					*to = fdroid.Screenshots{}
				}
				(*to)[tag] = append((*to)[tag], fdroidFile(v.screenshot(tag, form, i)))
			}
		}
		for i := range a.Versions {
			if text, ok := l.Changelogs[a.Versions[i].Code]; ok {
				if a.Versions[i].WhatsNew == nil {
					a.Versions[i].WhatsNew = fdroid.Text{}
				}
				a.Versions[i].WhatsNew[tag] = text
			}
		}
	}
}

func (v *view) fdroidIcon(a *fdroid.App, locale string, list []listing.Picture) {
	if len(list) > 0 {
		p := &list[len(list)-1]
		a.Icon[locale] = fdroidFile(v.target(locale, iconName(p), p))
	}
}
