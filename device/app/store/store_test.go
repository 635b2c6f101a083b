package store

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mios"
	"mios/api/repo"
	"mios/device/app"
	"mios/format/apksig"
)

// TestLife takes an app through all that can become of it.
func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.release(spec{code: 1}, nil)
	found, err := w.store.Search(t.Context(), "tee", quiet)
	if err != nil || len(found.Apps) != 1 || found.Apps[0].Package != pkg || found.More {
		t.Errorf("Search = %+v, %v", found, err)
	}
	sh, err := w.store.Show(t.Context(), pkg, quiet)
	if err != nil || sh.Text == nil || sh.Text.Name != "Tee Time" || sh.Release == nil || sh.Fetch != one.Target.Length || sh.Installed != nil {
		t.Errorf("Show = %+v, %v", sh, err)
	}
	var steps []string
	r, err := w.store.Install(t.Context(), pkg, func(p Progress) {
		if len(steps) == 0 || steps[len(steps)-1] != p.Step {
			steps = append(steps, p.Step)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w.check(r, Installed, "")
	if want := []string{Looking, Fetching, Installing}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	st := w.has(1)
	if st.Installer != app.StoreInstaller || st.Release != 1 {
		t.Errorf("installed: %+v", st)
	}
	data := filepath.Join(st.DataDir, "file")
	if err := os.WriteFile(data, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.update(Current, "version 1")
	w.install(Current, "version 1")
	w.fetched()

	w.apks[2] = makeAPK(t, spec{code: 2})
	two := w.release(spec{code: 2}, w.delta(1))
	if r := w.update(Updated, ""); r.Way != Delta || r.Fetched != two.Deltas[0].Target.Length || r.Fetched*2 > two.Target.Length || r.From != 1 || r.To != 2 {
		t.Errorf("updated: %+v, want by a delta of %d bytes for %d", r, two.Deltas[0].Target.Length, two.Target.Length)
	}
	if got := w.fetched(); len(got) != 1 || !strings.HasPrefix(got[0], two.Deltas[0].Target.File()) {
		t.Errorf("fetched %q, want the delta alone", got)
	}
	w.has(2)
	three := w.release(spec{code: 3}, nil)
	if r := w.update(Updated, ""); r.Way != Full || r.Fetched != three.Target.Length {
		t.Errorf("updated: %+v, want whole", r)
	}
	w.has(3)
	w.fetched()

	// The developer releases version 2 again: devices go down to it.
	w.release(spec{code: 2}, func(r *repo.AppRelease) { r.Rollback = true })
	if r := w.update(Lowered, "released this older version again"); r.From != 3 || r.To != 2 {
		t.Errorf("lowered: %+v", r)
	}
	if st := w.has(2); st.Release != 4 {
		t.Errorf("lowered to %+v", st)
	}
	if b, err := os.ReadFile(data); string(b) != "kept" {
		t.Errorf("the app's data is %q, %v", b, err)
	}
	w.update(Current, "")
	w.fetched()

	// What is halted, for others, or an older version without that word, stays away.
	w.release(spec{code: 4}, func(r *repo.AppRelease) { r.Halted = true })
	w.update(Current, "is halted")
	w.releases[4].Halted = false
	w.releases[4].Regions = []string{"FR"}
	w.publish()
	w.update(Current, "is for FR, and this device is in DE")
	w.release(spec{code: 1}, nil)
	w.update(Current, "version code 1, and 2 is installed")
	if got := w.fetched(); len(got) != 0 {
		t.Errorf("fetched %q, want nothing", got)
	}
	w.releases[4].Regions = nil
	w.publish()
	w.update(Updated, "")
	w.has(4)
	if left := w.parts(); len(left) != 0 {
		t.Errorf("downloads are left: %q", left)
	}
}

// TestUnseen: of an app for another region nobody hears on this device.
func TestUnseen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(spec{code: 1}, func(r *repo.AppRelease) { r.Regions = []string{"FR"} })
	if found, err := w.store.Search(t.Context(), "tee", quiet); err != nil || len(found.Apps) != 0 {
		t.Errorf("Search = %+v, %v", found, err)
	}
	if sh, err := w.store.Show(t.Context(), pkg, quiet); err == nil || !strings.Contains(err.Error(), "no release of it for this device") {
		t.Errorf("Show = %+v, %v", sh, err)
	}
	w.install(Refused, "is for FR, and this device is in DE")
	w.has(0)
	w.releases[0].Regions = []string{"FR", "DE"}
	w.publish()
	if found, err := w.store.Search(t.Context(), "tee", quiet); err != nil || len(found.Apps) != 1 {
		t.Errorf("Search = %+v, %v", found, err)
	}
	w.install(Installed, "")
}

// TestWithdrawn leaves a version that was taken back for good.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(spec{code: 1}, nil)
	w.release(spec{code: 2}, nil)
	w.install(Installed, "")
	w.has(2)
	w.releases[1].Withdrawn = true
	w.publish()
	w.update(Lowered, "withdrew the newer version")
	w.has(1)
}

// TestSigners: a new signer is taken with a lineage and refused without, before
// anything is fetched, and after it where the repository lied.
func TestSigners(t *testing.T) {
	t.Parallel()
	lineage, err := apksig.NewLineage(signers()[0], apksig.DefaultCapabilities, signers()[1], apksig.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.release(spec{code: 1}, nil)
	w.install(Installed, "")
	if _, err := w.repo.Claim(t.Context(), repo.Claim{Package: pkg, Signers: []mios.Digest{digest(signers()[0]), digest(signers()[1])}}); err != nil {
		t.Fatal(err)
	}
	w.fetched()
	w.release(spec{code: 2, signer: 1}, nil)
	if r := w.update(Refused, "this is a new app to the device; uninstall it first, with its data, if you trust the new signer"); r.Code != app.CodeIncompatible {
		t.Errorf("refused: %+v", r)
	}
	if got := w.fetched(); len(got) != 0 {
		t.Errorf("fetched %q to refuse it", got)
	}
	// It says that there is a lineage, and there is none.
	w.releases[1].Lineage = []mios.Digest{digest(signers()[0])}
	w.publish()
	for i := range 3 {
		w.update(Refused, "this is a new app to the device")
		if got := w.fetched(); len(got) != max(0, 1-i) {
			t.Errorf("time %d: fetched %q, want it once", i, got)
		}
		w.boot()
	}
	w.install(Refused, "this is a new app to the device") // who insists is told again
	if got := w.fetched(); len(got) != 1 {
		t.Errorf("fetched %q for who insists", got)
	}
	w.has(1)
	if left := w.parts(); len(left) != 0 {
		t.Errorf("downloads are left: %q", left)
	}
	w.release(spec{code: 3, signer: 1, lineage: lineage}, nil)
	w.update(Updated, "")
	w.has(3)
}

// TestPromise refuses what is not what the repository says of it.
func TestPromise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(w *world, r *repo.AppRelease)
		why    string
	}{
		{"another version", func(w *world, r *repo.AppRelease) {
			r.Target = w.target(r.Target.Path, makeAPK(t, spec{code: 9}))
		}, "the repository promised"},
		{"another package", func(w *world, r *repo.AppRelease) {
			r.Target = w.target(r.Target.Path, makeAPK(t, spec{code: 1, pkg: "org.other"}))
		}, "the repository promised"},
		{"no package", func(w *world, r *repo.AppRelease) {
			r.Target = w.target(r.Target.Path, []byte("this is no package, and long enough to look like one"))
		}, "not a ZIP file"},
		{"another signer", func(w *world, r *repo.AppRelease) {
			r.Target = w.target(r.Target.Path, makeAPK(t, spec{code: 1, signer: 1}))
		}, "the repository promised"},
		{"a signature that does not verify", func(w *world, r *repo.AppRelease) {
			b := makeAPK(t, spec{code: 1})
			b[1000] ^= 1
			r.Target = w.target(r.Target.Path, b)
		}, "DID_NOT_VERIFY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.t = t
			w.release(spec{code: 1}, func(r *repo.AppRelease) { tt.change(w, r) })
			w.install(Refused, tt.why)
			w.has(0)
			if left := w.parts(); len(left) != 0 {
				t.Errorf("downloads are left: %q", left)
			}
		})
	}
}

// TestBreaks breaks the line twenty times, with a restart in between: nothing is
// fetched twice.
func TestBreaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.release(spec{code: 1}, nil)
	step := one.Target.Length / 25
	w.tamper(breaking(one.Target.File(), step))
	w.fetched()
	for i := range 20 {
		r := w.install(Failed, "")
		if r.Fetched == 0 {
			t.Fatalf("break %d: %+v", i, r)
		}
		w.has(0)
		w.boot()
	}
	w.tamper(nil)
	w.install(Installed, "")
	w.has(1)
	var next int64
	for _, a := range w.fetched() {
		var from, to int64
		if _, err := fmt.Sscanf(a[strings.Index(a, "@"):], "@bytes=%d-%d", &from, &to); err != nil {
			t.Fatalf("asked for %s: %v", a, err)
		}
		if from < next {
			t.Errorf("asked for %s again, and there were %d bytes", a, next)
		}
		next = from
	}
	if u := w.store.cfg.Meter.Usage().Spent; u < one.Target.Length || u > one.Target.Length+400_000 {
		t.Errorf("%d bytes were counted for %d", u, one.Target.Length)
	}
	if left := w.parts(); len(left) != 0 {
		t.Errorf("downloads are left: %q", left)
	}
}

// TestSuperseded removes what came of a release when there is a newer one.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.release(spec{code: 1}, nil)
	w.tamper(breaking(one.Target.File(), 50_000))
	w.install(Failed, "")
	if left := w.parts(); len(left) != 1 || !strings.HasPrefix(left[0], one.Target.SHA256.String()) {
		t.Errorf("downloads %q, want the part of version 1", left)
	}
	two := w.release(spec{code: 2}, nil)
	w.tamper(breaking(two.Target.File(), 50_000))
	w.install(Failed, "")
	if left := w.parts(); len(left) != 1 || !strings.HasPrefix(left[0], two.Target.SHA256.String()) {
		t.Errorf("downloads %q, want the part of version 2", left)
	}
}

// TestMirrors goes on to the next mirror when one has wrong bytes, and begins with
// that after a restart.
func TestMirrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := newWorld(t) // its own server, in front of the same repository
	one := w.release(spec{code: 1}, nil)
	bad := bytes.Clone(w.apks[1])
	bad[len(bad)/2] ^= 1
	var lied atomic.Int32
	other.tamper(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.TrimPrefix(r.URL.Path, "/") == one.Target.File() {
				lied.Add(1)
				http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(bad))
				return
			}
			http.Redirect(rw, r, w.server.URL+r.URL.Path, http.StatusFound)
		})
	})
	w.mirrors = []string{other.server.URL, w.server.URL}
	w.boot()
	w.install(Installed, "")
	w.has(1)
	if n := lied.Load(); n != 1 {
		t.Errorf("the mirror that lies was asked %d times, want once", n)
	}
	w.boot()
	other.mu.Lock()
	other.asked = nil
	other.mu.Unlock()
	w.update(Current, "")
	other.mu.Lock()
	defer other.mu.Unlock()
	// A root that one mirror has not may be on another.
	if asked := slices.DeleteFunc(other.asked, func(name string) bool { return strings.HasSuffix(name, ".root.json@") }); len(asked) != 0 {
		t.Errorf("after a restart the mirror that lies is asked for %q", asked)
	}
}

// TestOwner touches only what the store brought.
func TestOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(spec{code: 1}, nil)
	w.release(spec{code: 2}, nil)
	if _, err := w.manager.Install(t.Context(), bytes.NewReader(w.apks[1]), int64(len(w.apks[1])), app.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	w.update(Foreign, "came as a file, and is left alone")
	list, err := w.store.Update(t.Context(), []string{pkg}, Options{Unmetered: true}, quiet)
	if err != nil || list[0].Outcome != Foreign {
		t.Errorf("update by name = %v, %v", list, err)
	}
	w.has(1)
	w.install(Updated, "") // handed over
	if st := w.has(2); st.Installer != app.StoreInstaller {
		t.Errorf("handed over: %+v", st)
	}
	// The newest version came as a file: the store takes over what is the same.
	if _, err := w.manager.Install(t.Context(), bytes.NewReader(w.apks[2]), int64(len(w.apks[2])), app.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	w.update(Foreign, "")
	w.install(Current, "")
	if st := w.has(2); st.Installer != app.StoreInstaller {
		t.Errorf("handed over: %+v", st)
	}
	// What the repository has not, the store does not take over.
	other := makeAPK(t, spec{pkg: "org.example.other", code: 1})
	if _, err := w.manager.Install(t.Context(), bytes.NewReader(other), int64(len(other)), app.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	if r, err := w.store.Install(t.Context(), "org.example.other", quiet); err == nil || !strings.Contains(err.Error(), "it came as a file, and stays so: ") {
		t.Errorf("Install of what the repository has not = %v, %v", r, err)
	}
	if st, err := w.manager.Get("org.example.other"); err != nil || st.Installer != "" {
		t.Errorf("handed over: %+v, %v", st, err)
	}
	if err := w.manager.Uninstall(t.Context(), "org.example.other", false); err != nil {
		t.Fatal(err)
	}
	// A file that is newer than all of the repository is not lowered, whatever is
	// released again.
	nine := makeAPK(t, spec{code: 9})
	w.apks[9] = nine
	if _, err := w.manager.Install(t.Context(), bytes.NewReader(nine), int64(len(nine)), app.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	w.release(spec{code: 1}, func(r *repo.AppRelease) { r.Rollback = true })
	w.install(Refused, "version 9 is installed, which is newer than 1")
	w.has(9)
	if err := w.manager.Uninstall(t.Context(), pkg, false); err != nil {
		t.Fatal(err)
	}
	if list, err := w.store.Update(t.Context(), nil, Options{}, quiet); err != nil || len(list) != 0 {
		t.Errorf("update of nothing = %v, %v", list, err)
	}
	if rep := w.store.Report(); len(rep.Apps) != 0 {
		t.Errorf("the report still tells of %v", rep.Apps)
	}
	list, err = w.store.Update(t.Context(), []string{pkg}, Options{}, quiet)
	if err != nil || list[0].Code != app.CodeNotInstalled {
		t.Errorf("update of what is gone = %v, %v", list, err)
	}
	w.has(0)
	for _, bad := range []string{"", "../x", "nodots"} {
		if _, err := w.store.Install(t.Context(), bad, quiet); err == nil {
			t.Errorf("Install(%q) is accepted", bad)
		}
		if _, err := w.store.Show(t.Context(), bad, quiet); err == nil {
			t.Errorf("Show(%q) is accepted", bad)
		}
		if _, err := w.store.Update(t.Context(), []string{bad}, Options{}, quiet); err == nil {
			t.Errorf("Update(%q) is accepted", bad)
		}
	}
}
