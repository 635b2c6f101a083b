package repo

import (
	"cmp"
	"fmt"
	"slices"

	"mios"
	"mios/api"
)

// The tracks of an app's releases. A device on a track takes those of the
// steadier ones too.
const (
	TrackInternal   = "internal"
	TrackBeta       = "beta"
	TrackProduction = "production"
)

// Tracks are all tracks, the steadiest last.
var Tracks = []string{TrackInternal, TrackBeta, TrackProduction}

// CheckTrack refuses what is no track.
func CheckTrack(s string) error {
	if !slices.Contains(Tracks, s) {
		return fmt.Errorf("track %q: %w: want internal, beta or production", s, mios.ErrInvalid)
	}
	return nil
}

// follows tells whether a device on one track takes releases of another.
func follows(device, release string) bool {
	return slices.Contains(Tracks, device) && slices.Index(Tracks, release) >= slices.Index(Tracks, device)
}

// Limits on what a [Package] may hold.
const (
	MaxReleases  = 64  // of a package
	MaxSplits    = 512 // of a release
	MaxAppDeltas = 16  // of a release
)

// An AppRelease is one version of an app: a base APK, or one with splits.
type AppRelease struct {
	// Release is the place in the sequence of the package's releases, from 1 on.
	// A higher one supersedes the lower ones, whatever version codes say.
	Release int64  `json:"release"`
	Time    int64  `json:"time,omitempty"` // of the release, seconds since 1970
	Target  Target `json:"target"`         // the base APK, at [AppPath]
	// Splits are the other APKs of the set, by name.
	Splits      []Split `json:"splits,omitempty"`
	Package     string  `json:"package"`
	VersionCode int64   `json:"version_code"`
	VersionName string  `json:"version_name"`
	Label       string  `json:"label,omitempty"`
	// Signers are the SHA-256 of the certificates that signed the APKs. Who
	// installs them compares these with the APK's own.
	Signers []mios.Digest `json:"signers"`
	// Lineage are the signers before, oldest first, as the APK's proof of rotation
	// (APK Signature Scheme v3) names them. A package's claim names its signers,
	// or one of these.
	Lineage   []mios.Digest `json:"lineage,omitempty"`
	MinSDK    int           `json:"min_sdk"`
	MaxSDK    int           `json:"max_sdk,omitempty"` // 0: none
	TargetSDK int           `json:"target_sdk,omitempty"`
	// ABIs are those that the APKs have native code for; none means any.
	ABIs     []string `json:"abis,omitempty"`
	Features []string `json:"features,omitempty"` // that the device must have
	Tracks   []string `json:"tracks"`
	Regions  []string `json:"regions,omitempty"` // none means everywhere
	Classes  []string `json:"classes,omitempty"` // phone, watch, iot, car; none means all
	// Share is how many of the devices it is for; which ones, Salt decides.
	Share     Share  `json:"share"`
	Salt      string `json:"salt,omitempty"`
	Halted    bool   `json:"halted,omitempty"`    // until told otherwise: devices wait
	Withdrawn bool   `json:"withdrawn,omitempty"` // for good: devices leave it
	// Rollback marks an older version that was released again: devices go down
	// to it.
	Rollback bool       `json:"rollback,omitempty"`
	Deltas   []AppDelta `json:"deltas,omitempty"`
	// Notes say what is new, in American English; the listing has other locales.
	Notes string `json:"notes,omitempty"`
}

// A Split is an APK of a set beside its base. ABI, Locale and Density say which
// devices want it; empty means any.
type Split struct {
	Name    string `json:"name"`
	Target  Target `json:"target"` // at [SplitPath]
	ABI     string `json:"abi,omitempty"`
	Locale  string `json:"locale,omitempty"`
	Density string `json:"density,omitempty"`
}

// An AppDelta makes the base APK of a release out of an older one.
type AppDelta struct {
	From   mios.Digest `json:"from"`   // SHA-256 of the base APK that it starts from
	Target Target      `json:"target"` // at [DeltaPath]
}

// AppPath is where a base APK lies, without the hash in its name. The apps role
// vouches for it through the package's [Package].
func AppPath(pkg string, versionCode int64) string {
	return fmt.Sprintf("apps/%s_%d.apk", pkg, versionCode)
}

// SplitPath is where a split lies, without the hash in its name.
func SplitPath(pkg string, versionCode int64, split string) string {
	return fmt.Sprintf("apps/%s_%d_%s.apk", pkg, versionCode, split)
}

// DeltaPath is where a delta to a version lies, without the hash in its name.
func DeltaPath(pkg string, versionCode int64, from mios.Digest) string {
	return fmt.Sprintf("apps/%s_%d_%.16s.delta", pkg, versionCode, from)
}

// ImagePath is where an image of a listing lies, without the hash in its name:
// name is one of [CheckImage]'s.
func ImagePath(pkg, name string) string { return fmt.Sprintf("apps/%s_%s", pkg, name) }

// A Package is the content of one target of the apps role's bins: all that
// devices see of one app, its highest release first.
type Package struct {
	Package  string       `json:"package"`
	Releases []AppRelease `json:"releases"`
	Listing  *Target      `json:"listing,omitempty"` // a [Listing], at [ListingPath]
	// Pages are the catalogue's pages that the app is in, by category.
	Pages map[string]int `json:"pages,omitempty"`
}

// PackagePath is the target that holds a [Package].
func PackagePath(pkg string) string { return "apps/" + pkg + ".json" }

// An AppDevice is what decides which release of an app a device is offered.
type AppDevice struct {
	ID       string // for shares: it never leaves the device
	SDK      int
	ABIs     []string // the preferred one first
	Class    string   // phone, watch, iot or car
	Place    api.Place
	Track    string // "" means production
	Features []string
}

// AppInstalled is what a device has of an app. The zero value means nothing.
type AppInstalled struct {
	// Release is that of the [AppRelease] that was installed, 0 if it did not
	// come from this repository.
	Release     int64
	VersionCode int64
	SHA256      mios.Digest // of the base APK
}

// Sort puts the releases in order, the highest first.
func (p *Package) Sort() {
	slices.SortStableFunc(p.Releases, func(a, b AppRelease) int { return cmp.Compare(b.Release, a.Release) })
}

// Files returns the release's files: the base APK, splits and deltas.
func (r *AppRelease) Files() []Target {
	list := []Target{r.Target}
	for i := range r.Splits {
		list = append(list, r.Splits[i].Target)
	}
	for i := range r.Deltas {
		list = append(list, r.Deltas[i].Target)
	}
	return list
}
