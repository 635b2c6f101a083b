package fdroid_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"mios"
	"mios/publish/app/fdroid"
	"mios/storage/tree"
	"mios/storage/tree/dir"
)

// merge applies a JSON merge patch (RFC 7396), as the RFC has it.
func merge(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	} else {
		t = maps.Clone(t)
	}
	for name, value := range p {
		if value == nil {
			delete(t, name)
		} else {
			t[name] = merge(t[name], value)
		}
	}
	return t
}

// TestDiffs changes, adds and removes apps again and again: each diff makes the
// newest index of the one that it is for.
func TestDiffs(t *testing.T) {
	t.Parallel()
	tr := dir.New(t.TempDir())
	c := config(t, tr)
	rng := rand.New(rand.NewPCG(1, 2))
	apps := map[int]*fdroid.App{}
	for i := range 100 {
		apps[i] = made(i, 2)
	}
	indexes := map[string]map[string]any{}
	for round := range 14 {
		change(rng, apps, round)
		c.Time = c.Time.Add(time.Hour)
		list := slices.SortedFunc(maps.Values(apps), func(a, b *fdroid.App) int { return compare(a.Package, b.Package) })
		r := publish(t, c, list...)
		e := readEntry(t, tr)
		newest := object(t, e.Index.get(t, tr))
		if want := min(round, 10); r.Diffs != want || len(e.Diffs) != want {
			t.Fatalf("round %d: %d diffs, %d named, want %d", round, r.Diffs, len(e.Diffs), want)
		}
		for from, d := range e.Diffs {
			b := d.get(t, tr)
			patch := object(t, b)
			if got := merge(indexes[from], patch); !reflect.DeepEqual(got, newest) {
				t.Errorf("round %d: the diff from %s does not lead to the newest", round, from)
			}
			packages, _ := patch["packages"].(map[string]any)
			if len(packages) != d.NumPackages || int64(len(b)) > e.Index.Size/2 {
				t.Errorf("round %d: a diff of %d packages says %d, has %d bytes of %d", round, len(packages), d.NumPackages, len(b), e.Index.Size)
			}
		}
		indexes[strconv.FormatInt(e.Timestamp, 10)] = newest
	}
}

// TestOldFiles: what only old entries name stays for an hour, then goes; what
// there is is whole all the time.
func TestOldFiles(t *testing.T) {
	t.Parallel()
	tr := dir.New(t.TempDir())
	c := config(t, tr)
	files := func() int {
		names, err := tr.List(context.Background(), fdroid.Folder)
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	removed, most := 0, 0
	for round := range 26 {
		c.Time = c.Time.Add(10 * time.Minute)
		removed += publish(t, c, some(20+round%3, 1)...).Removed
		if round%5 == 0 {
			checkWhole(t, tr)
		}
		most = max(most, files())
		if round == 15 && removed > 0 {
			t.Errorf("%d files are gone after 50 minutes", removed)
		}
	}
	if left := files(); removed < 30 || left > 19*12 {
		t.Errorf("%d files were removed, %d are left, of %d at most", removed, left, most)
	}
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

// change does something of each kind to a few apps.
func change(rng *rand.Rand, apps map[int]*fdroid.App, round int) {
	ids := slices.Sorted(maps.Keys(apps))
	delete(apps, ids[rng.IntN(len(ids))])
	apps[1000+round] = made(1000+round, 1)
	for range 4 {
		ids = slices.Sorted(maps.Keys(apps))
		a := *apps[ids[rng.IntN(len(ids))]]
		var i int
		fmt.Sscanf(a.Package, "org.example.app%d", &i)
		switch rng.IntN(5) {
		case 0:
			a.Name = fdroid.Text{"fr": "Application"}
		case 1:
			a.Versions = made(i, len(a.Versions)+1).Versions
		case 2:
			a.Icon, a.Categories = nil, []string{fmt.Sprint("Only ", round)}
		case 3:
			a.AntiFeatures = map[string]fdroid.Text{"Ads": {"en-US": "Shows some."}, "Tracking": {}}
		case 4:
			a.Versions = a.Versions[:1]
			a.Phone = fdroid.Screenshots{"en-US": {{Name: "x/1.png", Digest: mios.Sum(nil), Size: 1}}}
		}
		apps[i] = &a
	}
}

// TestNoDiff: where nearly all has changed, clients take the whole; so they do
// where an older index is gone or is not what it was.
func TestNoDiff(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	tr := dir.New(root)
	c := config(t, tr)
	publish(t, c, some(20, 1)...)
	first := readEntry(t, tr).Index
	c.Time = c.Time.Add(time.Hour)
	if r := publish(t, c, some(20, 2)...); r.Diffs != 0 {
		t.Errorf("all apps changed: %d diffs, want none", r.Diffs)
	}
	c.Time = c.Time.Add(time.Hour)
	if r := publish(t, c, some(22, 2)...); r.Diffs != 1 {
		t.Errorf("two apps more: %d diffs, want 1", r.Diffs)
	}
	damage(t, root+"/"+fdroid.Folder+first.Name)
	c.Time = c.Time.Add(time.Hour)
	if r := publish(t, c, append([]*fdroid.App{made(0, 1)}, some(22, 2)[1:]...)...); r.Diffs != 2 {
		t.Errorf("an index that no diff is made from is damaged: %d diffs, want 2", r.Diffs)
	}
	damage(t, root+"/"+fdroid.Folder+readEntry(t, tr).Index.Name)
	c.Time = c.Time.Add(time.Hour)
	changed := some(23, 2)
	changed[7] = made(7, 3)
	if r := publish(t, c, changed...); r.Diffs != 2 {
		t.Errorf("one of three older indexes is damaged: %d diffs, want 2", r.Diffs)
	}
}

// TestOvertaken has several publish at once: those who succeed come one after
// the other, the others say so, and at the end all pointers are one's.
func TestOvertaken(t *testing.T) {
	tr := dir.New(t.TempDir())
	var wg sync.WaitGroup
	var won atomicInt
	for i := range 8 {
		wg.Go(func() {
			c := config(t, tr)
			_, err := fdroid.Publish(context.Background(), c, all(some(20+i, 1)...))
			switch {
			case err == nil:
				won.add()
			case !errors.Is(err, mios.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.n == 0 {
		t.Error("nobody has published")
	}
	checkWhole(t, tr)
}

type atomicInt struct {
	mu sync.Mutex
	n  int
}

func (a *atomicInt) add() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
}

// checkWhole follows every pointer.
func checkWhole(t *testing.T, tr tree.Tree) entryFile {
	t.Helper()
	var e entryFile
	if err := json.Unmarshal(inJAR(t, read(t, tr, "entry.jar"), "entry.json"), &e); err != nil {
		t.Fatal(err)
	}
	index := object(t, e.Index.get(t, tr))
	if got := int64(index["repo"].(map[string]any)["timestamp"].(float64)); got != e.Timestamp {
		t.Errorf("entry.jar is of %d, its index of %d", e.Timestamp, got)
	}
	for _, d := range e.Diffs {
		d.get(t, tr)
	}
	v1 := object(t, inJAR(t, read(t, tr, "index-v1.jar"), "index-v1.json"))
	if len(v1["apps"].([]any)) != len(v1["packages"].(map[string]any)) {
		t.Error("index-v1 has more apps than packages, or less")
	}
	return e
}

// A tornTree stops working before it has moved so many pointers.
type tornTree struct {
	tree.Tree
	left int
}

var errTorn = errors.New("power cut")

func (t *tornTree) Point(ctx context.Context, name string, old, b []byte) error {
	if t.left == 0 {
		return errTorn
	}
	t.left--
	return t.Tree.Point(ctx, name, old, b)
}

// TestTorn cuts the power before each pointer moves: what there is is whole, and
// the next time brings all to the newest.
func TestTorn(t *testing.T) {
	t.Parallel()
	for left := range 5 {
		tr := dir.New(t.TempDir())
		c := config(t, tr)
		publish(t, c, some(20, 1)...)
		before := checkWhole(t, tr)
		c.Time = c.Time.Add(time.Hour)
		c.Tree = &tornTree{tr, left}
		_, err := fdroid.Publish(context.Background(), c, all(some(21, 1)...))
		if (left < 4) != errors.Is(err, errTorn) {
			t.Fatalf("%d pointers: %v", left, err)
		}
		if e := checkWhole(t, tr); left < 4 && e.Timestamp != before.Timestamp {
			t.Errorf("%d pointers: the entry is new, it moves last", left)
		}
		c.Tree = tr
		publish(t, c, some(21, 1)...)
		if e := checkWhole(t, tr); e.Index.NumPackages != 21 {
			t.Errorf("%d pointers: %d packages after the next time, want 21", left, e.Index.NumPackages)
		}
	}
}

// damage changes the middle of a file.
func damage(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 4; i < len(b); i++ {
		b[i] = '!'
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
