package ota

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"mios"
	"mios/api/repo"
	"mios/build/ota/delta"
	"mios/format/avb"
	"mios/format/chunks"
	"mios/format/payload"
)

// near is a release that differs from one in a few places.
var near = sync.OnceValue(func() *build { return newBuild("2", 2000, func(b *build) { b.like = one() }) })

// A choice is a release with all its ways.
type choice struct {
	rel     *repo.OSRelease
	payload []byte
	ways    map[string][]byte
}

var nearRelease = sync.OnceValue(func() *choice { return choiceOf(near(), one()) })

// choiceOf makes a release, with a delta from another build.
func choiceOf(b, from *build) *choice {
	rel, p := b.release()
	c := &choice{rel, p, map[string][]byte{}}
	add := func(name string, b []byte) repo.Target {
		t := repo.Target{Path: "os/iot/" + name, Length: int64(len(b)), SHA256: mios.Sum(b)}
		c.ways[t.File()] = b
		return t
	}
	vbmeta := mios.Sum(from.images["vbmeta"])
	rel.Deltas = []repo.Delta{{Target: add(repo.DeltaFile(vbmeta), b.delta(from, b.time)), From: vbmeta, FromSize: vbmetaSize}}
	index, pack, size := b.chunks()
	rel.Adaptive = &repo.Adaptive{Index: add(chunks.IndexFile, index), Pack: add(chunks.PackFile, pack), Root: mios.Sum(index[:size]), RootSize: size}
	return c
}

// delta returns the payload from another build.
func (b *build) delta(from *build, time int64) []byte {
	d := delta.Delta{Header: payload.Manifest{MinorVersion: delta.MaxMinor, MaxTimestamp: time}, Signers: []crypto.Signer{b.otaKey}, Workers: 1}
	for _, name := range []string{"system", "boot", "vbmeta"} {
		image := func(b *build) delta.Image {
			return delta.Image{ReaderAt: bytes.NewReader(b.images[name]), Size: int64(len(b.images[name]))}
		}
		d.Partitions = append(d.Partitions, delta.Partition{Header: payload.Partition{Name: name}, Old: image(from), New: image(b)})
	}
	f := must(os.CreateTemp("", "spool"))
	defer os.Remove(f.Name())
	defer f.Close()
	var out bytes.Buffer
	if _, _, err := d.Write(context.Background(), &out, f); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// chunks returns the build's index, its pack, and how long the index's root is.
func (b *build) chunks() (index, pack []byte, root int64) {
	var images []chunks.Image
	for _, name := range []string{"system", "boot", "vbmeta"} {
		im := chunks.Image{Name: name, Content: bytes.NewReader(b.images[name]), Size: int64(len(b.images[name]))}
		if name == "system" {
			im.Areas = chunks.AreasOf(&avb.HashtreeDescriptor{ImageSize: systemData, TreeOffset: systemData,
				TreeSize: uint64(must(avb.HashtreeSize(systemData, "sha256"))), HashAlgorithm: "sha256"})
		}
		images = append(images, im)
	}
	var out bytes.Buffer
	r, index, err := chunks.Writer{}.Write(context.Background(), &out, images)
	if err != nil {
		panic(err)
	}
	return index, out.Bytes(), int64(len(must(r.Bytes())))
}

// choose is a bubble with a release that has all the ways; edit may spoil it.
func choose(t *testing.T, edit func(w *world, r *repo.OSRelease), f func(t *testing.T, w *world)) {
	t.Helper()
	c := nearRelease()
	bubble(t, func(t *testing.T, w *world) {
		r := *c.rel
		r.Deltas = append([]repo.Delta(nil), r.Deltas...)
		a := *r.Adaptive
		r.Adaptive = &a
		w.release, w.payload, w.builds, w.ways = &r, c.payload, []*build{one(), near()}, map[string][]byte{}
		for name, b := range c.ways {
			w.ways[name] = b
		}
		if edit != nil {
			edit(w, &r)
		}
		f(t, w)
	})
}

func installed(s Status) bool { return s.Version == "2" && rests(s) }

// spoil changes a byte in the middle of one of the release's files.
func (w *world) spoil(t repo.Target) {
	b := bytes.Clone(w.ways[t.File()])
	b[len(b)/2] ^= 1
	w.ways[t.File()] = b
}

func TestWays(t *testing.T) {
	c := nearRelease()
	if d, full := c.rel.Deltas[0].Target.Length, c.rel.Target.Length; d > full/8 {
		t.Fatalf("the delta has %d bytes, the full payload %d: they are not what this test is about", d, full)
	}
	for _, tt := range []struct {
		name string
		edit func(w *world, r *repo.OSRelease)
		way  Way
		max  int64 // bytes fetched
		why  string
	}{
		{"all", nil, Delta, 80 << 10, "delta fetches"},
		{"no delta", func(_ *world, r *repo.OSRelease) { r.Deltas = nil }, Adaptive, 400 << 10, "full would fetch"},
		{"delta from another build", func(_ *world, r *repo.OSRelease) { r.Deltas[0].From[0] ^= 1 }, Adaptive, 400 << 10, "full would fetch"},
		{"full only", func(_ *world, r *repo.OSRelease) { r.Deltas, r.Adaptive = nil, nil }, Full, 3 << 20, "full fetches"},
		{"spoiled delta", func(w *world, r *repo.OSRelease) { w.spoil(r.Deltas[0].Target) }, Adaptive, 400 << 10, "delta did not fit: "},
		{"no payload as delta", func(w *world, r *repo.OSRelease) {
			w.ways[r.Deltas[0].Target.File()] = bytes.Repeat([]byte("x"), int(r.Deltas[0].Target.Length))
		}, Adaptive, 400 << 10, "delta did not fit: payload: offset 0x0: magic is"},
		{"no such delta", func(w *world, r *repo.OSRelease) { delete(w.ways, r.Deltas[0].Target.File()) }, Adaptive, 400 << 10, "; delta is not reachable now, and is tried again after 00:00:30: os/iot/"},
		{"delta to another build", func(w *world, r *repo.OSRelease) {
			w.ways[r.Deltas[0].Target.File()] = near().delta(one(), 2001)
			r.Deltas[0].Target.Length = int64(len(w.ways[r.Deltas[0].Target.File()]))
		}, Adaptive, 400 << 10, "is to the build of 2001"},
		{"another delta", func(w *world, r *repo.OSRelease) {
			b := newBuild("2", 2000, func(b *build) { b.like, b.rollback = near(), 2 }).delta(one(), 2000)
			w.ways[r.Deltas[0].Target.File()] = b
			r.Deltas[0].Target.Length = int64(len(b))
			r.Adaptive = nil
		}, Full, 3 << 20, "it would make another partition"},
		{"spoiled index", func(w *world, r *repo.OSRelease) {
			r.Deltas = nil
			w.spoil(r.Adaptive.Index)
			r.Adaptive.RootSize = r.Adaptive.Index.Length
		}, Full, 4 << 20, "adaptive did not fit: the index of the chunks"},
		{"spoiled chunks", func(w *world, r *repo.OSRelease) {
			r.Deltas = nil
			b := bytes.Clone(w.ways[r.Adaptive.Pack.File()])
			for i := 0; i < len(b); i += 512 {
				b[i] ^= 1
			}
			w.ways[r.Adaptive.Pack.File()] = b
		}, Full, 4 << 20, "adaptive did not fit: "},
		{"delta and chunks spoiled", func(w *world, r *repo.OSRelease) {
			w.spoil(r.Deltas[0].Target)
			delete(w.ways, r.Adaptive.Pack.File())
		}, Full, 4 << 20, "delta did not fit"},
		{"no such chunks", func(w *world, r *repo.OSRelease) {
			r.Deltas = nil
			delete(w.ways, r.Adaptive.Index.File())
		}, Full, 4 << 20, "; adaptive is not reachable now"},
		{"within the budget", func(w *world, _ *repo.OSRelease) { w.device.Update.Budget = 100 << 10 }, Delta, 100 << 10, "delta fetches"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			choose(t, tt.edit, func(t *testing.T, w *world) {
				var last *Progress
				ran := w.until(func(s Status) bool {
					if s.Update != nil && s.Update.Way != "" && s.Version == "1" {
						last = s.Update
					}
					return installed(s)
				})
				w.updated(ran)
				if last == nil || last.Way != tt.way || !strings.Contains(last.Why, tt.why) {
					t.Fatalf("the way was %+v, want %s, because of %q", last, tt.way, tt.why)
				}
				if w.fetched > tt.max {
					t.Errorf("fetched %d bytes, want at most %d (%s)", w.fetched, tt.max, last.Why)
				}
			})
		})
	}
}

// TestBudget gives the engine releases that fetch more than they may.
func TestBudget(t *testing.T) {
	choose(t, func(w *world, r *repo.OSRelease) {
		r.Deltas = nil
		w.device.Update.Budget = 50 << 10
	}, func(t *testing.T, w *world) {
		looks := 0
		w.boot(func(s Status) bool {
			if s.State == Reporting {
				looks++
			}
			return looks > 5
		})
		if want := "the cheapest way to it, adaptive, fetches"; !strings.Contains(w.status.Error, want) || !strings.Contains(w.status.Error, "--unmetered") {
			t.Errorf("error is %q, want %q and what to do", w.status.Error, want)
		}
		if w.fetched > 50<<10 {
			t.Errorf("fetched %d bytes of a budget of %d", w.fetched, 50<<10)
		}
	})
}

// TestBudgetAfter gives the engine a delta that does not fit, and no other way
// within the budget: however often it looks, it fetches nothing of the full
// payload, and says why.
func TestBudgetAfter(t *testing.T) {
	const budget = 200 << 10
	choose(t, func(w *world, r *repo.OSRelease) {
		w.spoil(r.Deltas[0].Target)
		r.Adaptive = nil
		w.device.Update.Budget = budget
	}, func(t *testing.T, w *world) {
		var said []string
		w.boot(func(s Status) bool {
			if s.State == Reporting {
				said = append(said, s.Error)
			}
			return len(said) > 5
		})
		for _, s := range said {
			if !strings.Contains(s, "full") || !strings.Contains(s, ": operation ") || !strings.Contains(s, "--unmetered") {
				t.Errorf("error is %q, want the way, the operation that was wrong, and what to do", s)
			}
		}
		if w.fetched > budget/2 {
			t.Errorf("fetched %d bytes, want the delta alone", w.fetched)
		}
	})
}

// TestBudgetSpent breaks every request: what was fetched for nothing is on the
// budget, too.
func TestBudgetSpent(t *testing.T) {
	choose(t, func(w *world, r *repo.OSRelease) {
		r.Deltas, r.Adaptive = nil, nil
		w.breakAt, w.device.Update.Budget = 100<<10, r.Target.Length+500<<10
	}, func(t *testing.T, w *world) {
		looks := 0
		w.boot(func(s Status) bool {
			if s.State == Reporting {
				looks++
			}
			return looks > 60
		})
		if !strings.Contains(w.status.Error, "--unmetered") || w.fetched > w.device.Update.Budget {
			t.Errorf("fetched %d bytes of a budget of %d, and said %q", w.fetched, w.device.Update.Budget, w.status.Error)
		}
	})
}

// TestBudgetOfAttempts breaks off each request for the index: all attempts
// together stay within the budget.
func TestBudgetOfAttempts(t *testing.T) {
	choose(t, func(w *world, r *repo.OSRelease) {
		r.Deltas = nil
		w.device.Update.Budget = 20 << 10
		w.broken = r.Adaptive.Index.File()
	}, func(t *testing.T, w *world) {
		looks := 0
		w.boot(func(s Status) bool {
			if s.State == Reporting {
				looks++
			}
			return looks > 200
		})
		if w.fetched > 20<<10 {
			t.Errorf("fetched %d bytes of a budget of %d in %d attempts", w.fetched, 20<<10, looks)
		}
	})
}

// TestUnmetered asks for what the budget does not allow.
func TestUnmetered(t *testing.T) {
	choose(t, func(w *world, r *repo.OSRelease) {
		w.device.Update.Budget, w.device.Update.Interval = 1<<10, 0
	}, func(t *testing.T, w *world) {
		w.load()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e := New(w.config(one(), &fakeProps{w: w, reboot: cancel}))
		e.cfg.Device.Update.AutoReboot = false
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		e.Follow(ctx, func(s Status) bool { return s.State != Idle })
		if err := e.Update(ctx); err == nil {
			t.Error("an update beyond the budget went on")
		}
		if err := e.UpdateUnmetered(ctx); err != nil {
			t.Errorf("UpdateUnmetered = %v", err)
		}
		if s, _ := e.Status(); s.State != NeedReboot || s.Update.Way != Delta {
			t.Errorf("status is %+v", s)
		}
		cancel()
		<-done
	})
}

// TestWaysCut cuts the power once at each event of an update by each way.
func TestWaysCut(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(w *world, r *repo.OSRelease)
		max  int64
	}{
		{"delta", nil, 160 << 10},
		{"adaptive", func(_ *world, r *repo.OSRelease) { r.Deltas = nil }, 800 << 10},
		{"delta that does not fit", func(w *world, r *repo.OSRelease) { w.spoil(r.Deltas[0].Target) }, 900 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			total := 0
			choose(t, tt.edit, func(t *testing.T, w *world) {
				w.until(installed)
				total = w.events
			})
			if total < 20 {
				t.Fatalf("an update has %d events", total)
			}
			t.Logf("%d events", total)
			for i := 1; i <= total; i += stride() {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					choose(t, tt.edit, func(t *testing.T, w *world) {
						w.rng, w.cutAt = mrand.New(mrand.NewPCG(uint64(i), 4)), i
						w.updated(w.until(installed))
						if w.fetched > tt.max {
							t.Errorf("fetched %d bytes, want at most %d", w.fetched, tt.max)
						}
					})
				})
			}
		})
	}
}

func TestPortion(t *testing.T) {
	for _, tt := range [][4]int64{{0, 1, 2, 0}, {100, 1, 4, 25}, {4 << 30, 8 << 30, 8 << 30, 4 << 30}, {5, 0, 0, 0}} {
		if got := portion(tt[0], tt[1], tt[2]); got != tt[3] {
			t.Errorf("portion(%d, %d, %d) = %d, want %d", tt[0], tt[1], tt[2], got, tt[3])
		}
	}
}
