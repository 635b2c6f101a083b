// Package app publishes apps: an APK becomes a release of its package, if who
// signed it owns the package.
package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"mios"
	api "mios/api/repo"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/publish/repo"
)

// SDK is the version of Android whose rules an APK's signature must meet.
const SDK = 35

// Publish makes the APK in the file at path the newest release of its package,
// for all devices.
// With claim, a package that nobody owns becomes its signers' first; without,
// it is refused.
func Publish(ctx context.Context, r *repo.Repo, path string, claim bool) (*api.AppRelease, *repo.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	rel, err := describe(ctx, f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	claimed, err := own(ctx, r, rel, claim)
	if err != nil {
		return nil, nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	res, err := r.PublishApp(ctx, rel, f)
	if err != nil {
		return nil, nil, err
	}
	if claimed != nil {
		res.Roles = append(claimed.Roles, res.Roles...)
	}
	return rel, res, nil
}

// own makes sure that somebody owns the package. The result is nil if somebody
// did before.
func own(ctx context.Context, r *repo.Repo, rel *api.AppRelease, claim bool) (*repo.Result, error) {
	_, _, err := r.ClaimOf(ctx, rel.Package)
	switch {
	case err == nil:
		return nil, nil
	case !errors.Is(err, mios.ErrNotFound):
		return nil, err
	case !claim:
		return nil, fmt.Errorf("app %s: nobody owns the package yet: %w: claim it for this signer with --claim", rel.Package, mios.ErrDenied)
	}
	return r.Claim(ctx, api.Claim{Package: rel.Package, Signers: rel.Signers})
}

func describe(ctx context.Context, f *os.File) (*api.AppRelease, error) {
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return nil, err
	}
	p, err := apksig.Inspect(ctx, f, size, SDK)
	if err != nil {
		return nil, err
	}
	if p.Split != "" {
		return nil, fmt.Errorf("it is the split %q: %w: publish the base package", p.Split, mios.ErrInvalid)
	}
	name, err := label(f, size, p)
	if err != nil {
		return nil, err
	}
	abis := slices.Sorted(slices.Values(p.ABIs))
	return &api.AppRelease{
		Target:  api.Target{Path: api.AppPath(p.Package, p.VersionCode), Length: size, SHA256: mios.Digest(h.Sum(nil))},
		Package: p.Package, VersionCode: p.VersionCode, VersionName: p.VersionName, Label: name,
		Signers: p.Signers, MinSDK: p.MinSDK, ABIs: abis,
		Tracks: []string{api.TrackProduction}, Share: api.Everyone,
	}, nil
}

// label returns the package's label in American English, which may stand in its
// resource table. Without one it is "".
func label(f *os.File, size int64, p *apksig.Package) (string, error) {
	a, err := apk.Open(f, size)
	if err != nil {
		return "", err
	}
	want := apk.Device{}.Config()
	return a.Text(p.Application.Label, &want)
}
