package repo_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/key"
)

// TestGoTUFRepository: the client follows a repository all of whose metadata
// another implementation wrote and signed.
func TestGoTUFRepository(t *testing.T) {
	w := newWorld(t)
	root := read[metadata.RootType](w, "1.root.json")
	root.Signed.Version++
	write(w, "2.root.json", root, key.Root)
	signers := map[string]string{
		metadata.TARGETS: key.Targets, "os-iot": key.OS, repo.RoleRollout: key.Rollout, repo.RoleClaims: key.Claims,
		repo.RoleApps: key.Apps, w.bin(): key.Apps, w.claimBin(): key.Claims,
	}
	for role, signer := range signers {
		w.forge(role, w.role(role), signer)
	}
	w.mirror.gets = nil
	w.refresh()
	if r := w.newest(); r.Version != "2" {
		t.Errorf("release %s, want 2", r.Version)
	}
	if r, err := w.client.AppRelease(t.Context(), clockApp); err != nil || r.VersionCode != 1 {
		t.Errorf("AppRelease = %+v, %v; want version 1", r, err)
	}
	got := map[string]bool{}
	for _, name := range w.mirror.gets {
		got[name] = true
	}
	want := []string{"metadata/2.root.json", "metadata/timestamp.json", w.nameOf(metadata.SNAPSHOT)}
	for role := range signers {
		want = append(want, w.nameOf(role))
	}
	for _, name := range want {
		if !got[name] {
			t.Errorf("the client did not read %s, which go-tuf wrote", name)
		}
	}
}

// TestNull: a thief of the os keys, or whoever made a mistake with them, cannot
// stop a device. go-tuf itself panics when it reads such a file.
func TestNull(t *testing.T) {
	w := newWorld(t)
	m, err := tuf.Parse[tuf.Targets](w.mirror.files[w.nameOf("os-iot")])
	if err != nil {
		t.Fatal(err)
	}
	m.Signed.Version++
	m.Signed.Targets["os/iot/amd64/9-9/payload.bin"] = nil
	signers, err := w.keys.Signers(key.OS)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		if err := tuf.Sign(m, s); err != nil {
			t.Fatal(err)
		}
	}
	b, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	w.mirror.files[fmt.Sprintf("metadata/%d.os-iot.json", m.Signed.Version)] = b
	_, snap := w.current()
	snap.Signed.Meta["os-iot.json"] = metaFile(m.Signed.Version, b)
	w.forgeSnapshot(snap)
	if err := w.client.Refresh(t.Context()); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Refresh with a null release = %v, want %v", err, mios.ErrInvalid)
	}
	if r := w.newest(); r.Version != "2" {
		t.Errorf("afterwards release %s, want 2", r.Version)
	}
}
