package repo

import (
	"context"
	"fmt"
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
			case role == repo.RoleApps:
				err = t.rotateApps(o)
			case role == repo.RoleClaims, role == repo.RoleRollout, strings.HasPrefix(role, repo.OSRole("")):
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

func (t *tx) rotateApps(o Rotation) error {
	if err := t.rotateDelegated(repo.RoleApps, o); err != nil {
		return err
	}
	g, err := groupOf(o.Keys, repo.RoleApps, o.Thresholds)
	if err != nil {
		return err
	}
	d := t.docs[repo.RoleApps].targets.Signed.Delegations
	d.Keys = g.Keys
	d.SuccinctRoles.KeyIDs, d.SuccinctRoles.Threshold = sortedIDs(g), g.Threshold
	for role := range d.SuccinctRoles.Bins() {
		if _, err := t.next(role); err != nil {
			return err
		}
	}
	return nil
}
