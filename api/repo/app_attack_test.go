package repo_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"mios"
	"mios/api/repo"
	"mios/key"
	publish "mios/publish/repo"
)

// appAttacks are what a thief of the apps key can try.
var appAttacks = []struct {
	name   string
	attack func(w *world)
	want   error
}{
	{"another signer's APK", func(w *world) {
		bin := w.bin()
		m := w.role(bin)
		w.putFile(m, repo.PackagePath(clockApp), repo.Package{Package: clockApp, Releases: []repo.AppRelease{appRelease(9, thief)}})
		w.forge(bin, m, key.Apps)
	}, repo.ErrRole},
	{"another package's release", func(w *world) {
		bin := w.bin()
		m := w.role(bin)
		r := appRelease(9, owner)
		r.Package = "org.example.bank"
		r.Target.Path = repo.AppPath(r.Package, 9)
		w.putFile(m, repo.PackagePath(clockApp), repo.Package{Package: clockApp, Releases: []repo.AppRelease{r}})
		w.forge(bin, m, key.Apps)
	}, repo.ErrRole},
	{"a claim", func(w *world) {
		bin := w.claimBin()
		m := w.role(bin)
		repo.SetClaim(m.Signed.UnrecognizedFields, repo.Claim{Package: clockApp, Signers: []mios.Digest{thief}})
		w.forge(bin, m, key.Apps)
	}, repo.ErrSignature},
	{"claims of its own under its own keys", func(w *world) {
		m := w.role(repo.RoleClaims)
		m.Signed.Delegations.Keys = w.role(repo.RoleApps).Signed.Delegations.Keys
		m.Signed.Delegations.SuccinctRoles.KeyIDs = w.role(repo.RoleApps).Signed.Delegations.SuccinctRoles.KeyIDs
		w.forge(repo.RoleClaims, m, key.Apps)
	}, repo.ErrSignature},
	{"a release as a package of another bin's", func(w *world) {
		// The bin that speaks of another package may not speak of this one.
		other := "apps-0"
		if w.bin() == other {
			other = "apps-1"
		}
		mine := w.role(w.bin())
		delete(mine.Signed.Targets, repo.PackagePath(clockApp))
		w.forge(w.bin(), mine, key.Apps)
		m := metadata.Targets(w.now.Add(time.Hour))
		m.Signed.Version = 0
		w.putFile(m, repo.PackagePath(clockApp), repo.Package{Package: clockApp, Releases: []repo.AppRelease{appRelease(9, owner)}})
		w.forge(other, m, key.Apps)
	}, mios.ErrNotFound},
	{"bins under another name", func(w *world) {
		m := w.role(repo.RoleApps)
		m.Signed.Delegations.SuccinctRoles.NamePrefix = repo.RoleClaims
		w.forge(repo.RoleApps, m, key.Apps)
	}, mios.ErrInvalid},
	{"a bin of another version than the snapshot's", func(w *world) {
		bin := w.bin()
		old := w.mirror.files[w.nameOf(bin)]
		m := w.role(bin)
		w.forge(bin, m, key.Apps)
		w.mirror.files[w.nameOf(bin)] = old
	}, repo.ErrMix},
	{"an older version of a bin", func(w *world) {
		bin := w.bin()
		_, snap := w.current()
		old := snap.Signed.Meta[bin+".json"].Version
		w.forge(bin, w.role(bin), key.Apps)
		if err := w.client.Refresh(w.tb.Context()); err != nil {
			w.tb.Fatal(err)
		}
		if _, err := w.client.AppRelease(w.tb.Context(), clockApp); err != nil {
			w.tb.Fatal(err)
		}
		w.wantRefused = repo.ErrRollback
		_, snap = w.current()
		snap.Signed.Meta[bin+".json"] = metadata.MetaFile(old)
		w.forgeSnapshot(snap)
	}, nil},
	{"an endless bin", func(w *world) {
		bin := w.bin()
		w.forge(bin, w.role(bin), key.Apps)
		w.endless(w.nameOf(bin))
	}, repo.ErrLength},
	{"an endless bin, and a fetcher that does not count", func(w *world) {
		bin := w.bin()
		w.forge(bin, w.role(bin), key.Apps)
		w.mirror.rude = true
		w.endless(w.nameOf(bin))
	}, repo.ErrLength},
	{"a delta of another package", func(w *world) {
		bin := w.bin()
		m := w.role(bin)
		r := appRelease(9, owner)
		r.Target.Length = 1000
		r.Deltas = []repo.AppDelta{{From: owner, Target: repo.Target{Path: repo.DeltaPath("org.example.bank", 9, owner), Length: 1, SHA256: thief}}}
		w.putFile(m, repo.PackagePath(clockApp), repo.Package{Package: clockApp, Releases: []repo.AppRelease{r}})
		w.forge(bin, m, key.Apps)
	}, mios.ErrInvalid},
	{"deltas swapped", func(w *world) {
		bin := w.bin()
		m := w.role(bin)
		r := appRelease(9, owner)
		r.Target.Length = 1000
		r.Deltas = []repo.AppDelta{{From: owner, Target: repo.Target{Path: repo.DeltaPath(clockApp, 9, thief), Length: 1, SHA256: thief}}}
		w.putFile(m, repo.PackagePath(clockApp), repo.Package{Package: clockApp, Releases: []repo.AppRelease{r}})
		w.forge(bin, m, key.Apps)
	}, mios.ErrInvalid},
	{"null keys", func(w *world) {
		m := w.role(repo.RoleApps)
		for id := range m.Signed.Delegations.Keys {
			m.Signed.Delegations.Keys[id] = nil
		}
		w.forge(repo.RoleApps, m, key.Apps)
	}, mios.ErrInvalid},
	{"a short key", func(w *world) {
		m := w.role(repo.RoleApps)
		for id := range m.Signed.Delegations.Keys {
			m.Signed.Delegations.Keys[id] = &metadata.Key{Type: "ed25519", Scheme: "ed25519", Value: metadata.KeyVal{PublicKey: "00"}}
		}
		w.forge(repo.RoleApps, m, key.Apps)
	}, mios.ErrInvalid},
	{"2^99 bins", func(w *world) {
		m := w.role(repo.RoleApps)
		m.Signed.Delegations.SuccinctRoles.BitLength = 99
		w.forge(repo.RoleApps, m, key.Apps)
	}, mios.ErrInvalid},
	{"no bins", func(w *world) {
		m := w.role(repo.RoleApps)
		m.Signed.Delegations = nil
		w.forge(repo.RoleApps, m, key.Apps)
	}, mios.ErrInvalid},
}

func TestStolenAppsKey(t *testing.T) {
	base := newWorld(t)
	files, state := base.saveMirror(), base.saveState()
	for _, tt := range appAttacks {
		t.Run(tt.name, func(t *testing.T) {
			w := base.copy(t, files, state)
			if _, err := w.client.AppRelease(t.Context(), clockApp); err != nil {
				t.Fatal(err)
			}
			tt.attack(w)
			if w.wantRefused != nil {
				if err := w.client.Refresh(t.Context()); !errors.Is(err, w.wantRefused) {
					t.Errorf("Refresh = %v, want %v", err, w.wantRefused)
				}
				return
			}
			w.refresh()
			if r, err := w.client.AppRelease(t.Context(), clockApp); !errors.Is(err, tt.want) {
				t.Errorf("AppRelease = %+v, %v; want %v", r, err, tt.want)
			} else {
				t.Logf("refused: %v", err)
			}
			if r := w.newest(); r.Version != "2" { // the OS is not its business
				t.Errorf("OS release %s, want 2", r.Version)
			}
		})
	}
}

func TestUnclaimedApp(t *testing.T) {
	w := newWorld(t)
	bin := w.claimBin()
	m := w.role(bin)
	clear(m.Signed.UnrecognizedFields)
	w.forge(bin, m, key.Claims)
	w.refresh()
	if _, err := w.client.AppRelease(t.Context(), clockApp); !errors.Is(err, repo.ErrRole) {
		t.Errorf("AppRelease without a claim = %v, want %v", err, repo.ErrRole)
	}
}

// TestCatalogueAttacks: what a mirror changes of listings and the catalogue is
// refused, and so is what the apps key says of another package.
func TestCatalogueAttacks(t *testing.T) {
	base := newWorld(t)
	list := func(pkg string) *repo.Listing {
		return &repo.Listing{Package: pkg, Categories: []string{"Time"}, Locales: map[string]repo.LocaleListing{"en-US": {Name: "Clock"}}}
	}
	publishAs := func(l *repo.Listing) {
		base.must(base.repo.SetApps(t.Context(), publish.App{
			Package: repo.Package{Package: clockApp, Releases: []repo.AppRelease{appRelease(1, owner)}}, Listing: l,
		}))
	}
	long := list(clockApp) // too long to be fresh: it goes into the tree of words
	for i := range 99 {
		long.Locales[fmt.Sprintf("en-A%02d", i)] = repo.LocaleListing{Name: strings.Repeat("Clock ", 120)}
	}
	publishAs(long)
	publishAs(list(clockApp))
	base.sync()
	base.refresh()
	files, state := base.saveMirror(), base.saveState()
	flip := func(folder, ending string) func(w *world) {
		return func(w *world) {
			for name := range w.mirror.files {
				if strings.HasPrefix(name, folder) && strings.HasSuffix(name, ending) {
					w.forger().Flip(name)
				}
			}
		}
	}
	listed := func(name string) func(w *world) {
		return func(w *world) {
			bin := w.bin()
			m := w.role(bin)
			other := metadata.Targets(w.now)
			w.putFile(other, name, list("org.example.bank"))
			f := other.Signed.Targets[name]
			p := repo.Package{Package: clockApp, Releases: []repo.AppRelease{appRelease(1, owner)}}
			p.Listing = &repo.Target{Path: name, Length: f.Length, SHA256: mios.Digest(f.Hashes["sha256"])}
			w.putFile(m, repo.PackagePath(clockApp), p)
			w.forge(bin, m, key.Apps)
			w.refresh()
		}
	}
	listing := func(w *world) error { _, err := w.client.Listing(t.Context(), clockApp); return err }
	search := func(w *world) error { _, err := w.client.Search(t.Context(), "clock", ""); return err }
	page := func(w *world) error { _, err := w.client.Page(t.Context(), "Time", 0, ""); return err }
	for name, tt := range map[string]struct {
		attack func(w *world)
		look   func(w *world) error
		want   error
	}{
		"a changed listing":                 {flip("listings/", ".json"), listing, repo.ErrHash},
		"a changed tree of words":           {flip("catalogue/", ".words.json"), search, repo.ErrHash},
		"changed fresh words":               {flip("catalogue/", ".fresh.json"), search, repo.ErrHash},
		"a changed page":                    {flip("catalogue/", ".page.json"), page, repo.ErrHash},
		"another's listing":                 {listed(repo.ListingPath("org.example.bank")), listing, repo.ErrRole},
		"a listing of another in its place": {listed(repo.ListingPath(clockApp)), listing, repo.ErrRole},
		"an endless listing": {func(w *world) {
			w.mirror.endless = map[string]bool{}
			for name := range w.mirror.files {
				w.mirror.endless[name] = strings.HasPrefix(name, "listings/")
			}
		}, listing, repo.ErrLength},
	} {
		w := base.copy(t, files, state)
		if err := listing(w); err != nil {
			t.Fatal(err)
		}
		w = base.copy(t, files, state)
		tt.attack(w)
		if err := tt.look(w); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
