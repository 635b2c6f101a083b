package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"mios"
	"mios/api/repo"
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
			_, err := t.next(metadata.ROOT)
			return err
		}
		for _, role := range o.Roles {
			var err error
			switch {
			case slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], role):
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
	d, err := t.next(metadata.ROOT)
	if err != nil {
		return err
	}
	setRootGroup(d.root, role, g)
	if role == metadata.TARGETS {
		_, err = t.next(metadata.TARGETS)
	}
	return err
}

func (t *tx) rotateDelegated(role string, o Rotation) error {
	g, err := groupOf(o.Keys, role, o.Thresholds)
	if err != nil {
		return err
	}
	targets, err := t.edit(metadata.TARGETS)
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
	for _, role := range d.SuccinctRoles.GetRoles() {
		if _, err := t.next(role); err != nil {
			return err
		}
	}
	return nil
}
