package store

import (
	"context"
	"errors"

	"mios"
	"mios/api/repo"
	"mios/device/app"
)

// Shown is what a person is told of an app.
type Shown struct {
	Package   string              `json:"package"`
	Listing   *repo.Listing       `json:"listing,omitempty"`
	Text      *repo.LocaleListing `json:"text,omitempty"` // of the listing, in the person's language
	Installed *app.Status         `json:"installed,omitempty"`
	Release   *repo.AppRelease    `json:"release,omitempty"` // that the device may take
	Way       Way                 `json:"way,omitempty"`     // to it
	Fetch     int64               `json:"fetch,omitempty"`   // bytes
	Why       string              `json:"why,omitempty"`     // there is none
}

// Found is what a search found for this device.
type Found struct {
	Apps []repo.Entry `json:"apps"`
	More bool         `json:"more,omitempty"` // there are others: another word finds fewer
}

// maxFound is how many apps a search shows at most: each costs a small file.
const maxFound = 20

// Search returns the apps that have all the words and that there is a release of
// for this device: what is for other regions or other devices nobody sees here.
func (s *Store) Search(ctx context.Context, query string, say Say) (*Found, error) {
	end, err := s.begin(ctx, say, "")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.refresh(ctx, say); err != nil {
		return nil, err
	}
	all, err := s.cfg.Repository.Search(ctx, query, s.locale())
	if errors.Is(err, mios.ErrInvalid) {
		return nil, app.Refuse(app.CodeInvalid, "%v", err)
	}
	if err != nil {
		return nil, app.Refuse(app.CodeAborted, "%v", err)
	}
	found := new(Found)
	for _, e := range all {
		if len(found.Apps) == maxFound {
			found.More = true
			break
		}
		_, err := s.cfg.Repository.AppOffer(ctx, e.Package, &s.cfg.Device, repo.AppInstalled{})
		switch {
		case err == nil:
			found.Apps = append(found.Apps, e)
		case errors.Is(err, mios.ErrNotFound), errors.Is(err, repo.ErrRole):
		default:
			return nil, app.Refuse(app.CodeAborted, "%v", err)
		}
	}
	return found, nil
}

func (s *Store) locale() string {
	if len(s.cfg.Locales) > 0 {
		return s.cfg.Locales[0]
	}
	return ""
}

// Show returns what is known of an app. The error of one that nobody knows is an
// [*app.Error].
func (s *Store) Show(ctx context.Context, pkg string, say Say) (*Shown, error) {
	if err := repo.CheckPackage(pkg); err != nil {
		return nil, app.Refuse(app.CodeInvalid, "%v", err)
	}
	end, err := s.begin(ctx, say, "")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.refresh(ctx, say); err != nil {
		return nil, err
	}
	sh := &Shown{Package: pkg}
	var has repo.AppInstalled
	if st, err := s.cfg.Packages.Get(pkg); err == nil {
		sh.Installed = st
		has = repo.AppInstalled{Release: st.Release, VersionCode: st.VersionCode, SHA256: st.SHA256}
	}
	sh.Release, err = s.cfg.Repository.AppOffer(ctx, pkg, &s.cfg.Device, has)
	switch {
	case errors.Is(err, mios.ErrNotFound):
		sh.Why = err.Error()
	case err != nil:
		return nil, app.Refuse(app.CodeAborted, "%v", err)
	default:
		p, err := s.plan(sh.Release, sh.Installed)
		if err != nil {
			return nil, err
		}
		sh.Way, sh.Fetch = p.way(), p.cost
	}
	sh.Listing, err = s.cfg.Repository.Listing(ctx, pkg)
	if err != nil && !errors.Is(err, mios.ErrNotFound) {
		return nil, app.Refuse(app.CodeAborted, "%v", err)
	}
	sh.Text = s.text(sh.Listing)
	if sh.Installed == nil && sh.Release == nil {
		return nil, app.Refuse(app.CodeInvalid, "there is no release of it for this device: %s", sh.Why)
	}
	return sh, nil
}

// text picks a listing's text in the person's language, or the nearest to it.
func (s *Store) text(l *repo.Listing) *repo.LocaleListing {
	if l == nil {
		return nil
	}
	for _, want := range []string{s.locale(), l.Default, "en-US"} {
		if t, ok := l.Locales[repo.Nearest(want, l.Locales)]; ok {
			return &t
		}
	}
	return nil
}
