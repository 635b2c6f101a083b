package repo_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"mios/api/repo"
	publish "mios/publish/repo"
)

// TestFresh changes apps one by one, until those that are fresh went into the tree of
// words several times, and looks for all after each change.
func TestFresh(t *testing.T) {
	d := newDeskOf(t, 0, publish.InitOptions{AppBits: 1, ClaimBits: 1})
	ctx := t.Context()
	names := map[string]string{} // by package
	set := func(i int, name, author string) {
		a := app(i, 1)
		a.Listing.Author = author
		a.Listing.Locales = map[string]repo.LocaleListing{"en-US": {Name: name}}
		d.setApps(a)
		names[a.Package.Package] = name
	}
	folded, files := 0, 0
	for step := range 4 * repo.MaxFresh {
		i := step % 70
		switch {
		case step%9 == 7: // one that is fresh, or in the tree, or in both
			pkg := slices.Sorted(maps.Keys(names))[step%len(names)]
			d.must(d.repo.RemoveApps(ctx, pkg))
			delete(names, pkg)
		case step%3 == 2:
			set(max(i-1, 0), fmt.Sprintf("Name%d again", step), "Somebody")
		default:
			set(i, fmt.Sprintf("Name%d", step), "Author")
		}
		if now := countFiles(d, ".fresh.json"); now == files {
			folded++ // no new file says what is fresh, so nothing is
		} else {
			files = now
		}
		c := d.fresh()
		for _, author := range []string{"author", "somebody"} {
			var want []string
			for pkg, name := range names {
				if strings.HasSuffix(name, "again") == (author == "somebody") {
					want = append(want, pkg+" "+name)
				}
			}
			found, err := c.Search(ctx, author, "")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range found {
				got = append(got, e.Package+" "+e.Name)
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("step %d: Search(%s) = %q, want %q", step, author, got, want)
			}
		}
	}
	if folded < 2 {
		t.Errorf("what was fresh went into the tree %d times, want 2 or more", folded)
	}
	d.must(d.repo.RemoveApps(ctx, slices.Collect(maps.Keys(names))...))
	if found, err := d.fresh().Search(ctx, "author", ""); err != nil || len(found) > 0 {
		t.Errorf("all are gone, and Search finds %v, %v", found, err)
	}
}

func countFiles(d *desk, ending string) (n int) {
	d.tb.Helper()
	for _, name := range d.fileNames() {
		if strings.HasSuffix(name, ending) {
			n++
		}
	}
	return n
}

// TestNewAppFiles: a new app writes as many files among 600 as among 40.
func TestNewAppFiles(t *testing.T) {
	var wrote []int
	for _, n := range []int{40, 600} {
		d := newDeskOf(t, 0, publish.InitOptions{AppBits: 2, ClaimBits: 2})
		var apps []publish.App
		for i := range n {
			apps = append(apps, app(i, 1))
		}
		d.setApps(apps...)
		a := app(n+1, 1)
		a.Listing.Categories = []string{"Mine"} // pages of others may be full
		d.must(d.repo.Claim(t.Context(), repo.Claim{Package: a.Package.Package, Signers: a.Package.Releases[0].Signers}))
		before := len(d.fileNames())
		d.must(d.repo.SetApps(t.Context(), a))
		wrote = append(wrote, len(d.fileNames())-before)
	}
	if wrote[0] != wrote[1] || wrote[0] > 14 {
		t.Errorf("a new app wrote %d and %d files, want the same number, at most 14", wrote[0], wrote[1])
	}
}
