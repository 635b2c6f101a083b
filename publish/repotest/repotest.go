// Package repotest makes small repositories for tests, with keys that are
// quick to make.
package repotest

import (
	"path/filepath"
	"testing"

	"mios/key"
	"mios/publish/repo"
)

// Roles are the roles whose keys a repository needs.
var Roles = []string{key.Root, key.Targets, key.OS, key.Claims, key.Apps, key.Rollout, key.Snapshot, key.Timestamp}

// Keys makes development keys of some roles, or of all that a repository
// needs.
func Keys(tb testing.TB, roles ...string) *key.Set {
	tb.Helper()
	if len(roles) == 0 {
		roles = Roles
	}
	dir := filepath.Join(tb.TempDir(), "keys")
	if err := key.Init(dir, key.InitOptions{Development: true, Roles: roles}); err != nil {
		tb.Fatal(err)
	}
	set, err := key.Open(dir, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// New makes a repository with the given products.
func New(tb testing.TB, keys *key.Set, products ...string) *repo.Repo {
	tb.Helper()
	return NewWith(tb, keys, repo.InitOptions{AppBits: 1, ClaimBits: 1}, products...)
}

// NewWith is [New] with options.
func NewWith(tb testing.TB, keys *key.Set, o repo.InitOptions, products ...string) *repo.Repo {
	tb.Helper()
	r, err := repo.Init(tb.Context(), filepath.Join(tb.TempDir(), "repo"), keys, o)
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range products {
		if _, err := r.AddProduct(tb.Context(), p, keys, 0); err != nil {
			tb.Fatal(err)
		}
	}
	return r
}
