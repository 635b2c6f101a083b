package repo

import (
	"context"
	"fmt"
	"slices"

	"mios"
	"mios/api/repo"
)

// Claim says which signers own packages from now on: SHA-256 of their
// certificates. What is so already is not signed again.
func (r *Repo) Claim(ctx context.Context, claims ...repo.Claim) (*Result, error) {
	for _, c := range claims {
		if err := repo.CheckPackage(c.Package); err != nil {
			return nil, err
		}
		if len(c.Signers) == 0 {
			return nil, fmt.Errorf("claim of %s: no signer: %w", c.Package, mios.ErrInvalid)
		}
	}
	return r.change(ctx, func(t *tx) error {
		for _, c := range claims {
			bin, err := t.bin(repo.RoleClaims, repo.ClaimsPath(c.Package))
			if err != nil {
				return err
			}
			if now, err := claimsOf(t.current(bin)); err != nil {
				return err
			} else if slices.Equal(now[c.Package].Signers, c.Signers) {
				continue
			}
			m, err := t.editBin(repo.RoleClaims, repo.ClaimsPath(c.Package))
			if err != nil {
				return err
			}
			repo.SetClaim(m.Signed.Unrecognized, c)
		}
		return nil
	})
}

// ClaimOf returns who owns a package, as published or as it waits for
// signatures. The error wraps [mios.ErrNotFound] where nobody does.
func (r *Repo) ClaimOf(ctx context.Context, pkg string) (c repo.Claim, published bool, err error) {
	t, err := r.begin(ctx)
	if err != nil {
		return c, false, err
	}
	return t.claimOf(pkg)
}

// claimOf is [Repo.ClaimOf] on what is there now.
func (t *tx) claimOf(pkg string) (c repo.Claim, published bool, err error) {
	role, err := t.bin(repo.RoleClaims, repo.ClaimsPath(pkg))
	if err != nil {
		return c, false, err
	}
	for _, d := range []*document{t.view.doc(role), t.staged[role], t.docs[role]} {
		claims, err := claimsOf(d)
		if err != nil {
			return c, false, err
		}
		if c, ok := claims[pkg]; ok {
			return c, d == t.view.docs[role], nil
		}
	}
	if t.view.err != nil {
		return c, false, t.view.err
	}
	return c, false, fmt.Errorf("package %s: nobody owns it: %w", pkg, mios.ErrNotFound)
}

// claimsOf returns the claims in a bin, which may be nil.
func claimsOf(d *document) (map[string]repo.Claim, error) {
	if d == nil {
		return nil, nil
	}
	claims, err := repo.ReadClaims(d.targets.Signed.Unrecognized)
	if err != nil {
		return nil, fmt.Errorf("role %s: %w", d.role, err)
	}
	return claims, nil
}

// bin returns the bin of a role that speaks of a path.
func (t *tx) bin(role, name string) (string, error) {
	d := t.current(role)
	switch {
	case t.view.err != nil:
		return "", t.view.err
	case d == nil || d.targets.Signed.Delegations == nil || d.targets.Signed.Delegations.SuccinctRoles == nil:
		return "", fmt.Errorf("role %s has no bins: %w", role, mios.ErrInvalid)
	}
	return d.targets.Signed.Delegations.SuccinctRoles.Bin(name), nil
}
