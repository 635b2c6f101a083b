// Package repo is the repository that devices trust: what its signed files
// say, and the client that verifies them. The files are The Update Framework's
// (TUF 1.0 with consistent snapshots); docs/repository.md describes the roles.
//
// The package neither signs nor fetches: package publish/repo writes a
// repository, and a [Fetcher] brings its files.
package repo

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"mios"
	"mios/format/tuf"
	"mios/internal/lazyregexp"
)

// The names of the delegated roles. The top-level ones are TUF's.
const (
	RoleApps    = "apps"    // delegates to the bins apps-0 … by the hash of a path
	RoleClaims  = "claims"  // which signer owns which package, in bins too
	RoleRollout = "rollout" // today's share of each OS release
)

// OSRole is the role that signs a product's OS releases.
func OSRole(product string) string { return "os-" + product }

// ClaimsField is the field of a claims bin that has its claims: an object of
// lists of SHA-256 in hexadecimal, the signers, by package.
const ClaimsField = "x-mios-claims"

// SignedAt is the field of timestamp and root metadata that says when they
// were signed, in RFC 3339: what a device's clock learns from.
const SignedAt = "x-mios-signed-at"

// Limits on what a client reads when no signed length says how much to
// expect, in bytes.
const (
	MaxRoot      = 512 << 10
	MaxTimestamp = 16 << 10
	MaxMetadata  = 16 << 20 // of any role or small target, whatever its signed length
	MaxBin       = 2 << 20  // of a bin, for which no length is signed
	MaxRoots     = 1024     // rotations walked in one go
)

// A Target is a file that a signed role vouches for.
type Target struct {
	Path   string      `json:"path"` // without the hash in its name
	Length int64       `json:"length"`
	SHA256 mios.Digest `json:"sha256"`
}

// File is where the target lies in the repository: TUF's consistent snapshots
// put the hash before the name, so that a file never changes.
func (t Target) File() string {
	dir, name := path.Split(t.Path)
	return dir + t.SHA256.String() + "." + name
}

// A Share is how many of 10,000 devices a release is for.
type Share int

// Everyone is the share of a release for all devices.
const Everyone Share = 10000

// String returns the share in per cent.
func (s Share) String() string {
	return strconv.FormatFloat(float64(s)/100, 'f', -1, 64) + " %"
}

// ParseShare reads a share in per cent: "5", "0.25 %", "100%".
func ParseShare(text string) (Share, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%")), 64)
	if err != nil || !(f >= 0 && f <= 100) {
		return 0, fmt.Errorf("share %q: %w: want per cent, 0 to 100", text, mios.ErrInvalid)
	}
	return Share(f*100 + 0.5), nil
}

// Includes tells whether the device named id is among the share of a release
// with this salt. A device that is in a share is in every larger one.
func (s Share) Includes(id, salt string) bool {
	sum := sha256.Sum256([]byte(salt + "\x00" + id))
	return binary.BigEndian.Uint64(sum[:8])%uint64(Everyone) < uint64(max(s, 0))
}

// An OSRelease is one payload for the devices of a product. The signed part is
// what the product's offline keys vouch for; Share, Halted and Withdrawn are
// what the rollout role says today, within the release's MaxShare.
type OSRelease struct {
	Target  Target    `json:"-"`
	Product string    `json:"product"`
	Arch    mios.Arch `json:"arch"`
	Version string    `json:"version"`
	// BuildTime orders releases, in seconds since 1970: update_engine's
	// max_timestamp.
	BuildTime int64    `json:"build_time"`
	Channels  []string `json:"channels"`
	// Regions are where the release is for; none means everywhere.
	Regions  []string `json:"regions,omitempty"`
	Salt     string   `json:"salt"`
	MaxShare Share    `json:"max_share"`
	// SecurityPatch is Android's security patch level, YYYY-MM-DD.
	SecurityPatch string `json:"security_patch,omitempty"`
	Notes         string `json:"notes,omitempty"`
	// Properties are those of payload_properties.txt: FILE_HASH, FILE_SIZE,
	// METADATA_HASH, METADATA_SIZE.
	Properties map[string]string `json:"payload_properties"`
	// Deltas and Adaptive are what a device may fetch instead of the payload.
	Deltas   []Delta   `json:"deltas,omitempty"`
	Adaptive *Adaptive `json:"adaptive,omitempty"`

	Share     Share `json:"-"`
	Halted    bool  `json:"-"`
	Withdrawn bool  `json:"-"`
}

// OSPath is the target path of a release's payload.
func OSPath(product string, arch mios.Arch, version string, buildTime int64) string {
	return fmt.Sprintf("os/%s/%s/%s-%d/payload.bin", product, arch, version, buildTime)
}

// A Claim says which signers own a package: SHA-256 of their certificates.
type Claim struct {
	Package string        `json:"package"`
	Signers []mios.Digest `json:"signers"`
}

// Owns tells whether a release is by the package's owners: the claim names all
// signers of the APK, or one that handed over to them in its lineage.
func (c *Claim) Owns(r *AppRelease) bool {
	if len(r.Signers) == 1 && slices.ContainsFunc(r.Lineage, func(s mios.Digest) bool { return slices.Contains(c.Signers, s) }) {
		return true
	}
	return len(r.Signers) > 0 && !slices.ContainsFunc(r.Signers, func(s mios.Digest) bool { return !slices.Contains(c.Signers, s) })
}

// ClaimsPath is what chooses the bin of the claims role that a package's claim
// is in, by its hash. No file has that name.
func ClaimsPath(pkg string) string { return "claims/" + pkg + ".json" }

// ReadClaims returns the claims in the fields of a claims bin, by package.
func ReadClaims(fields map[string]any) (map[string]Claim, error) {
	claims := map[string]Claim{}
	all, ok := fields[ClaimsField].(map[string]any)
	if !ok && fields[ClaimsField] != nil {
		return nil, fmt.Errorf("%s is no object: %w", ClaimsField, mios.ErrInvalid)
	}
	for pkg, v := range all {
		list, ok := v.([]any)
		if err := CheckPackage(pkg); err != nil || !ok || len(list) == 0 {
			return nil, fmt.Errorf("%s: %q: want a package and its signers: %w", ClaimsField, pkg, mios.ErrInvalid)
		}
		c := Claim{Package: pkg}
		for _, v := range list {
			text, _ := v.(string)
			d, err := mios.ParseDigest(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", ClaimsField, pkg, err)
			}
			c.Signers = append(c.Signers, d)
		}
		claims[pkg] = c
	}
	return claims, nil
}

// SetClaim puts a claim into the fields of a claims bin.
func SetClaim(fields map[string]any, c Claim) {
	all, ok := fields[ClaimsField].(map[string]any)
	if !ok {
		all = map[string]any{}
		fields[ClaimsField] = all
	}
	list := make([]any, len(c.Signers))
	for i, d := range c.Signers {
		list[i] = d.String()
	}
	all[c.Package] = list
}

// Rollout is the content of a target of the rollout role: how far the releases
// of a product go today, by the SHA-256 of their payloads. A release that it
// does not name is not offered.
type Rollout struct {
	Product  string                 `json:"product"`
	Releases map[mios.Digest]Narrow `json:"releases"`
}

// Narrow is what the rollout role says of one release. A share above the
// release's own limit counts as that limit.
type Narrow struct {
	Share     Share `json:"share"`
	Halted    bool  `json:"halted,omitempty"`    // until told otherwise: devices wait
	Withdrawn bool  `json:"withdrawn,omitempty"` // for good
}

// RolloutPath is the target that holds a product's [Rollout].
func RolloutPath(product string) string { return "rollout/" + product + ".json" }

// MetadataPath is where a role's metadata lies; of the timestamp role there is
// one without a version.
func MetadataPath(role string, version int64) string {
	if role == tuf.RoleTimestamp {
		return "metadata/timestamp.json"
	}
	return fmt.Sprintf("metadata/%d.%s.json", version, role)
}

var (
	nameRE    = lazyregexp.New(`^[a-z0-9][a-z0-9_]{0,62}$`)
	versionRE = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$`)
	packageRE = lazyregexp.New(`^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$`)
)

// CheckName refuses what cannot be a product's or a channel's name.
func CheckName(s string) error {
	if !nameRE.MatchString(s) {
		return fmt.Errorf("name %q: %w: want lower-case letters, digits and _, at most 63", s, mios.ErrInvalid)
	}
	return nil
}

// CheckVersion refuses what cannot be the version of an OS release.
func CheckVersion(s string) error {
	if !versionRE.MatchString(s) {
		return fmt.Errorf("version %q: %w: want letters, digits and . _ + -, at most 63", s, mios.ErrInvalid)
	}
	return nil
}

// CheckPackage refuses what cannot be an app's package name.
func CheckPackage(s string) error {
	if len(s) > 223 || !packageRE.MatchString(s) {
		return fmt.Errorf("package %q: %w: want at least two words of letters, digits and _ with dots between", s, mios.ErrInvalid)
	}
	return nil
}

// Check says what is wrong with a release, in itself.
func (r *OSRelease) Check() error {
	if err := CheckName(r.Product); err != nil {
		return fmt.Errorf("os release: product %w", err)
	}
	if err := CheckVersion(r.Version); err != nil {
		return fmt.Errorf("os release: %w", err)
	}
	switch {
	case r.Arch.ABI() == "":
		return fmt.Errorf("os release: arch %q: %w: want amd64 or arm64", r.Arch, mios.ErrInvalid)
	case r.BuildTime <= 0:
		return fmt.Errorf("os release %s: build time %d: %w", r.Version, r.BuildTime, mios.ErrInvalid)
	case len(r.Channels) == 0:
		return fmt.Errorf("os release %s: no channel: %w", r.Version, mios.ErrInvalid)
	case r.Salt == "":
		return fmt.Errorf("os release %s: no salt: %w", r.Version, mios.ErrInvalid)
	case r.MaxShare < 0 || r.MaxShare > Everyone:
		return fmt.Errorf("os release %s: highest share %d of %d: %w", r.Version, r.MaxShare, Everyone, mios.ErrInvalid)
	}
	for _, c := range r.Channels {
		if err := CheckName(c); err != nil {
			return fmt.Errorf("os release %s: channel %w", r.Version, err)
		}
	}
	return r.checkWays()
}

// TargetOf returns a target as a role's metadata names it, with what the role
// says of it in custom, which may be nil.
func TargetOf(name string, f *tuf.TargetFile, custom any) (Target, error) {
	t := Target{Path: name, Length: f.Length}
	sum, ok := f.Hashes["sha256"]
	if !ok || len(sum) != len(t.SHA256) || f.Length < 0 {
		return t, fmt.Errorf("target %s: no SHA-256 or a negative length: %w", name, mios.ErrInvalid)
	}
	copy(t.SHA256[:], sum)
	if custom != nil {
		if f.Custom == nil {
			return t, fmt.Errorf("target %s: nothing is said of it: %w", name, mios.ErrInvalid)
		}
		if err := json.Unmarshal(f.Custom, custom); err != nil {
			return t, fmt.Errorf("target %s: %v: %w", name, err, mios.ErrInvalid)
		}
	}
	return t, nil
}

// Check compares the whole content of a target with what was signed for.
func (t Target) Check(b []byte) error {
	if int64(len(b)) != t.Length {
		return fmt.Errorf("%s: %d bytes, %d were signed for: %w", t.Path, len(b), t.Length, ErrLength)
	}
	if mios.Sum(b) != t.SHA256 {
		return fmt.Errorf("%s: SHA-256 is %s, %s was signed for: %w", t.Path, mios.Sum(b), t.SHA256, ErrHash)
	}
	return nil
}

// String returns what the rollout says, for a person.
func (n Narrow) String() string {
	switch {
	case n.Withdrawn:
		return "nobody: it is withdrawn"
	case n.Halted:
		return "nobody: it is halted"
	}
	return n.Share.String() + " of the devices"
}
