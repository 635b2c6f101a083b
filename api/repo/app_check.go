package repo

import (
	"fmt"
	"slices"
	"strings"

	"mios"
	"mios/api"
	"mios/internal/lazyregexp"
)

var (
	splitRE = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$`)
	imageRE = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,126}\.(png|jpg|webp)$`)
	// featureRE is what a feature's name looks like: android.hardware.nfc.
	featureRE = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$`)
)

// Classes are the classes of devices that a release may be for.
var Classes = []string{"phone", "watch", "iot", "car"}

// CheckImage refuses what cannot be the name of a listing's image:
// en-US_icon.png.
func CheckImage(name string) error {
	if !imageRE.MatchString(name) {
		return fmt.Errorf("image %q: %w: want letters, digits and . _ -, and an end in .png, .jpg or .webp", name, mios.ErrInvalid)
	}
	return nil
}

// Check says what is wrong with a release, in itself.
func (r *AppRelease) Check() error {
	if err := CheckPackage(r.Package); err != nil {
		return fmt.Errorf("app release: %w", err)
	}
	switch {
	case r.VersionCode <= 0:
		return r.wrong("version code %d", r.VersionCode)
	case r.Release < 1:
		return r.wrong("number %d in the sequence of releases: want 1 or more", r.Release)
	case r.Target.Path != AppPath(r.Package, r.VersionCode):
		return r.wrong("its path is %q: want %s", r.Target.Path, AppPath(r.Package, r.VersionCode))
	case r.Target.Length <= 0:
		return r.wrong("an APK of %d bytes", r.Target.Length)
	case len(r.Signers) == 0:
		return r.wrong("no signer")
	case r.Share < 0 || r.Share > Everyone:
		return r.wrong("share %d of %d", r.Share, Everyone)
	case r.Share > 0 && r.Share < Everyone && r.Salt == "":
		return r.wrong("a share of %s and no salt", r.Share)
	case r.MinSDK < 0 || r.MaxSDK < 0 || r.MaxSDK > 0 && r.MaxSDK < r.MinSDK:
		return r.wrong("for SDK versions %d to %d", r.MinSDK, r.MaxSDK)
	case len(r.Tracks) == 0:
		return r.wrong("in no track: want internal, beta or production")
	}
	for _, list := range []struct {
		values []string
		check  func(string) error
	}{{r.Tracks, CheckTrack}, {r.Regions, api.CheckRegion}, {r.Classes, checkClass}, {r.Features, checkFeature}} {
		for _, v := range list.values {
			if err := list.check(v); err != nil {
				return fmt.Errorf("app release %s %d: %w", r.Package, r.VersionCode, err)
			}
		}
	}
	if err := r.checkSplits(); err != nil {
		return err
	}
	return r.checkDeltas()
}

func (r *AppRelease) wrong(format string, args ...any) error {
	return fmt.Errorf("app release %s %d: %s: %w", r.Package, r.VersionCode, fmt.Sprintf(format, args...), mios.ErrInvalid)
}

func checkClass(s string) error {
	if !slices.Contains(Classes, s) {
		return fmt.Errorf("class %q: %w: want %s", s, mios.ErrInvalid, strings.Join(Classes, ", "))
	}
	return nil
}

func checkFeature(s string) error {
	if !featureRE.MatchString(s) {
		return fmt.Errorf("feature %q: %w: want letters, digits and . _ -", s, mios.ErrInvalid)
	}
	return nil
}

func (r *AppRelease) checkSplits() error {
	if len(r.Splits) > MaxSplits {
		return r.wrong("%d splits: want at most %d", len(r.Splits), MaxSplits)
	}
	seen := map[string]bool{}
	for i := range r.Splits {
		s := &r.Splits[i]
		switch {
		case !splitRE.MatchString(s.Name):
			return r.wrong("split %q: want letters, digits and . _ -", s.Name)
		case seen[s.Name]:
			return r.wrong("split %s twice", s.Name)
		case s.Target.Path != SplitPath(r.Package, r.VersionCode, s.Name):
			return r.wrong("split %s at %q: want %s", s.Name, s.Target.Path, SplitPath(r.Package, r.VersionCode, s.Name))
		case s.Target.Length <= 0:
			return r.wrong("split %s of %d bytes", s.Name, s.Target.Length)
		}
		seen[s.Name] = true
	}
	return nil
}

func (r *AppRelease) checkDeltas() error {
	if len(r.Deltas) > MaxAppDeltas {
		return r.wrong("%d deltas: want at most %d", len(r.Deltas), MaxAppDeltas)
	}
	seen := map[mios.Digest]bool{}
	for i := range r.Deltas {
		d := &r.Deltas[i]
		switch {
		case seen[d.From]:
			return r.wrong("two deltas from %s", d.From)
		case d.Target.Path != DeltaPath(r.Package, r.VersionCode, d.From):
			return r.wrong("delta at %q: want %s", d.Target.Path, DeltaPath(r.Package, r.VersionCode, d.From))
		case d.Target.Length <= 0 || d.Target.Length >= r.Target.Length:
			return r.wrong("a delta of %d bytes to an APK of %d", d.Target.Length, r.Target.Length)
		}
		seen[d.From] = true
	}
	return nil
}
