package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mios"
	api "mios/api/repo"
	"mios/publish/app/check"
	"mios/publish/app/fdroid"
	"mios/publish/app/listing"
	"mios/publish/app/report"
)

// describe fills a submission with what its files say. The error is of files
// that cannot be released at all, whatever the policy.
func (row *submissionRow) describe(f *check.Facts) error {
	a := f.App
	if len(f.Set) > 0 {
		return fmt.Errorf("upload: %s: %w: hand in one base package and its splits, of one version and by one signer", f.Set[0], mios.ErrInvalid)
	}
	if err := api.CheckPackage(a.Package); err != nil {
		return err
	}
	if sig := f.Files[0].Signature; sig == nil || !sig.Verified || len(f.Signers) == 0 {
		return fmt.Errorf("%s: it is not signed, or not as it was signed: %w%s: sign it again, with mios app sign for example", f.Files[0].Name, mios.ErrDenied, firstIssue(sig))
	}
	for _, t := range []struct{ what, text string }{{"version name", a.VersionName}, {"label", a.Label}} {
		if err := plain(a.Package+": "+t.what, t.text, maxName); err != nil {
			return err
		}
	}
	row.Package, row.VersionCode, row.VersionName, row.Label = a.Package, a.VersionCode, a.VersionName, a.Label
	if row.Label == "" {
		row.Label = a.Package
	}
	row.Signers, row.Lineage = f.Signers, f.Lineage
	if err := row.describeFiles(f); err != nil {
		return err
	}
	row.template(f)
	row.fdroidVersion(f)
	check := row.Template
	check.Release, check.Tracks, check.Share = 1, []string{api.TrackProduction}, api.Everyone
	return check.Check() // a release of it will be one
}

func firstIssue(s *report.Signature) string {
	if s == nil || len(s.Errors) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.200s)", s.Errors[0].Name)
}

// describeFiles says of each file what it is for.
func (row *submissionRow) describeFiles(f *check.Facts) error {
	row.Files = nil
	for _, in := range f.Files {
		i := slices.IndexFunc(row.Uploaded, func(u stored) bool { return u.Name == in.Name })
		if i < 0 {
			return fmt.Errorf("inspect: the worker tells of a file %q that it was not given", in.Name)
		}
		out := File{Split: in.Split, SHA256: row.Uploaded[i].Digest, Size: row.Uploaded[i].Size}
		for _, s := range f.App.Splits {
			if s.Name != in.Split || in.Split == "" {
				continue
			}
			if !s.SameSigner {
				return fmt.Errorf("%s: the split %s is not by the base package's signer: %w: sign all with one key", row.Package, s.Name, mios.ErrDenied)
			}
			out.ABI, out.Locale = only(s.ABIs), only(s.Locales)
			if s.Density > 0 {
				out.Density = strconv.Itoa(s.Density)
			}
		}
		row.Files = append(row.Files, out)
	}
	if len(row.Files) == 0 || row.Files[0].Split != "" {
		return fmt.Errorf("%s: there is no base package among the files: %w: add it", row.Package, mios.ErrInvalid)
	}
	return nil
}

// only returns the one string of a list, or "": a split that is for several is
// taken by all.
func only(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return ""
}

// template makes what all releases of the submission have in common.
func (row *submissionRow) template(f *check.Facts) {
	a, base := f.App, row.Files[0]
	t := api.AppRelease{
		Target:  api.Target{Path: api.AppPath(a.Package, a.VersionCode), Length: base.Size, SHA256: base.SHA256},
		Package: a.Package, VersionCode: a.VersionCode, VersionName: a.VersionName, Label: row.Label,
		Signers: f.Signers, Lineage: f.Lineage, MinSDK: a.MinSDK, MaxSDK: a.MaxSDK, TargetSDK: a.TargetSDK,
		Notes: row.Note,
	}
	for _, file := range row.Files[1:] {
		t.Splits = append(t.Splits, api.Split{
			Name: file.Split, ABI: file.ABI, Locale: file.Locale, Density: file.Density,
			Target: api.Target{Path: api.SplitPath(a.Package, a.VersionCode, file.Split), Length: file.Size, SHA256: file.SHA256},
		})
	}
	for _, file := range f.Files {
		t.ABIs = append(t.ABIs, file.ABIs...)
	}
	slices.Sort(t.ABIs)
	t.ABIs = slices.Compact(t.ABIs)
	// Features that only follow from permissions are left out: hardly any app
	// cannot do without them.
	for _, feature := range a.Features {
		if feature.Required && len(feature.Implied) == 0 && isFeature(feature.Name) {
			t.Features = append(t.Features, feature.Name)
		}
	}
	row.Template = t
}

// isFeature tells whether a name can stand in the repository: not, for one, a
// version of OpenGL ES.
func isFeature(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" &&
		!strings.ContainsAny(name[:1], "._-") && len(name) < 128
}

// fdroidVersion is the submission as F-Droid's indexes tell of it.
func (row *submissionRow) fdroidVersion(f *check.Facts) {
	row.Version = fdroid.NewVersion(f.App, fdroidFile(row.Template.Target))
	row.Version.Signers, row.Version.ABIs = row.Template.Signers, row.Template.ABIs
}

// drawIcon keeps the icon that was drawn from the package, in all sizes.
func (s *Store) drawIcon(ctx context.Context, row *submissionRow, f *check.Facts) error {
	if len(f.Icon) == 0 {
		return nil
	}
	icon, err := s.cfg.Parser.Convert(ctx, f.Icon, listing.KindIcon)
	if errors.Is(err, mios.ErrInvalid) { // the app does without
		s.cfg.Log.Warn("icon of a package", "package", row.Package, "err", err)
		return nil
	}
	if err == nil {
		err = s.keep(ctx, icon)
	}
	row.Icon = icon
	return err
}

// keep makes pictures blobs and leaves their digests.
func (s *Store) keep(ctx context.Context, list []listing.Picture) error {
	for i := range list {
		p := &list[i]
		if _, err := s.putPicture(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
