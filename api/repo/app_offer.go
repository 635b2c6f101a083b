package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mios"
)

// NotFor says why a release is not for a device, as the end of a sentence whose
// beginning names the release; "" if it is.
func (r *AppRelease) NotFor(d *AppDevice) string {
	track := d.Track
	if track == "" {
		track = TrackProduction
	}
	switch {
	case !slices.ContainsFunc(r.Tracks, func(t string) bool { return follows(track, t) }):
		return fmt.Sprintf("is in track %s, and this device follows %s", strings.Join(r.Tracks, ", "), track)
	case !d.Place.Allows(r.Regions):
		return fmt.Sprintf("is for %s, and this device is %v", strings.Join(r.Regions, ", "), d.Place)
	case len(r.Classes) > 0 && !slices.Contains(r.Classes, d.Class):
		return fmt.Sprintf("is for %s, and this device is of class %q", strings.Join(r.Classes, ", "), d.Class)
	case r.MinSDK > d.SDK:
		return fmt.Sprintf("wants SDK version %d, and this device has %d", r.MinSDK, d.SDK)
	case r.MaxSDK > 0 && r.MaxSDK < d.SDK:
		return fmt.Sprintf("is for SDK versions up to %d, and this device has %d", r.MaxSDK, d.SDK)
	case len(r.ABIs) > 0 && !slices.ContainsFunc(d.ABIs, func(abi string) bool { return slices.Contains(r.ABIs, abi) }):
		return fmt.Sprintf("has native code for %s, and this device runs %s", strings.Join(r.ABIs, ", "), strings.Join(d.ABIs, ", "))
	}
	for _, f := range r.Features {
		if !slices.Contains(d.Features, f) {
			return fmt.Sprintf("wants the feature %s, which this device lacks", f)
		}
	}
	switch {
	case r.Withdrawn:
		return "was withdrawn"
	case r.Halted:
		return "is halted"
	case !r.Share.Includes(d.ID, r.Salt):
		return "goes out step by step, and this device's turn has not come"
	}
	return ""
}

// AppOffer returns the release of a package that a device is to have instead of
// what it has: the highest that is for it, and higher than what is installed.
// It may have a lower version code only if it is marked as a rollback, or if what is
// installed was withdrawn. Where there is none the error wraps
// [mios.ErrNotFound], and says why. The signers are compared with the package's
// claim; who installs it compares them with the APK's own.
// It fetches what it needs beyond the last [Client.Refresh].
func (c *Client) AppOffer(ctx context.Context, pkg string, d *AppDevice, has AppInstalled) (*AppRelease, error) {
	list, err := c.appVersions(ctx, pkg)
	if err != nil {
		return nil, err
	}
	return offer(pkg, list, d, has)
}

// offer is [Client.AppOffer] on a package's releases, the highest first.
func offer(pkg string, list []AppRelease, d *AppDevice, has AppInstalled) (*AppRelease, error) {
	left := false // what is installed was withdrawn
	for _, r := range list {
		if has.VersionCode == 0 || r.Target.SHA256 != has.SHA256 && r.Release != has.Release {
			continue
		}
		left = left || r.Withdrawn
		has.Release = max(has.Release, r.Release)
	}
	why := ""
	for i := range list {
		r := &list[i]
		same := has.VersionCode != 0 && r.Target.SHA256 == has.SHA256
		if !left && has.Release >= r.Release {
			break
		}
		not := r.NotFor(d)
		if not == "" && !left && r.VersionCode < has.VersionCode && !r.Rollback {
			not = fmt.Sprintf("has version code %d, and %d is installed", r.VersionCode, has.VersionCode)
		}
		if not == "" && same {
			return nil, fmt.Errorf("app %s: version %d is installed, which is the newest for this device: %w", pkg, has.VersionCode, mios.ErrNotFound)
		}
		if not == "" {
			return r, nil
		}
		if why == "" {
			why = fmt.Sprintf(": release %d, version %q, %s", r.Release, r.VersionName, not)
		}
	}
	switch {
	case has.VersionCode == 0:
		return nil, fmt.Errorf("app %s: no release for this device: %w%s", pkg, mios.ErrNotFound, why)
	case left:
		return nil, fmt.Errorf("app %s: version %d was withdrawn, and no other release is for this device: %w%s", pkg, has.VersionCode, mios.ErrNotFound, why)
	}
	return nil, fmt.Errorf("app %s: no newer release than version %d for this device: %w%s", pkg, has.VersionCode, mios.ErrNotFound, why)
}
