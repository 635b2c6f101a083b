package repo

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"mios"
	"mios/format/tuf"
)

// What the parts of TUF's metadata are called here, for brevity.
type (
	rootMeta      = tuf.Metadata[tuf.Root]
	timestampMeta = tuf.Metadata[tuf.Timestamp]
	snapshotMeta  = tuf.Metadata[tuf.Snapshot]
	targetsMeta   = tuf.Metadata[tuf.Targets]
)

// maxBits bounds a role's bins to 16,384.
const maxBits = 14

// CheckRoot says why b is not root metadata that a device could start from.
func CheckRoot(b []byte) error {
	_, err := parseRoot(b)
	return err
}

// parseRoot reads root metadata that its own keys sign.
func parseRoot(b []byte) (*rootMeta, error) {
	m, err := tuf.Parse[tuf.Root](b)
	if err != nil {
		return nil, fmt.Errorf("root metadata: %v: %w", err, mios.ErrInvalid)
	}
	if err := CheckKeys(m.Signed.Keys); err != nil {
		return nil, fmt.Errorf("root metadata: %w", err)
	}
	if !m.Signed.ConsistentSnapshot {
		return nil, fmt.Errorf("root metadata: without consistent snapshots: %w", mios.ErrInvalid)
	}
	if err := tuf.Verify(&m.Signed, tuf.RoleRoot, m); err != nil {
		return nil, fmt.Errorf("root version %d, by its own keys: %w: %v", m.Signed.Version, ErrSignature, err)
	}
	return m, nil
}

// nextRoot reads the root that follows cur: one version up, signed by the keys
// of both. Expiry does not matter on the way to the newest.
func nextRoot(cur *rootMeta, b []byte) (*rootMeta, error) {
	m, err := tuf.Parse[tuf.Root](b)
	if err != nil {
		return nil, fmt.Errorf("root metadata after version %d: %v: %w: check which server answers", cur.Signed.Version, err, mios.ErrInvalid)
	}
	if err := tuf.Verify(&cur.Signed, tuf.RoleRoot, m); err != nil {
		return nil, fmt.Errorf("root version %d, by the keys of version %d: %w: %v", m.Signed.Version, cur.Signed.Version, ErrSignature, err)
	}
	if m, err = parseRoot(b); err != nil {
		return nil, err
	}
	switch want := cur.Signed.Version + 1; {
	case m.Signed.Version < want:
		return nil, fmt.Errorf("root version %d came where version %d must: %w", m.Signed.Version, want, ErrRollback)
	case m.Signed.Version > want:
		return nil, fmt.Errorf("root version %d came where version %d must: %w", m.Signed.Version, want, ErrMix)
	}
	return m, nil
}

// CheckKeys refuses keys that no signature could be verified with.
func CheckKeys(keys map[string]*tuf.Key) error {
	for id, k := range keys {
		if k == nil {
			return fmt.Errorf("key %.16q is null: %w", id, mios.ErrInvalid)
		}
		if _, err := k.PublicKey(); err != nil {
			return fmt.Errorf("key %.16q: %v: %w", id, err, mios.ErrInvalid)
		}
	}
	return nil
}

// parseTimestamp reads timestamp metadata that root's keys sign.
func parseTimestamp(root *rootMeta, b []byte) (*timestampMeta, error) {
	m, err := tuf.Parse[tuf.Timestamp](b)
	if err != nil {
		return nil, fmt.Errorf("timestamp metadata: %v: %w: check which server answers", err, mios.ErrInvalid)
	}
	if err := tuf.Verify(&root.Signed, tuf.RoleTimestamp, m); err != nil {
		return nil, fmt.Errorf("timestamp version %d: %w: %v", m.Signed.Version, ErrSignature, err)
	}
	if err := checkMeta(m.Signed.Meta[tuf.RoleSnapshot+".json"]); err != nil {
		return nil, fmt.Errorf("timestamp version %d: snapshot: %w", m.Signed.Version, err)
	}
	signed, err := signedAt(m.Signed.Unrecognized)
	if err != nil || signed.IsZero() || signed.After(m.Signed.Expires) {
		return nil, fmt.Errorf("timestamp version %d: it does not say when it was signed, before it expires: %w", m.Signed.Version, mios.ErrInvalid)
	}
	return m, nil
}

// checkMeta refuses metadata of which it is not said how long it is.
func checkMeta(f *tuf.MetaFile) error {
	switch {
	case f == nil:
		return fmt.Errorf("it is not named: %w", mios.ErrInvalid)
	case f.Version < 1 || f.Length < 1 || len(f.Hashes["sha256"]) != sha256.Size:
		return fmt.Errorf("no version, length or SHA-256: %w", mios.ErrInvalid)
	case f.Length > MaxMetadata:
		return fmt.Errorf("%d bytes, want at most %d: %w", f.Length, MaxMetadata, ErrLength)
	}
	return nil
}

// checkBinMeta is [checkMeta] for a bin, of which the snapshot says the version
// alone, so that it stays small: the keys of its role sign for the rest.
func checkBinMeta(f *tuf.MetaFile) error {
	if f != nil && f.Version > 0 && f.Length == 0 && len(f.Hashes) == 0 {
		return nil
	}
	return checkMeta(f)
}

// maxLength is how many bytes the metadata that f names may have.
func maxLength(f *tuf.MetaFile) int64 {
	if f.Length == 0 {
		return MaxBin
	}
	return f.Length
}

// checkFile compares a metadata file with what the file above says of it.
func checkFile(what string, f *tuf.MetaFile, b []byte) error {
	if f.Length == 0 {
		if len(b) > MaxBin {
			return fmt.Errorf("%s: %d bytes, want at most %d: %w", what, len(b), MaxBin, ErrLength)
		}
		return nil
	}
	if int64(len(b)) != f.Length {
		return fmt.Errorf("%s: %d bytes, %d were signed for: %w", what, len(b), f.Length, ErrLength)
	}
	if mios.Sum(b) != mios.Digest(f.Hashes["sha256"]) {
		return fmt.Errorf("%s is not the file that belongs to the others: %w", what, ErrMix)
	}
	return nil
}

// parseSnapshot reads the snapshot that the timestamp names.
func parseSnapshot(root *rootMeta, ts *timestampMeta, b []byte) (*snapshotMeta, error) {
	f := ts.Signed.Meta[tuf.RoleSnapshot+".json"]
	if err := checkFile(fmt.Sprintf("snapshot version %d", f.Version), f, b); err != nil {
		return nil, err
	}
	m, err := tuf.Parse[tuf.Snapshot](b)
	if err != nil {
		return nil, fmt.Errorf("snapshot metadata: %v: %w", err, mios.ErrInvalid)
	}
	if err := tuf.Verify(&root.Signed, tuf.RoleSnapshot, m); err != nil {
		return nil, fmt.Errorf("snapshot version %d: %w: %v", m.Signed.Version, ErrSignature, err)
	}
	if m.Signed.Version != f.Version {
		return nil, fmt.Errorf("snapshot version %d came where the timestamp names version %d: %w", m.Signed.Version, f.Version, ErrMix)
	}
	for name, f := range m.Signed.Meta {
		check := checkMeta
		if isBinName(strings.TrimSuffix(name, ".json")) {
			check = checkBinMeta
		}
		if err := check(f); err != nil {
			return nil, fmt.Errorf("snapshot version %d: %s: %w", m.Signed.Version, name, err)
		}
	}
	return m, nil
}

// checkSnapshotRollback refuses a snapshot that lacks a file of the old one, or
// has an older version of it.
func checkSnapshotRollback(old, m *snapshotMeta) error {
	for name, was := range old.Signed.Meta {
		f, ok := m.Signed.Meta[name]
		switch {
		case !ok:
			return fmt.Errorf("snapshot version %d has no %s, which version %d had: %w", m.Signed.Version, name, old.Signed.Version, ErrRollback)
		case f.Version < was.Version:
			return fmt.Errorf("snapshot version %d has version %d of %s, and version %d was there before: %w", m.Signed.Version, f.Version, name, was.Version, ErrRollback)
		}
	}
	return nil
}

// parseTargets reads the metadata of a targets role that the snapshot names.
func parseTargets(by tuf.Delegator, role string, snap *snapshotMeta, b []byte) (*targetsMeta, error) {
	f := snap.Signed.Meta[role+".json"]
	if f == nil {
		return nil, fmt.Errorf("role %s: the snapshot does not name it: %w", role, mios.ErrNotFound)
	}
	if err := checkFile(fmt.Sprintf("%s version %d", role, f.Version), f, b); err != nil {
		return nil, err
	}
	m, err := tuf.Parse[tuf.Targets](b)
	if err != nil {
		return nil, fmt.Errorf("%s metadata: %v: %w", role, err, mios.ErrInvalid)
	}
	if err := tuf.Verify(by, role, m); err != nil {
		return nil, fmt.Errorf("%s version %d: %w: %v", role, m.Signed.Version, ErrSignature, err)
	}
	if m.Signed.Version != f.Version {
		return nil, fmt.Errorf("%s version %d came where the snapshot names version %d: %w", role, m.Signed.Version, f.Version, ErrMix)
	}
	if d := m.Signed.Delegations; d != nil {
		if err := CheckKeys(d.Keys); err != nil {
			return nil, fmt.Errorf("%s version %d: %w", role, m.Signed.Version, err)
		}
		if s := d.SuccinctRoles; s != nil && s.BitLength > maxBits {
			return nil, fmt.Errorf("%s version %d: 2^%d bins: %w", role, m.Signed.Version, s.BitLength, mios.ErrInvalid)
		}
	}
	return m, nil
}

// delegated returns a target of a role, if the role may speak of that path.
func delegated(targets *targetsMeta, role string, m *targetsMeta, name string) (*tuf.TargetFile, error) {
	f := m.Signed.Targets[name]
	if f == nil {
		return nil, fmt.Errorf("%s: %w", name, mios.ErrNotFound)
	}
	return f, mayName(targets, role, name)
}

// mayName says why a role may not speak of a path, or nil.
func mayName(targets *targetsMeta, role, name string) error {
	if d := targets.Signed.Delegations; d != nil {
		for _, r := range d.Roles {
			if r.Name == role && r.Matches(name) {
				return nil
			}
		}
	}
	return fmt.Errorf("role %s speaks of %s: %w", role, name, ErrRole)
}

// signedAt returns the time in a [SignedAt] field, or 0 where there is none.
func signedAt(fields map[string]any) (time.Time, error) {
	v, ok := fields[SignedAt]
	if !ok {
		return time.Time{}, nil
	}
	s, ok := v.(string)
	if !ok {
		return time.Time{}, fmt.Errorf("%s is not a string: %w", SignedAt, mios.ErrInvalid)
	}
	return time.Parse(time.RFC3339, s)
}

// sameKeys tells whether a role has the same keys and threshold in both roots.
func sameKeys(a, b *rootMeta, role string) bool {
	ra, rb := a.Signed.Roles[role], b.Signed.Roles[role]
	if ra.Threshold != rb.Threshold || len(ra.KeyIDs) != len(rb.KeyIDs) {
		return false
	}
	has := map[string]bool{}
	for _, id := range ra.KeyIDs {
		has[id] = true
	}
	for _, id := range rb.KeyIDs {
		if !has[id] {
			return false
		}
	}
	return true
}

// bins returns the bins that a role delegates to.
func bins(by *targetsMeta, role string) (*tuf.SuccinctRoles, error) {
	if d := by.Signed.Delegations; d != nil && d.SuccinctRoles != nil && d.SuccinctRoles.NamePrefix == role {
		return d.SuccinctRoles, nil
	}
	return nil, fmt.Errorf("role %s has no bins: %w", role, mios.ErrInvalid)
}

// isBinName tells whether a role is called as bins are.
func isBinName(role string) bool {
	return strings.HasPrefix(role, RoleApps+"-") || strings.HasPrefix(role, RoleClaims+"-")
}

// isBin tells whether a role is one of the bins that by delegates to.
func isBin(by *targetsMeta, role string) bool {
	d := by.Signed.Delegations
	return d != nil && d.SuccinctRoles != nil && d.SuccinctRoles.Has(role)
}
