package repo

import (
	"crypto"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/key"
)

// keyRole is the role in [key.Roles] whose keys sign a metadata role.
func keyRole(role string) string {
	switch {
	case strings.HasPrefix(role, repo.OSRole("")):
		return key.OS
	case parent(role) == repo.RoleApps:
		return key.Apps
	case parent(role) == repo.RoleClaims:
		return key.Claims
	}
	return role
}

// parent returns the role whose bin a role is, or "".
func parent(role string) string {
	for _, p := range []string{repo.RoleApps, repo.RoleClaims} {
		if strings.HasPrefix(role, p+"-") {
			return p
		}
	}
	return ""
}

// setBins makes a targets role delegate to 2^bits bins whose keys are g.
func setBins(m *targetsMeta, role string, g group, bits int) {
	m.Signed.Delegations = &tuf.Delegations{
		Keys:          g.Keys,
		SuccinctRoles: &tuf.SuccinctRoles{KeyIDs: sortedIDs(g), Threshold: g.Threshold, BitLength: bits, NamePrefix: role},
	}
}

// PublicKeys are the public keys at hand, by role; [key.Set] is one.
type PublicKeys interface {
	Public(role string) ([]crypto.PublicKey, error)
}

// groupOf returns the keys that are to sign a metadata role.
func groupOf(keys PublicKeys, role string, thresholds map[string]int) (group, error) {
	kr, err := key.FindRole(keyRole(role))
	if err != nil {
		return group{}, err
	}
	pubs, err := keys.Public(kr.Name)
	if err != nil {
		return group{}, err
	}
	g := group{Keys: map[string]*tuf.Key{}, Threshold: kr.Threshold}
	if n, ok := thresholds[kr.Name]; ok {
		g.Threshold = n
	}
	for _, pub := range pubs {
		k, err := tuf.NewKey(pub)
		if err != nil {
			return g, fmt.Errorf("%s key: %w", kr.Name, err)
		}
		id, err := k.ID()
		if err != nil {
			return g, err
		}
		g.Keys[id] = k
	}
	if g.Threshold < 1 || len(g.Keys) < g.Threshold {
		return g, fmt.Errorf("role %s: %d public keys, and %d have to sign: %w: make them with mios keys init, put %s.pub.pem and so on into the folder of keys, or give another threshold",
			role, len(g.Keys), g.Threshold, mios.ErrInvalid, kr.Name)
	}
	return g, nil
}

func sortedIDs(g group) []string { return slices.Sorted(maps.Keys(g.Keys)) }

// setRootGroup makes g the keys of a top-level role.
func setRootGroup(root *rootMeta, role string, g group) {
	root.Signed.Roles[role] = &tuf.RoleKeys{KeyIDs: sortedIDs(g), Threshold: g.Threshold}
	maps.Copy(root.Signed.Keys, g.Keys)
	used := map[string]bool{}
	for _, r := range root.Signed.Roles {
		for _, id := range r.KeyIDs {
			used[id] = true
		}
	}
	maps.DeleteFunc(root.Signed.Keys, func(id string, _ *tuf.Key) bool { return !used[id] })
}

func rootGroup(root *rootMeta, role string) group {
	r := root.Signed.Roles[role]
	g := group{Keys: map[string]*tuf.Key{}, Threshold: r.Threshold}
	for _, id := range r.KeyIDs {
		g.Keys[id] = root.Signed.Keys[id]
	}
	return g
}

// delegate makes g the keys of a role that targets delegates to.
func delegate(targets *targetsMeta, role string, paths []string, g group) {
	d := targets.Signed.Delegations
	if d == nil {
		d = &tuf.Delegations{Keys: map[string]*tuf.Key{}}
		targets.Signed.Delegations = d
	}
	nr := tuf.DelegatedRole{Name: role, KeyIDs: sortedIDs(g), Threshold: g.Threshold, Terminating: true, Paths: paths}
	if i := slices.IndexFunc(d.Roles, func(r tuf.DelegatedRole) bool { return r.Name == role }); i >= 0 {
		d.Roles[i] = nr
	} else {
		d.Roles = append(d.Roles, nr)
	}
	maps.Copy(d.Keys, g.Keys)
	used := map[string]bool{}
	for _, r := range d.Roles {
		for _, id := range r.KeyIDs {
			used[id] = true
		}
	}
	maps.DeleteFunc(d.Keys, func(id string, _ *tuf.Key) bool { return !used[id] })
}

// delegatedGroup returns the keys of a role that a targets role delegates to.
func delegatedGroup(by *targetsMeta, role string) (group, error) {
	g := group{Keys: map[string]*tuf.Key{}}
	d := by.Signed.Delegations
	if d == nil {
		return g, fmt.Errorf("role %s: nobody delegates to it: %w", role, mios.ErrNotFound)
	}
	var ids []string
	if s := d.SuccinctRoles; s != nil && s.Has(role) {
		ids, g.Threshold = s.KeyIDs, s.Threshold
	}
	for _, r := range d.Roles {
		if r.Name == role {
			ids, g.Threshold = r.KeyIDs, r.Threshold
		}
	}
	if len(ids) == 0 {
		return g, fmt.Errorf("role %s: nobody delegates to it: %w", role, mios.ErrNotFound)
	}
	for _, id := range ids {
		g.Keys[id] = d.Keys[id]
	}
	return g, nil
}
