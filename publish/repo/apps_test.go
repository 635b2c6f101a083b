package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/api/repo"
	publish "mios/publish/repo"
	"mios/storage/tree"
)

// counting counts what is asked of a tree.
type counting struct {
	tree.Tree
	opens, lists int
}

func (c *counting) Open(ctx context.Context, name string) (tree.File, error) {
	c.opens++
	return c.Tree.Open(ctx, name)
}

func (c *counting) List(ctx context.Context, folder string) ([]string, error) {
	c.lists++
	return c.Tree.List(ctx, folder)
}

// fresh returns a device's client that has looked.
func (d *desk) fresh() *repo.Client {
	d.tb.Helper()
	c := d.client(d.repo.Tree())
	if err := c.Refresh(d.tb.Context()); err != nil {
		d.tb.Fatal(err)
	}
	return c
}

// names returns the packages of entries.
func names(list []repo.Entry) string {
	var all []string
	for _, e := range list {
		all = append(all, strings.TrimPrefix(e.Package, "org.example."))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestSetApps(t *testing.T) {
	d := newDeskOf(t, 20, publish.InitOptions{AppBits: 2, ClaimBits: 2})
	ctx := t.Context()
	c := d.fresh()
	if list, err := c.AppReleases(ctx); err != nil || len(list) != 20 {
		t.Errorf("%d apps, %v; want 20", len(list), err)
	}
	// The same again, and with files that nobody can read any more.
	same := app(3, 1)
	same.Files = nil
	if res, err := d.repo.SetApps(ctx, same, app(4, 1)); err != nil || res.Published {
		t.Errorf("SetApps of what is there = %+v, %v; want nothing published", res, err)
	}
	two := app(3, 2)
	two.Package.Releases = append(two.Package.Releases, app(3, 1).Package.Releases...)
	slices.Reverse(two.Package.Releases)
	res := d.must(d.repo.SetApps(ctx, two))
	if len(res.Roles) != 1 || !strings.HasPrefix(res.Roles[0], "apps-") {
		t.Errorf("an app's next version changed the roles %v, want one bin", res.Roles)
	}
	p, err := d.repo.Package(ctx, "org.example.app3")
	if err != nil || len(p.Releases) != 2 || p.Releases[0].Release != 2 || p.Listing == nil || len(p.Pages) != 1 {
		t.Errorf("Package = %+v, %v", p, err)
	}
	d.must(d.repo.RemoveApps(ctx, "org.example.app5", "org.example.unknown"))
	if res, err := d.repo.RemoveApps(ctx, "org.example.app5"); err != nil || res.Published {
		t.Errorf("RemoveApps again = %+v, %v", res, err)
	}
	c = d.fresh()
	if _, err := c.AppRelease(ctx, "org.example.app5"); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("AppRelease of a removed app = %v, want not found", err)
	}
	if found, err := c.Search(ctx, "author5", ""); err != nil || names(found) != "" {
		t.Errorf("Search finds the removed %s, %v", names(found), err)
	}
	if r, err := c.AppOffer(ctx, "org.example.app3", &repo.AppDevice{SDK: 34}, repo.AppInstalled{Release: 1, VersionCode: 1}); err != nil || r.Release != 2 {
		t.Errorf("AppOffer = %v, %v; want release 2", r, err)
	}
}

func TestSetAppsRefuses(t *testing.T) {
	d := newDeskOf(t, 2, publish.InitOptions{AppBits: 1, ClaimBits: 1})
	ctx := t.Context()
	before, n := d.fileNames(), 1
	for name, tt := range map[string]struct {
		change func(a *publish.App)
		want   error
	}{
		"no claim": {func(a *publish.App) { *a = app(7, 2) }, mios.ErrNotFound},
		"another's signer": {func(a *publish.App) {
			a.Package.Releases[0].Signers = []mios.Digest{mios.Sum([]byte("thief"))}
		}, mios.ErrDenied},
		"a signer that nobody handed over to": {func(a *publish.App) {
			a.Package.Releases[0].Signers = []mios.Digest{mios.Sum([]byte("thief"))}
			a.Package.Releases[0].Lineage = []mios.Digest{mios.Sum([]byte("other"))}
		}, mios.ErrDenied},
		"no file": {func(a *publish.App) { a.Files = nil }, mios.ErrNotFound},
		"another file": {func(a *publish.App) {
			a.Files[0].Content = strings.NewReader("something else")
		}, mios.ErrConflict},
		"no release":   {func(a *publish.App) { a.Package.Releases = nil }, mios.ErrInvalid},
		"number twice": {func(a *publish.App) { a.Package.Releases = append(a.Package.Releases, a.Package.Releases[0]) }, mios.ErrInvalid},
		"another package's release": {func(a *publish.App) {
			a.Package.Releases = append(a.Package.Releases, app(0, 9).Package.Releases...)
		}, mios.ErrInvalid},
		"another's listing": {func(a *publish.App) { a.Listing.Package = "org.example.app0" }, mios.ErrInvalid},
		"a listing without text": {func(a *publish.App) {
			a.Listing.Locales = nil
		}, mios.ErrInvalid},
		"a bad category": {func(a *publish.App) { a.Listing.Categories = []string{"../x"} }, mios.ErrInvalid},
		"another's icon": {func(a *publish.App) {
			a.Listing.Locales["en-US"] = repo.LocaleListing{Icon: &repo.Target{Path: repo.ImagePath("org.example.app0", "icon.png"), Length: 1}}
		}, mios.ErrInvalid},
		"an icon that is not there": {func(a *publish.App) {
			a.Listing.Locales["en-US"] = repo.LocaleListing{Icon: &repo.Target{Path: repo.ImagePath("org.example.app1", "icon.png"), Length: 1}}
		}, mios.ErrNotFound},
	} {
		n++
		a := app(1, n)
		tt.change(&a)
		if res, err := d.repo.SetApps(ctx, a); !errors.Is(err, tt.want) {
			t.Errorf("%s: SetApps = %+v, %v; want %v", name, res, err, tt.want)
		}
	}
	if r, err := d.fresh().AppRelease(ctx, "org.example.app1"); err != nil || r.Release != 1 {
		t.Errorf("after refusals release %v, %v", r, err)
	}
	for _, name := range d.fileNames() {
		if !slices.Contains(before, name) {
			t.Errorf("a refusal left %s", name)
		}
	}
}

func (d *desk) fileNames() []string {
	d.tb.Helper()
	list, err := d.repo.Tree().List(d.tb.Context(), ".")
	if err != nil {
		d.tb.Fatal(err)
	}
	return list
}

// TestLineage: an APK whose signer changed, with a proof by the claim's signer, is
// the owner's.
func TestLineage(t *testing.T) {
	d := newDeskOf(t, 1, publish.InitOptions{AppBits: 1, ClaimBits: 1})
	a := app(0, 2)
	a.Package.Releases[0].Signers, a.Package.Releases[0].Lineage = []mios.Digest{mios.Sum([]byte("new"))}, []mios.Digest{owner}
	d.must(d.repo.SetApps(t.Context(), a))
	if r, err := d.fresh().AppRelease(t.Context(), "org.example.app0"); err != nil || r.Release != 2 {
		t.Errorf("AppRelease = %v, %v; want release 2", r, err)
	}
}

// TestCostOfOne: what an app's next version reads of the tree does not depend on
// how many others there are.
func TestCostOfOne(t *testing.T) {
	var opens []int
	for _, n := range []int{10, 80} {
		d := newDeskOf(t, n, publish.InitOptions{AppBits: 3, ClaimBits: 3})
		c := &counting{Tree: d.repo.Tree()}
		r, err := publish.Open(d.dir, publish.WithKeys(d.keys), publish.WithClock(d.clock), publish.WithTree(c))
		if err != nil {
			t.Fatal(err)
		}
		d.must(r.SetApps(t.Context(), app(5, 2)))
		if c.lists != 0 {
			t.Errorf("with %d apps it listed the tree %d times", n, c.lists)
		}
		opens = append(opens, c.opens)
	}
	if opens[0] != opens[1] || opens[0] > 40 {
		t.Errorf("it opened %v files among 10 and 80 apps, want as many, and few", opens)
	}
}

// TestBits gives a repository other numbers of bins, back and forth.
func TestBits(t *testing.T) {
	d := newDeskOf(t, 30, publish.InitOptions{AppBits: 1, ClaimBits: 1})
	ctx := t.Context()
	old := d.fresh()
	for i, bits := range []int{6, 3, 1, 9, 3} {
		d.now = d.now.Add(time.Minute)
		roles := []string{repo.RoleApps, repo.RoleClaims}
		d.must(d.repo.Rotate(ctx, publish.Rotation{Roles: roles, Keys: d.keys, Bits: map[string]int{repo.RoleApps: bits, repo.RoleClaims: bits}}))
		d.setApps(app(30+i, 1))
		d.must(d.repo.RemoveApps(ctx, fmt.Sprintf("org.example.app%d", i)))
		d.must(d.repo.Refresh(ctx))
		if err := old.Refresh(ctx); err != nil {
			t.Fatalf("%d bits: %v", bits, err)
		}
		for _, c := range []*repo.Client{old, d.fresh()} {
			list, err := c.AppReleases(ctx)
			if err != nil || len(list) != 30 {
				t.Errorf("%d bits: %d apps, %v; want 30", bits, len(list), err)
			}
			if found, err := c.Search(ctx, "author7", ""); err != nil || names(found) != "app7" {
				t.Errorf("%d bits: Search = %s, %v", bits, names(found), err)
			}
		}
	}
	if _, err := d.repo.Rotate(ctx, publish.Rotation{Roles: []string{repo.RoleApps}, Keys: d.keys, Bits: map[string]int{repo.RoleApps: 15}}); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Rotate to 2^15 bins = %v", err)
	}
}

// TestChanged: a device learns which of its apps have news, and fetches no bin that
// has not changed.
func TestChanged(t *testing.T) {
	d := newDeskOf(t, 40, publish.InitOptions{AppBits: 5, ClaimBits: 3})
	ctx := t.Context()
	count := &counting{Tree: d.repo.Tree()}
	c := d.client(count)
	look := func(since repo.Seen, pkgs ...string) (string, repo.Seen) {
		t.Helper()
		if err := c.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		list, now, err := c.Changed(ctx, since, pkgs...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(list, " "), now
	}
	mine := []string{"org.example.app1", "org.example.app2", "org.example.none"}
	got, seen := look(nil, mine...)
	if got != "org.example.app1 org.example.app2" {
		t.Errorf("at first %q has changed", got)
	}
	count.opens = 0
	if got, seen = look(seen, mine...); got != "" || count.opens != 2 { // the next root, and the timestamp
		t.Errorf("with nothing new %q has changed, and %d files were asked for", got, count.opens)
	}
	d.must(d.repo.SetApps(ctx, app(2, 2)))
	count.opens = 0
	// the next root, timestamp, snapshot, the bin
	if got, seen = look(seen, mine...); got != "org.example.app2" || count.opens != 4 {
		t.Errorf("%q has changed, want app2; %d files were asked for", got, count.opens)
	}
	d.must(d.repo.RemoveApps(ctx, "org.example.app1"))
	d.setApps(app(99, 1))
	if got, _ = look(seen, append(mine, "org.example.app99")...); got != "org.example.app1 org.example.app99" {
		t.Errorf("%q has changed, want the removed app1 and the new app99", got)
	}
}

// TestCatalogue compares the catalogue with the listings, while they change.
func TestCatalogue(t *testing.T) {
	d := newDeskOf(t, 0, publish.InitOptions{AppBits: 2, ClaimBits: 2})
	ctx := t.Context()
	apps := map[string]publish.App{}
	set := func(list ...publish.App) {
		t.Helper()
		for _, a := range list {
			apps[a.Package.Package] = a
		}
		d.setApps(list...)
	}
	var first []publish.App
	for i := range 110 { // over one page, and over one node of words
		first = append(first, app(i, 1))
	}
	set(first...)
	d.checkCatalogue(apps)
	pages := d.pagesOf()
	change := func(i int, f func(l *repo.Listing)) {
		a := app(i, 1)
		f(a.Listing)
		set(a)
	}
	change(3, func(l *repo.Listing) { l.Locales["en-US"] = repo.LocaleListing{Name: "Zebra", Summary: "stripes"} })
	change(4, func(l *repo.Listing) { l.Categories = []string{"New", "Games"} })
	change(5, func(l *repo.Listing) { l.Categories = nil })
	change(6, func(l *repo.Listing) {
		delete(l.Locales, "de")
		l.Locales["zh-CN"] = repo.LocaleListing{Name: "天气预报"}
	})
	gone := "org.example.app7"
	d.must(d.repo.RemoveApps(ctx, gone))
	delete(apps, gone)
	without := app(8, 1)
	without.Listing = nil
	set(without)
	d.checkCatalogue(apps)
	for pkg, was := range pages {
		if now := d.pagesOf()[pkg]; pkg > "org.example.app8" && !maps.Equal(was, now) {
			t.Errorf("%s went from the pages %v to %v", pkg, was, now)
		}
	}
	c := d.fresh()
	for query, want := range map[string]string{
		"zebra": "app3", "ZÉBRA strip": "app3", "zebra author3": "app3", "zebra author4": "", "天气": "app6", "气预": "app6", "报": "app6",
		"application 10":      "app10 app100 app101 app102 app103 app104 app105 app106 app107 app108 app109",
		"Größte Anwendung 33": "app33", "groSSte 109": "app109", "nothing": "", "application 7": "app70 app71 app72 app73 app74 app75 app76 app77 app78 app79",
	} {
		found, err := c.Search(ctx, query, "de")
		if err != nil || names(found) != want {
			t.Errorf("Search(%q) = %s, %v; want %s", query, names(found), err, want)
		}
	}
	if found, err := c.Search(ctx, "zebra", "de"); err != nil || found[0].Name != "Größte Anwendung 3" {
		t.Errorf("in German Search(zebra) = %+v, %v", found, err)
	}
	if found, err := c.Search(ctx, "app", ""); err != nil || len(found) != repo.MaxFound {
		t.Errorf("Search(app) = %d apps, %v; want %d", len(found), err, repo.MaxFound)
	}
	if _, err := c.Search(ctx, " - ", ""); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Search without a word = %v", err)
	}
	if _, err := c.Page(ctx, "Games", 99, ""); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("a page that is not there = %v", err)
	}
	if l, err := c.Listing(ctx, "org.example.app9"); err != nil || l.In("de-AT").Name != "Größte Anwendung 9" || l.In("fr").Name != "Application 9" {
		t.Errorf("Listing = %+v, %v", l, err)
	}
	if _, err := c.Listing(ctx, "org.example.app8"); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Listing of an app without = %v", err)
	}
	all := slices.Sorted(maps.Keys(apps))
	d.must(d.repo.RemoveApps(ctx, all...))
	d.checkCatalogue(nil)
}

// pagesOf returns the catalogue's pages of each package.
func (d *desk) pagesOf() map[string]map[string]int {
	d.tb.Helper()
	all := map[string]map[string]int{}
	s, err := d.repo.Status(d.tb.Context())
	if err != nil {
		d.tb.Fatal(err)
	}
	for _, a := range s.Apps {
		p, err := d.repo.Package(d.tb.Context(), a.Package)
		if err != nil {
			d.tb.Fatal(err)
		}
		all[a.Package] = p.Pages
	}
	return all
}

// checkCatalogue wants every app in its categories, once, and found by each of its
// words.
func (d *desk) checkCatalogue(apps map[string]publish.App) {
	d.tb.Helper()
	ctx, c := d.tb.Context(), d.fresh()
	want := map[string][]string{}
	for pkg, a := range apps {
		if a.Listing == nil {
			continue
		}
		for _, name := range a.Listing.Categories {
			want[name] = append(want[name], pkg)
		}
	}
	got := map[string][]string{}
	list, err := c.Categories(ctx)
	if err != nil {
		d.tb.Fatal(err)
	}
	for _, cat := range list {
		for n := range cat.Pages {
			page, err := c.Page(ctx, cat.Name, n, "en-US")
			if err != nil || len(page) > repo.PageSize {
				d.tb.Fatalf("page %d of %s: %d apps, %v", n, cat.Name, len(page), err)
			}
			for _, e := range page {
				got[cat.Name] = append(got[cat.Name], e.Package)
				if l := apps[e.Package].Listing; l == nil || e.Name != l.In("en-US").Name || e.Summary != l.In("en-US").Summary {
					d.tb.Errorf("%s: the entry %+v is not its listing's", cat.Name, e)
				}
			}
		}
		if cat.Apps != len(got[cat.Name]) {
			d.tb.Errorf("%s has %d apps, and says %d", cat.Name, len(got[cat.Name]), cat.Apps)
		}
	}
	for _, m := range []map[string][]string{got, want} {
		for name := range m {
			slices.Sort(m[name])
		}
	}
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		d.tb.Errorf("the categories have %v, want %v", got, want)
	}
	for pkg, a := range apps {
		if a.Listing == nil || len(pkg)%3 == 0 {
			continue
		}
		query := a.Listing.In("en-US").Name + " " + a.Listing.Author
		found, err := c.Search(ctx, query, "en-US")
		if err != nil || !slices.ContainsFunc(found, func(e repo.Entry) bool { return e.Package == pkg }) {
			d.tb.Errorf("Search(%q) = %s, %v; want %s", query, names(found), err, pkg)
		}
	}
}
