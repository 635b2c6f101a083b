package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"mios"
	"mios/format/tuf"
	"mios/internal/atomicfile"
)

// stateFile is where a client keeps all that it trusts: one file, so that it
// is never torn.
const stateFile = "trusted.json"

// saved is the content of stateFile. Nothing in it is believed: it is verified
// again, from the root that the client was given.
type saved struct {
	Roots     [][]byte               `json:"roots"` // those after the first
	Timestamp []byte                 `json:"timestamp,omitempty"`
	Snapshot  []byte                 `json:"snapshot,omitempty"`
	Roles     map[string][]byte      `json:"roles,omitempty"`
	Files     map[mios.Digest][]byte `json:"files,omitempty"`
	Old       map[mios.Digest][]byte `json:"old,omitempty"` // files that nobody has asked for since the snapshot changed
	Time      time.Time              `json:"time"`          // the newest signed time seen
	TimeRoot  int64                  `json:"time_root"`     // version of the root whose keys signed it
}

// A state is one verified view of the repository. It does not change once a
// client has it.
type state struct {
	root      *rootMeta
	timestamp *timestampMeta
	snapshot  *snapshotMeta
	roles     map[string]*targetsMeta
	raw       saved
}

// clone returns a copy that may be changed.
func (s *state) clone() *state {
	c := *s
	c.roles = maps.Clone(s.roles)
	c.raw.Roles = maps.Clone(s.raw.Roles)
	c.raw.Files = maps.Clone(s.raw.Files)
	c.raw.Old = maps.Clone(s.raw.Old)
	c.raw.Roots = append([][]byte(nil), s.raw.Roots...)
	return &c
}

func newState(root *rootMeta) *state {
	s := &state{root: root}
	s.forget()
	s.seen(root.Signed.Unrecognized)
	return s
}

// forget drops all but the roots and the clock.
func (s *state) forget() {
	s.timestamp, s.snapshot = nil, nil
	s.roles = map[string]*targetsMeta{}
	s.raw.Timestamp, s.raw.Snapshot = nil, nil
	s.raw.Roles, s.raw.Files, s.raw.Old = map[string][]byte{}, map[mios.Digest][]byte{}, nil
}

// seen raises the clock to the time in signed metadata.
func (s *state) seen(fields map[string]any) {
	if t, err := signedAt(fields); err == nil && t.After(s.raw.Time) {
		s.raw.Time = t
	}
}

// setRoot goes on to the next root. Where the keys of freshness changed, what
// the old ones said is forgotten, the time included: whoever stole them may
// have gone far ahead with it (TUF 5.3.11).
func (s *state) setRoot(m *rootMeta, b []byte) {
	if !sameKeys(s.root, m, tuf.RoleTimestamp) || !sameKeys(s.root, m, tuf.RoleSnapshot) {
		s.forget()
		s.raw.Time = time.Time{}
	}
	s.root = m
	s.raw.Roots = append(s.raw.Roots, b)
	s.seen(m.Signed.Unrecognized)
}

// setSnapshot takes a verified snapshot, and forgets the roles that it names in
// another version.
func (s *state) setSnapshot(m *snapshotMeta, b []byte) {
	if bytes.Equal(s.raw.Snapshot, b) {
		return
	}
	s.snapshot, s.raw.Snapshot = m, b
	for role, known := range s.roles {
		f := m.Signed.Meta[role+".json"]
		if f == nil || f.Version != known.Signed.Version || checkFile(role, f, s.raw.Roles[role]) != nil {
			delete(s.roles, role)
			delete(s.raw.Roles, role)
		}
	}
	s.raw.Old = s.raw.Files // what is still said is not fetched again
	s.raw.Files = map[mios.Digest][]byte{}
}

func (s *state) setRole(role string, m *targetsMeta, b []byte) {
	s.roles[role], s.raw.Roles[role] = m, b
}

// loadState reads what a client trusted when it last ran, as far as it can
// still be verified from the root that it was given.
func loadState(dir string, root *rootMeta) (*state, error) {
	s := newState(root)
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("repository state: %w", err)
	}
	var old saved
	if json.Unmarshal(b, &old) != nil {
		return s, nil // as if it had never run
	}
	s.restore(&old)
	return s, nil
}

// restore verifies what was saved, and takes it as far as it is good.
func (s *state) restore(old *saved) {
	for _, b := range old.Roots {
		if v, err := tuf.Parse[tuf.Root](b); err == nil && v.Signed.Version <= s.root.Signed.Version {
			continue // the build's own root is newer
		}
		m, err := nextRoot(s.root, b)
		if err != nil {
			return // another repository's
		}
		s.setRoot(m, b)
	}
	if old.TimeRoot == s.root.Signed.Version && old.Time.After(s.raw.Time) {
		s.raw.Time = old.Time
	}
	ts, err := parseTimestamp(s.root, old.Timestamp)
	if err != nil {
		return
	}
	s.timestamp, s.raw.Timestamp = ts, old.Timestamp
	s.seen(ts.Signed.Unrecognized)
	snap, err := parseSnapshot(s.root, ts, old.Snapshot)
	if err != nil {
		return
	}
	s.setSnapshot(snap, old.Snapshot)
	// Delegators first: targets, then those that it names, then the bins.
	s.restoreRoles(&s.root.Signed, old, func(role string) bool { return role == tuf.RoleTargets })
	if targets := s.roles[tuf.RoleTargets]; targets != nil {
		s.restoreRoles(&targets.Signed, old, func(string) bool { return true })
	}
	for _, role := range []string{RoleApps, RoleClaims} {
		if by := s.roles[role]; by != nil {
			s.restoreRoles(&by.Signed, old, func(role string) bool { return isBin(by, role) })
		}
	}
	bad := func(sum mios.Digest, b []byte) bool { return mios.Sum(b) != sum }
	maps.DeleteFunc(old.Files, bad)
	maps.DeleteFunc(old.Old, bad)
	s.raw.Files, s.raw.Old = old.Files, old.Old
	if s.raw.Files == nil {
		s.raw.Files = map[mios.Digest][]byte{}
	}
}

// restoreRoles verifies those of the saved roles that by may delegate to.
func (s *state) restoreRoles(by tuf.Delegator, old *saved, may func(role string) bool) {
	for role, b := range old.Roles {
		if s.roles[role] != nil || !may(role) {
			continue
		}
		if m, err := parseTargets(by, role, s.snapshot, b); err == nil {
			s.setRole(role, m, b)
		}
	}
}

// save makes the state durable.
func (s *state) save(dir string) error {
	s.raw.TimeRoot = s.root.Signed.Version
	b, err := json.Marshal(&s.raw)
	if err != nil {
		return fmt.Errorf("repository state: %w", err)
	}
	if err := atomicfile.WriteBytes(filepath.Join(dir, stateFile), b, 0o600); err != nil {
		return fmt.Errorf("repository state: %w", err)
	}
	return nil
}
