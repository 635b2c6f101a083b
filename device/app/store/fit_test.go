package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mios/api/repo"
	"mios/device/app"
)

// TestBudget waits for the next period with what nobody asked for.
func TestBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now()
	w.now = func() time.Time { return now }
	w.budget = 300_000
	w.boot()
	w.release(spec{code: 1}, nil)
	w.install(Installed, "") // by a person: it counts
	two := w.release(spec{code: 2}, nil)
	w.fetched()
	r := w.update(Waits, "are left until")
	if !strings.Contains(r.Why, "store update --unmetered "+pkg) {
		t.Errorf("waits: %q", r.Why)
	}
	w.boot()
	w.update(Waits, "")
	if got := w.fetched(); len(got) != 0 {
		t.Errorf("fetched %q", got)
	}
	if rep := w.store.Report(); rep.Data.Spent < two.Target.Length || rep.Data.Budget != w.budget || !strings.Contains(rep.String(), " waits v1 (1) -> v2 (2), full, ") {
		t.Errorf("report\n%s", rep)
	}
	list, err := w.store.Update(t.Context(), []string{pkg}, Options{Unmetered: true}, quiet)
	if err != nil || list[0].Outcome != Updated {
		t.Errorf("unmetered = %v, %v", list, err)
	}
	w.release(spec{code: 3}, nil)
	w.update(Waits, "")
	now = now.Add(31 * 24 * time.Hour)
	w.update(Updated, "")
	w.has(3)
}

// TestSpace refuses what does not fit before it is fetched.
func TestSpace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.change = func(c *Config) { c.Free = func() (int64, error) { return 100_000, nil } }
	w.boot()
	w.release(spec{code: 1}, nil)
	w.fetched()
	if r := w.install(Failed, "uninstall something"); r.Code != app.CodeStorage {
		t.Errorf("no space: %+v", r)
	}
	if got := w.fetched(); len(got) != 0 {
		t.Errorf("fetched %q", got)
	}
}

// TestSplits installs those that fit.
func TestSplits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.change = func(c *Config) { c.Locales = []string{"de-CH"} }
	w.boot()
	split := func(name string) repo.Split {
		b := makeAPK(t, spec{code: 1, split: name})
		return repo.Split{Name: name, Target: w.target(repo.SplitPath(pkg, 1, name), b)}
	}
	w.release(spec{code: 1}, func(r *repo.AppRelease) {
		arm, x86, de, fr, feature := split("config.arm64_v8a"), split("config.x86_64"), split("config.de"), split("config.fr"), split("camera")
		arm.ABI, x86.ABI, de.Locale, fr.Locale = "arm64-v8a", "x86_64", "de", "fr"
		r.Splits = []repo.Split{arm, x86, de, fr, feature}
	})
	w.install(Installed, "")
	if st := w.has(1); !slices.Equal(st.Splits, []string{"config.x86_64", "config.de", "camera"}) {
		t.Errorf("splits %q", st.Splits)
	}
	if got := w.fetched(); len(got) != 4 {
		t.Errorf("fetched %q", got)
	}
	if left := w.parts(); len(left) != 0 {
		t.Errorf("downloads are left: %q", left)
	}
}

func TestFitting(t *testing.T) {
	rel := &repo.AppRelease{Package: pkg, Splits: []repo.Split{
		{Name: "config.x86_64", ABI: "x86_64"}, {Name: "config.x86", ABI: "x86"}, {Name: "config.hdpi", Density: "240"}, {Name: "config.xxhdpi", Density: "480"},
		{Name: "config.de", Locale: "de"}, {Name: "config.en", Locale: "en"}, {Name: "cam"}, {Name: "cam.config.x86", ABI: "x86"}, {Name: "cam.config.de", Locale: "de"},
	}}
	for _, tt := range []struct {
		cfg  Config
		want string // "": refused
	}{
		{Config{Device: repo.AppDevice{ABIs: []string{"x86_64", "x86"}}, Density: 440, Locales: []string{"de-DE"}},
			"config.x86_64 config.xxhdpi config.de cam cam.config.x86 cam.config.de"},
		{Config{Device: repo.AppDevice{ABIs: []string{"x86"}}, Density: 160}, "config.x86 config.hdpi cam cam.config.x86"},
		{Config{Device: repo.AppDevice{ABIs: []string{"arm64-v8a"}}}, ""},
	} {
		list, err := tt.cfg.fitting(rel)
		var names []string
		for _, s := range list {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%+v: %q, %v; want %q", tt.cfg, got, err, tt.want)
		}
	}
}
