package ota

import (
	"strings"
	"testing"
	"time"

	"mios/api/repo"
)

// TestAway has no mirror show the only way within the budget, until a day later: it
// is asked for now and then, what the others would fetch is said, and then it is
// taken.
func TestAway(t *testing.T) {
	const budget = 100 << 10
	var name string
	var file []byte
	choose(t, func(w *world, r *repo.OSRelease) {
		r.Adaptive = nil
		w.device.Update.Budget = budget
		name = r.Deltas[0].Target.File()
		file = w.ways[name]
		delete(w.ways, name)
	}, func(t *testing.T, w *world) {
		back := time.Now().Add(24 * time.Hour)
		looks := 0
		w.boot(func(s Status) bool {
			if s.State == Reporting {
				looks++
				for _, want := range []string{"full", "; delta is not reachable now, and is tried again after", "--unmetered"} {
					if !strings.Contains(s.Error, want) {
						t.Errorf("error is %q, want %q", s.Error, want)
					}
				}
			}
			return time.Now().After(back)
		})
		if looks < 12 || looks > 60 {
			t.Errorf("the device tried %d times in a day, want about once an hour", looks)
		}
		if w.fetched > 20<<10 {
			t.Errorf("fetched %d bytes of nothing", w.fetched)
		}
		w.ways[name] = file
		w.updated(w.until(installed))
		if w.fetched > budget {
			t.Errorf("fetched %d bytes of a budget of %d", w.fetched, budget)
		}
	})
}

// TestAwayMeanwhile has the delta come back while the next cheapest way is taken,
// whose mirror fails: the delta is taken then.
func TestAwayMeanwhile(t *testing.T) {
	choose(t, nil, func(t *testing.T, w *world) {
		d := w.release.Deltas[0].Target.File()
		file := w.ways[d]
		delete(w.ways, d)
		w.broken = w.release.Adaptive.Pack.File()
		looks := 0
		w.boot(func(s Status) bool {
			if s.State == Reporting {
				looks++
				if s.Update.Way != Adaptive || !strings.Contains(s.Update.Why, "; delta is not reachable now") {
					t.Errorf("the way is %s: %s", s.Update.Way, s.Update.Why)
				}
			}
			return looks == 2
		})
		w.ways[d] = file
		time.Sleep(time.Hour)
		var last *Progress
		w.updated(w.until(func(s Status) bool {
			if s.Update != nil && s.Version == "1" {
				last = s.Update
			}
			return installed(s)
		}))
		if last.Way != Delta || strings.Contains(last.Why, "not reachable") {
			t.Errorf("the way was %s: %s, want the delta, which is there again", last.Way, last.Why)
		}
	})
}

// TestFullAway has no mirror show the full payload after its metadata.
func TestFullAway(t *testing.T) {
	choose(t, func(w *world, r *repo.OSRelease) {
		r.Deltas, r.Adaptive = nil, nil
	}, func(t *testing.T, w *world) {
		whole := w.payload
		w.breakAt = int64(len(whole)) * 9 / 10 // behind the first operation
		w.boot(func(s Status) bool { return s.State == Reporting })
		w.payload = nil
		w.boot(func(s Status) bool { return s.State == Reporting })
		if !strings.Contains(w.status.Error, "no way to it is open now; full is not reachable now") {
			t.Fatalf("the device says %q", w.status.Error)
		}
		before := w.fetched
		w.payload, w.breakAt = whole, 0
		w.updated(w.until(installed))
		if all := w.fetched - before; all > int64(len(whole))/2 {
			t.Errorf("fetched %d bytes after nine tenths of %d were there", all, len(whole))
		}
	})
}

// TestWeighedAgain resumes updates whose ways have changed since: a way that has
// become cheaper is taken, what is in the slot is not fetched again.
func TestWeighedAgain(t *testing.T) {
	for _, tt := range []struct {
		name        string
		first, then Way
		edit, later func(r, all *repo.OSRelease)
		max         int64
	}{
		{"chunks are published while the payload is fetched", Full, Adaptive,
			func(r, _ *repo.OSRelease) { r.Deltas, r.Adaptive = nil, nil },
			func(r, all *repo.OSRelease) { r.Adaptive = all.Adaptive }, 400 << 10},
		{"a delta is published while the payload is fetched", Full, Delta,
			func(r, _ *repo.OSRelease) { r.Deltas, r.Adaptive = nil, nil },
			func(r, all *repo.OSRelease) { r.Deltas = all.Deltas }, 100 << 10},
		{"the delta is taken back while it is fetched", Delta, Adaptive,
			func(_, _ *repo.OSRelease) {},
			func(r, _ *repo.OSRelease) { r.Deltas = nil }, 400 << 10},
		{"nothing changes", Adaptive, Adaptive,
			func(r, _ *repo.OSRelease) { r.Deltas = nil },
			func(_, _ *repo.OSRelease) {}, 300 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			choose(t, func(_ *world, r *repo.OSRelease) { tt.edit(r, nearRelease().rel) }, func(t *testing.T, w *world) {
				w.breakAt = 24 << 10
				var ways []Way
				end := func(s Status) bool {
					if u := s.Update; u != nil && s.Version == "1" && u.Way != "" && (len(ways) == 0 || ways[len(ways)-1] != u.Way) {
						ways = append(ways, u.Way)
					}
					return s.State == Reporting && len(ways) > 0
				}
				w.boot(end)
				tt.later(w.release, nearRelease().rel)
				before := w.fetched
				w.breakAt = 0
				w.updated(w.until(func(s Status) bool { end(s); return installed(s) }))
				if ways[0] != tt.first || ways[len(ways)-1] != tt.then {
					t.Errorf("the ways were %v, want %s and then %s", ways, tt.first, tt.then)
				}
				if n := w.fetched - before; n > tt.max {
					t.Errorf("fetched %d bytes after the start, want at most %d", n, tt.max)
				}
			})
		})
	}
}
