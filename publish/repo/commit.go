package repo

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
)

// commit signs, publishes what is signed well enough, and stages the rest.
func (t *tx) commit() (*Result, error) {
	if err := t.sign(); err != nil {
		return nil, err
	}
	accepted := t.accept()
	res := &Result{Roles: slices.AppendSeq([]string{}, maps.Keys(accepted)), Waiting: []Waiting{}}
	slices.SortFunc(res.Roles, byRank)
	if t.view.timestamp != nil {
		res.Timestamp = t.view.timestamp.Signed.Version
	}
	for role, d := range t.docs {
		if accepted[role] != nil {
			continue
		}
		if t.view.root() == nil {
			return nil, fmt.Errorf("role %s: too few of its private keys are at hand: %w: a new repository wants those of all roles but os", role, mios.ErrInvalid)
		}
		if err := t.r.stage(t.ctx, d); err != nil {
			return nil, err
		}
		res.Waiting = append(res.Waiting, t.waiting(d))
	}
	slices.SortFunc(res.Waiting, func(a, b Waiting) int { return byRank(a.Role, b.Role) })
	if len(accepted) > 0 || t.force {
		if err := t.publish(accepted, res); err != nil {
			return nil, err
		}
	}
	for role := range accepted {
		if err := t.r.unstage(t.ctx, role); err != nil {
			return nil, err
		}
	}
	res.Warnings = t.warnings(accepted)
	return res, nil
}

// waiting says how many signatures a document has of how many.
func (t *tx) waiting(d *document) Waiting {
	w := Waiting{Role: d.role, Version: d.version()}
	groups, err := t.groups(d, t.current)
	if err != nil {
		return w
	}
	for _, g := range groups {
		w.Have += min(g.count(d), g.Threshold)
		w.Need += g.Threshold
	}
	return w
}

// publish writes the accepted documents and what says that they belong
// together. Every file before the pointer has a name of its own, so that a
// kill anywhere leaves the tree as it was.
func (t *tx) publish(accepted map[string]*document, res *Result) error {
	root := t.view.docs[tuf.RoleRoot]
	if d := accepted[tuf.RoleRoot]; d != nil {
		root = d
	}
	files := map[string][]byte{} // by role
	for role, d := range accepted {
		b, err := d.bytes()
		if err != nil {
			return err
		}
		files[role] = b
	}
	snap, snapRaw, err := t.snapshot(root.root, accepted, files)
	if err != nil {
		return err
	}
	stamp, stampRaw, err := t.timestamp(root.root, snap, snapRaw)
	if err != nil {
		return err
	}
	var steps []func() error
	create := func(role string, version int64, b []byte) func() error {
		return func() error {
			return race(t.r.tree.Create(t.ctx, repo.MetadataPath(role, version), bytes.NewReader(b)))
		}
	}
	for _, role := range res.Roles {
		if role != tuf.RoleRoot {
			steps = append(steps, create(role, accepted[role].version(), files[role]))
		}
	}
	steps = append(steps, create(tuf.RoleSnapshot, snap.Signed.Version, snapRaw), func() error {
		return race(t.r.tree.Point(t.ctx, repo.MetadataPath(tuf.RoleTimestamp, 0), t.view.pointer, stampRaw))
	})
	if d := accepted[tuf.RoleRoot]; d != nil {
		// Clients walk to the newest root first. It comes last if those who know
		// the old one only can still read the rest; otherwise first, and for the
		// moment between the two writes clients fail and keep what they have.
		write := create(tuf.RoleRoot, d.version(), files[tuf.RoleRoot])
		if old := t.view.root(); old == nil || t.readable(old, accepted, snap, stamp) {
			steps = append(steps, write)
		} else {
			steps = append([]func() error{write}, steps...)
		}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	res.Published, res.Timestamp = true, stamp.Signed.Version
	return nil
}

// race marks the error of a name or a pointer that another process took.
func race(err error) error {
	if errors.Is(err, mios.ErrConflict) {
		return raced{err}
	}
	return err
}

// readable tells whether a client that knows only the root old can verify what
// is being published.
func (t *tx) readable(old *rootMeta, accepted map[string]*document, snap *snapshotMeta, stamp *timestampMeta) bool {
	targets := t.view.doc(tuf.RoleTargets)
	if d := accepted[tuf.RoleTargets]; d != nil {
		targets = d
	}
	return tuf.Verify(&old.Signed, tuf.RoleSnapshot, snap) == nil &&
		tuf.Verify(&old.Signed, tuf.RoleTimestamp, stamp) == nil &&
		tuf.Verify(&old.Signed, tuf.RoleTargets, targets.targets) == nil
}

// snapshot returns a new snapshot, or the one there is if it still says all of
// it and has half of its life before it.
func (t *tx) snapshot(root *rootMeta, accepted map[string]*document, files map[string][]byte) (*snapshotMeta, []byte, error) {
	if old := t.view.snapshot; old != nil && len(accepted) == 0 &&
		old.Signed.Expires.Sub(t.signed) > t.r.cfg.Lifetimes.of(tuf.RoleSnapshot)/2 {
		return old, t.view.raw[tuf.RoleSnapshot], nil
	}
	snap := tuf.New[tuf.Snapshot]()
	snap.Signed.Expires = t.signed.Add(t.r.cfg.Lifetimes.of(tuf.RoleSnapshot))
	var err error
	if snap.Signed.Version, err = t.view.free(tuf.RoleSnapshot); err != nil {
		return nil, nil, err
	}
	if t.view.snapshot != nil {
		maps.Copy(snap.Signed.Meta, t.view.snapshot.Signed.Meta)
	}
	for role, b := range files {
		switch {
		case parent(role) != "": // there are many: of them the version is enough
			snap.Signed.Meta[role+".json"] = &tuf.MetaFile{Version: accepted[role].version()}
		case role != tuf.RoleRoot:
			snap.Signed.Meta[role+".json"] = metaFile(accepted[role].version(), b)
		}
	}
	err = t.signOnline(root, tuf.RoleSnapshot, snap)
	if err != nil {
		return nil, nil, err
	}
	b, err := snap.Bytes()
	return snap, b, err
}

func (t *tx) timestamp(root *rootMeta, snap *snapshotMeta, raw []byte) (*timestampMeta, []byte, error) {
	stamp := tuf.New[tuf.Timestamp]()
	stamp.Signed.Expires = t.signed.Add(t.r.cfg.Lifetimes.of(tuf.RoleTimestamp))
	if t.view.timestamp != nil {
		stamp.Signed.Version = t.view.timestamp.Signed.Version + 1
	}
	stamp.Signed.Meta = map[string]*tuf.MetaFile{"snapshot.json": metaFile(snap.Signed.Version, raw)}
	stamp.Signed.Unrecognized = map[string]any{repo.SignedAt: t.signed.Format(time.RFC3339)}
	err := t.signOnline(root, tuf.RoleTimestamp, stamp)
	if err != nil {
		return nil, nil, err
	}
	b, err := stamp.Bytes()
	return stamp, b, err
}

func metaFile(version int64, b []byte) *tuf.MetaFile {
	sum := sha256.Sum256(b)
	return &tuf.MetaFile{Version: version, Length: int64(len(b)), Hashes: tuf.Hashes{"sha256": sum[:]}}
}

// signOnline signs metadata of snapshot or timestamp, by the new root's keys
// and, where they are at hand, the old one's.
func (t *tx) signOnline(root *rootMeta, role string, m tuf.Document) error {
	signers, err := t.r.signers(role)
	if err != nil {
		return err
	}
	ids := rootGroup(root, role).ids()
	if old := t.view.root(); old != nil {
		maps.Copy(ids, rootGroup(old, role).ids())
	}
	for _, s := range signers {
		id, err := keyID(s.Public())
		if err != nil {
			return err
		}
		if !ids[id] {
			continue
		}
		delete(ids, id) // a key that is at hand twice signs once
		if err := sign(m, s); err != nil {
			return fmt.Errorf("sign %s: %w", role, err)
		}
	}
	if tuf.Verify(&root.Signed, role, m) != nil {
		return fmt.Errorf("publish: the %s key of this repository is not at hand: %w: name the folder of the online keys", role, mios.ErrNotFound)
	}
	return nil
}

// warnAhead is how long before the end of a role's life its operator is told,
// as a part of that life.
const warnAhead = 10

// warnings tells which roles end soon, of those that were read: all of them when
// freshness is signed again.
func (t *tx) warnings(accepted map[string]*document) []string {
	soon := map[string]time.Time{}
	roles := slices.Collect(maps.Keys(t.view.docs))
	if t.force {
		roles = t.view.standing()
	}
	for _, role := range roles {
		d := cmp.Or(accepted[role], t.view.doc(role))
		if d == nil || d.expires().Sub(t.signed) >= t.r.cfg.Lifetimes.of(role)/warnAhead {
			continue
		}
		name := cmp.Or(parent(role), role) // one line for all bins
		if was, ok := soon[name]; !ok || d.expires().Before(was) {
			soon[name] = d.expires()
		}
	}
	list := []string{}
	for role, expires := range soon {
		list = append(list, fmt.Sprintf("%s metadata is good until %s only: sign it again", role, expires.Format(time.DateOnly)))
	}
	slices.Sort(list)
	return list
}
