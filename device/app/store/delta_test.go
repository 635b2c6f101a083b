package store

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/api/repo"
)

// TestBadDelta takes the whole package where its delta is no good, and says so.
func TestBadDelta(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(w *world, d *repo.AppDelta) // of the release
		serve  func(d repo.AppDelta) func(http.Handler) http.Handler
		why    string
	}{
		{"not there", nil, func(d repo.AppDelta) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, ".delta") {
						http.NotFound(rw, r)
						return
					}
					next.ServeHTTP(rw, r)
				})
			}
		}, "404"},
		{"other bytes", nil, func(d repo.AppDelta) func(http.Handler) http.Handler {
			return instead(d.Target.File(), bytes.Repeat([]byte{7}, int(d.Target.Length)))
		}, "SHA-256"},
		{"no delta", func(w *world, d *repo.AppDelta) {
			d.Target = w.target(d.Target.Path, []byte("this is none"))
		}, nil, "apkdelta"},
		{"from another file", func(w *world, d *repo.AppDelta) {
			var r repo.AppRelease
			r.VersionCode = 2
			w.apks[7] = makeAPK(w.t, spec{code: 7})
			w.delta(7)(&r)
			w.files[len(w.files)-1].Target.Path = d.Target.Path
			d.Target = w.files[len(w.files)-1].Target
		}, nil, "apkdelta: delta is from the file"},
		{"to another file", func(w *world, d *repo.AppDelta) {
			var r repo.AppRelease
			r.VersionCode = 7
			w.apks[7] = makeAPK(w.t, spec{code: 7})
			w.delta(1)(&r)
			w.files[len(w.files)-1].Target.Path = d.Target.Path
			d.Target = w.files[len(w.files)-1].Target
		}, nil, "SHA-256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.t = t
			w.release(spec{code: 1}, nil)
			w.install(Installed, "")
			w.apks[2] = makeAPK(t, spec{code: 2})
			two := w.release(spec{code: 2}, func(r *repo.AppRelease) {
				w.delta(1)(r)
				if tt.change != nil {
					tt.change(w, &r.Deltas[0])
				}
			})
			if tt.serve != nil {
				w.tamper(tt.serve(two.Deltas[0]))
			}
			r := w.update(Updated, "")
			if r.Way != Full || !strings.Contains(r.Delta, tt.why) {
				t.Errorf("updated: %+v, want whole, as the delta %q", r, tt.why)
			}
			w.has(2)
			if left := w.parts(); len(left) != 0 {
				t.Errorf("downloads are left: %q", left)
			}
		})
	}
}

// TestBadDeltaOnce: a delta that was no good is not fetched again at the next look,
// nor after a restart, when the whole package did not come either; it is when a
// person asks.
func TestBadDeltaOnce(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{"no delta", "other bytes"} {
		w := newWorld(t)
		w.release(spec{code: 1}, nil)
		w.install(Installed, "")
		w.apks[2] = makeAPK(t, spec{code: 2})
		two := w.release(spec{code: 2}, func(r *repo.AppRelease) {
			w.delta(1)(r)
			if broken == "no delta" {
				r.Deltas[0].Target = w.target(r.Deltas[0].Target.Path, []byte("this is none"))
			}
		})
		whole, delta := two.Target.File(), two.Deltas[0].Target
		off := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch strings.TrimPrefix(r.URL.Path, "/") {
				case whole:
					http.Error(rw, "later", http.StatusServiceUnavailable)
				case delta.File():
					if broken == "other bytes" {
						http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(bytes.Repeat([]byte{7}, int(delta.Length))))
						return
					}
					next.ServeHTTP(rw, r)
				default:
					next.ServeHTTP(rw, r)
				}
			})
		}
		w.tamper(off)
		deltas := func() (n int) {
			for _, a := range w.fetched() {
				if strings.HasPrefix(a, delta.File()) {
					n++
				}
			}
			return n
		}
		w.fetched()
		w.update(Failed, "")
		if deltas() == 0 {
			t.Errorf("%s: the delta was not tried", broken)
		}
		w.update(Failed, "")
		w.boot()
		w.update(Failed, "")
		if n := deltas(); n != 0 {
			t.Errorf("%s: the delta was fetched %d times more", broken, n)
		}
		if sh, err := w.store.Show(t.Context(), pkg, quiet); err != nil || sh.Way != Full {
			t.Errorf("%s: shown %+v, %v; want whole", broken, sh, err)
		}
		if _, err := w.store.Update(t.Context(), []string{pkg}, Options{}, quiet); err != nil {
			t.Fatal(err)
		}
		if deltas() == 0 {
			t.Errorf("%s: the delta was not tried when a person asked", broken)
		}
		w.tamper(nil)
		if r := w.update(Updated, ""); r.Way != Full {
			t.Errorf("%s: updated %+v, want whole", broken, r)
		}
		w.has(2)
	}
}

// TestBadDeltasBounded: what is remembered does not grow without end.
func TestBadDeltasBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 * maxDeltas {
		w.store.badDelta(mios.Sum([]byte(strconv.Itoa(i % (2 * maxDeltas)))))
	}
	newest := mios.Sum([]byte(strconv.Itoa(maxDeltas - 1)))
	if n := len(w.store.state.Deltas); n != maxDeltas || w.store.goodDelta(newest) || !w.store.goodDelta(mios.Sum([]byte("1999"))) {
		t.Errorf("%d deltas are remembered, want %d, the newest of them", n, maxDeltas)
	}
}

// TestForgetDeltas: that a person asked for a delta once more is known after a
// restart, whatever became of what was asked.
func TestForgetDeltas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	again, other := mios.Sum([]byte("again")), mios.Sum([]byte("other"))
	w.store.badDelta(again)
	w.store.badDelta(other)
	w.store.forgetDeltas(&repo.AppRelease{Deltas: []repo.AppDelta{{Target: repo.Target{SHA256: again}}}})
	w.boot()
	if !w.store.goodDelta(again) || w.store.goodDelta(other) {
		t.Errorf("after a restart, deltas that are no good: %v, want %v", w.store.state.Deltas, other)
	}
}
