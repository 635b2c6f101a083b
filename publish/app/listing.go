package app

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	"mios"
	"mios/publish/app/listing"
	"mios/storage/record"
)

// A Listing is what people see of an app, its pictures kept as blobs.
type Listing listing.Listing

// blobs are the digests of all pictures.
func (l *Listing) blobs() []mios.Digest {
	var list []mios.Digest
	for p := range l.pictures() {
		list = append(list, p.SHA256)
	}
	return list
}

// pictures yields all pictures, in a fixed order.
func (l *Listing) pictures() func(yield func(*listing.Picture) bool) {
	return func(yield func(*listing.Picture) bool) {
		if l == nil {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(l.Locales)) {
			loc := l.Locales[name]
			all := []*listing.Picture{loc.FeatureGraphic, loc.PromoGraphic, loc.TVBanner}
			for i := range loc.Icon {
				all = append(all, &loc.Icon[i])
			}
			for _, form := range listing.Forms {
				for i := range loc.Screenshots[form] {
					all = append(all, &loc.Screenshots[form][i])
				}
			}
			for _, p := range all {
				if p != nil && !yield(p) {
					return
				}
			}
		}
	}
}

func pictures(list []listing.Picture) []mios.Digest {
	var out []mios.Digest
	for _, p := range list {
		out = append(out, p.SHA256)
	}
	return out
}

// maxNotes bounds what is said of one listing, in sentences.
const maxNotes = 20

// readListing reads a folder in fastlane's layout and makes its pictures blobs.
// What cannot be shown is refused; the notes say what was left out.
func (s *Store) readListing(ctx context.Context, dir fs.FS) (l *Listing, notes []string, err error) {
	l, why, notes, err := s.readSome(ctx, dir)
	if err == nil && len(why) > 0 {
		err = fmt.Errorf("listing: %s: %w: mend it, and submit again", strings.Join(few(why), "; "), mios.ErrInvalid)
	}
	if err != nil {
		return nil, nil, err
	}
	l, err = s.putPictures(ctx, l)
	return l, few(notes), err
}

// few is as much of a list as a person reads.
func few(list []string) []string {
	if more := len(list) - maxNotes; more > 0 {
		return append(slices.Clip(list[:maxNotes]), fmt.Sprintf("and %d more", more))
	}
	return list
}

// readSome reads what can be shown of a folder in fastlane's layout, and says,
// file by file, what cannot, and what is no part of a listing.
func (s *Store) readSome(ctx context.Context, dir fs.FS) (l *Listing, why, notes []string, err error) {
	in, problems, err := listing.Read(ctx, dir, s.cfg.Parser.Convert)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("listing: %w", err)
	}
	for _, p := range problems {
		text := fmt.Sprintf("%s: %s", p.File, strings.TrimSuffix(p.Detail, "."))
		if p.Refuse {
			why = append(why, text)
			continue
		}
		if p.Advice != "" {
			text += ": " + strings.TrimSuffix(p.Advice, ".")
		}
		notes = append(notes, text)
	}
	return (*Listing)(in), why, notes, nil
}

// putPictures makes a listing's pictures blobs. After an error it returns the
// listing too, for what is there to be dropped.
func (s *Store) putPictures(ctx context.Context, l *Listing) (*Listing, error) {
	for p := range l.pictures() {
		if _, err := s.putPicture(ctx, p); err != nil {
			return l, err
		}
	}
	return l, nil
}

// putPicture makes a picture a blob and lets go of its bytes.
func (s *Store) putPicture(ctx context.Context, p *listing.Picture) (mios.Digest, error) {
	d, n, err := s.cfg.Blobs.Put(ctx, bytes.NewReader(p.Data), p.SHA256)
	p.SHA256, p.Size, p.Data = d, n, nil
	return d, err
}

func listingHolder(pkg string) string { return "listing " + pkg }

// setListing makes a listing that of a package. What only the one before held
// is to be dropped after.
func (c *change) setListing(pkg string, l *Listing) (before []mios.Digest, err error) {
	if before, err = heldBy(c.Tx, listingHolder(pkg)); err != nil {
		return nil, err
	}
	if _, err := c.Exec(`DELETE FROM store_blobs WHERE holder = ?`, listingHolder(pkg)); err != nil {
		return nil, err
	}
	if err := c.hold(listingHolder(pkg), l.blobs()); err != nil {
		return nil, err
	}
	text, err := encode(l)
	if err != nil {
		return nil, err
	}
	_, err = c.Exec(`UPDATE store_apps SET listing = ? WHERE package = ?`, text, pkg)
	return before, err
}

func loadListing(tx *record.Tx, pkg string) (*Listing, error) {
	var text string
	if err := tx.QueryRow(`SELECT listing FROM store_apps WHERE package = ?`, pkg).Scan(&text); err != nil || text == "" {
		return nil, err
	}
	l := new(Listing)
	return l, decode("listing of "+pkg, text, l)
}

// SetListing replaces what people see of a package in the store, from a folder
// in fastlane's layout. The notes say what of the folder was left out.
func (s *Store) SetListing(ctx context.Context, who, pkg string, dir fs.FS, why string) (a *App, notes []string, err error) {
	l, notes, err := s.readListing(ctx, dir)
	if err != nil {
		return nil, nil, s.refused(ctx, l.blobs(), err)
	}
	before, err := s.replaceListing(ctx, who, pkg, l, why)
	if err != nil {
		return nil, nil, s.refused(ctx, l.blobs(), err)
	}
	if err := s.drop(ctx, before); err != nil {
		return nil, nil, err
	}
	a, err = s.App(ctx, pkg)
	return a, notes, err
}

// TakeListing is [Store.SetListing] of a folder that nobody made for this store:
// what cannot be shown is left out, and said. It tells whether the listing is
// another one than before; one without anything changes nothing.
func (s *Store) TakeListing(ctx context.Context, who, pkg string, dir fs.FS, why string) (changed bool, left []string, err error) {
	l, left, _, err := s.readSome(ctx, dir)
	if err != nil {
		return false, nil, err
	}
	maps.DeleteFunc(l.Locales, func(_ string, loc *listing.Locale) bool { return reflect.DeepEqual(loc, new(listing.Locale)) })
	if len(l.Locales) == 0 {
		return false, left, nil
	}
	if _, err := s.putPictures(ctx, l); err != nil {
		return false, left, s.refused(ctx, l.blobs(), err)
	}
	var before *Listing
	if err := s.cfg.DB.View(ctx, func(tx *record.Tx) (err error) {
		if _, err = wantApp(tx, pkg); err == nil {
			before, err = loadListing(tx, pkg)
		}
		return err
	}); err != nil {
		return false, left, s.refused(ctx, l.blobs(), err)
	}
	if same, err := sameJSON(before, l); err != nil || same {
		return false, left, err
	}
	free, err := s.replaceListing(ctx, who, pkg, l, why)
	if err != nil {
		return false, left, s.refused(ctx, l.blobs(), err)
	}
	return true, left, s.drop(ctx, free)
}

// sameJSON compares rows as the database would keep them.
func sameJSON(a, b any) (bool, error) {
	x, err := encode(a)
	if err != nil {
		return false, err
	}
	y, err := encode(b)
	return x == y, err
}

func (s *Store) replaceListing(ctx context.Context, who, pkg string, l *Listing, why string) (before []mios.Digest, err error) {
	unlock, err := s.cfg.DB.Lock(ctx, blobLock)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.have(ctx, l.blobs()); err != nil {
		return nil, err
	}
	err = s.change(ctx, who, func(c *change) error {
		if _, err := wantApp(c.Tx, pkg); err != nil {
			return err
		}
		if before, err = c.setListing(pkg, l); err != nil {
			return err
		}
		locales := slices.Sorted(maps.Keys(l.Locales))
		if err := c.event("listing", pkg, why, map[string][]string{"locales": locales}); err != nil {
			return err
		}
		return c.later(workTree, pkg)
	})
	return before, err
}
