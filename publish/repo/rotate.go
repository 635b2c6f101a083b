package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
)

// Rotation says which roles get new keys: root, targets, snapshot, timestamp,
// claims, apps, rollout, or os-PRODUCT. None means that root is signed again as
// it is, for a new life.
type Rotation struct {
	Roles      []string
	Keys       PublicKeys // the new public keys
	Thresholds map[string]int
	// Bits changes how many bits choose a bin, by role: apps or claims, which
	// must be among the Roles. What is missing stays as it is.
	Bits map[string]int
}

// Rotate makes a new root, or a new delegation, in which roles have new keys,
// and signs again what those keys sign. It wants the old and the new keys at
// hand; what is missing waits for signatures, and the tree stays as it is
// until all of it is there.
func (r *Repo) Rotate(ctx context.Context, o Rotation) (*Result, error) {
	return r.change(ctx, func(t *tx) error {
		if len(o.Roles) == 0 {
			_, err := t.next(tuf.RoleRoot)
			return err
		}
		for _, role := range o.Roles {
			var err error
			switch {
			case slices.Contains(tuf.TopLevel[:], role):
				err = t.rotateTop(role, o)
			case role == repo.RoleApps, role == repo.RoleClaims:
				err = t.rotateBins(role, o)
			case role == repo.RoleRollout, strings.HasPrefix(role, repo.OSRole("")):
				err = t.rotateDelegated(role, o)
			default:
				err = fmt.Errorf("role %q: %w: want root, targets, snapshot, timestamp, claims, apps, rollout or os-PRODUCT", role, mios.ErrInvalid)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) rotateTop(role string, o Rotation) error {
	g, err := groupOf(o.Keys, role, o.Thresholds)
	if err != nil {
		return err
	}
	d, err := t.next(tuf.RoleRoot)
	if err != nil {
		return err
	}
	setRootGroup(d.root, role, g)
	if role == tuf.RoleTargets {
		_, err = t.next(tuf.RoleTargets)
	}
	return err
}

func (t *tx) rotateDelegated(role string, o Rotation) error {
	g, err := groupOf(o.Keys, role, o.Thresholds)
	if err != nil {
		return err
	}
	targets, err := t.edit(tuf.RoleTargets)
	if err != nil {
		return err
	}
	for _, dr := range targets.Signed.Delegations.Roles {
		if dr.Name == role {
			delegate(targets, role, dr.Paths, g)
			_, err := t.next(role)
			return err
		}
	}
	return fmt.Errorf("role %s: %w in this repository", role, mios.ErrNotFound)
}

// rotateBins gives a role and its bins new keys, and, if asked for, another
// number of bins: what they hold moves to its new place.
func (t *tx) rotateBins(role string, o Rotation) error {
	if err := t.rotateDelegated(role, o); err != nil {
		return err
	}
	g, err := groupOf(o.Keys, role, o.Thresholds)
	if err != nil {
		return err
	}
	m := t.docs[role].targets
	if m.Signed.Delegations == nil || m.Signed.Delegations.SuccinctRoles == nil {
		return fmt.Errorf("role %s has no bins: %w", role, mios.ErrInvalid)
	}
	was := m.Signed.Delegations.SuccinctRoles.BitLength
	bits := was
	if n, ok := o.Bits[role]; ok {
		bits = n
	}
	if err := checkBits(bits); err != nil {
		return err
	}
	var all []*document
	for _, bin := range t.binsOf(role) {
		d, err := t.next(bin)
		if err != nil {
			return err
		}
		all = append(all, d)
	}
	setBins(m, role, g, bits)
	if bits == was {
		return nil
	}
	return t.spread(role, all)
}

// binsOf returns the bins of a role that have metadata, or will.
func (t *tx) binsOf(role string) []string {
	var list []string
	for name := range t.current(role).targets.Signed.Delegations.SuccinctRoles.Bins() {
		if t.has(name) {
			list = append(list, name)
		}
	}
	return list
}

// spread puts what bins hold into those that are to hold it now.
func (t *tx) spread(role string, bins []*document) error {
	targets, claims := map[string]*tuf.TargetFile{}, map[string]repo.Claim{}
	for _, d := range bins {
		signed := &d.targets.Signed
		maps.Copy(targets, signed.Targets)
		c, err := repo.ReadClaims(signed.Unrecognized)
		if err != nil {
			return fmt.Errorf("role %s: %w", d.role, err)
		}
		maps.Copy(claims, c)
		clear(signed.Targets)
		delete(signed.Unrecognized, repo.ClaimsField)
		if !t.docs[role].targets.Signed.Delegations.SuccinctRoles.Has(d.role) {
			delete(t.docs, d.role) // nobody asks for it any more
		}
	}
	for _, bin := range t.binsOf(role) { // from another time with that many
		d, err := t.next(bin)
		if err != nil {
			return err
		}
		clear(d.targets.Signed.Targets)
		delete(d.targets.Signed.Unrecognized, repo.ClaimsField)
	}
	for name, f := range targets {
		m, err := t.editBin(role, name)
		if err != nil {
			return err
		}
		m.Signed.Targets[name] = f
	}
	for _, pkg := range slices.Sorted(maps.Keys(claims)) {
		m, err := t.editBin(role, repo.ClaimsPath(pkg))
		if err != nil {
			return err
		}
		repo.SetClaim(m.Signed.Unrecognized, claims[pkg])
	}
	return nil
}

// editBin returns the next version of the bin of a role that speaks of a path.
func (t *tx) editBin(role, name string) (*targetsMeta, error) {
	bin, err := t.bin(role, name)
	if err != nil {
		return nil, err
	}
	m, err := t.edit(bin)
	if err == nil && m.Signed.Unrecognized == nil {
		m.Signed.Unrecognized = map[string]any{}
	}
	return m, err
}
