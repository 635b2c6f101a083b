package ota

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mios"
	"mios/api/repo"
)

// bubble runs a test with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	twoRelease() // outside: it takes long, and starts goroutines
	one()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

// updated checks that release 2 runs from slot b, for good.
func (w *world) updated(ran *build) {
	w.t.Helper()
	if ran.version != "2" || w.slot != "_b" {
		w.t.Errorf("release %s runs from slot %s, want 2 from _b", ran.version, w.slot)
	}
	if c := w.control(); !c.Slots[1].Successful {
		w.t.Errorf("control block is %+v, want slot 1 successful", c)
	}
	if s := w.status; len(s.Bad) != 0 || s.Error != "" || s.Health != "healthy" || s.State != Idle || s.Update != nil && s.Update.Done != s.Update.Total {
		w.t.Errorf("status is %+v", s)
	}
	if got := w.props[healthProperty]; got != "healthy" {
		w.t.Errorf("%s is %q", healthProperty, got)
	}
}

func TestUpdate(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var states []State
		ran := w.until(func(s Status) bool {
			if len(states) == 0 || states[len(states)-1] != s.State {
				states = append(states, s.State)
			}
			return s.Version == "2" && rests(s)
		})
		w.updated(ran)
		if w.fetched != int64(len(w.payload)) {
			t.Errorf("fetched %d bytes, want %d", w.fetched, len(w.payload))
		}
		want := []State{CleanUp, Idle, Checking, Downloading, Verifying, Finalizing, NeedReboot, CleanUp, Idle, Checking, Idle}
		for i := 0; len(states) > 0; i++ { // a follower may miss states, and sees none out of order
			if i == len(want) {
				t.Errorf("states end with %v, want them in the order %v", states, want)
				break
			}
			if states[0] == want[i] {
				states = states[1:]
			}
		}
	})
}

// TestCutAtEveryEvent cuts the power once, at each write, flush and save from
// the first on.
func TestCutAtEveryEvent(t *testing.T) {
	twoRelease()
	total := 0
	bubble(t, func(t *testing.T, w *world) {
		w.until(func(s Status) bool { return s.Version == "2" && rests(s) })
		total = w.events
	})
	if total < 30 {
		t.Fatalf("an update has %d events", total)
	}
	t.Logf("%d events", total)
	for i := 1; i <= total; i += stride() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.rng, w.cutAt = mrand.New(mrand.NewPCG(uint64(i), 2)), i
				w.updated(w.until(func(s Status) bool { return s.Version == "2" && rests(s) }))
				w.fetchedOnce()
			})
		})
	}
}

// stride is from one event that is cut to the next: all are, but for -short.
func stride() int {
	if testing.Short() {
		return 5
	}
	return 1
}

// fetchedOnce checks that a cut cost at most the operation that it hit, and the
// metadata.
func (w *world) fetchedOnce() {
	w.t.Helper()
	if slack := int64(2<<20 + 64<<10); w.fetched > int64(len(w.payload))+slack {
		w.t.Errorf("fetched %d bytes of a payload of %d, opened at %v", w.fetched, len(w.payload), w.opened)
	}
}

// TestCutAgainAndAgain cuts the power at random, while the update is written.
func TestCutAgainAndAgain(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.rng = mrand.New(mrand.NewPCG(seed, 3))
				for range 6 {
					w.cutAt = w.events + 1 + w.rng.IntN(12)
					w.boot(func(s Status) bool { return s.State == NeedReboot || s.Version == "2" && rests(s) })
					if c := w.control(); w.slot == "_a" && !c.Slots[0].Successful && w.bootID > 1 && w.status.Health == "healthy" {
						t.Errorf("control block is %+v after a healthy boot", c)
					}
				}
				w.cutAt = 0
				w.updated(w.until(func(s Status) bool { return s.Version == "2" && rests(s) }))
			})
		})
	}
}

func TestUnhealthyReleaseIsLeftForGood(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.checker = func(version string) error {
			if version == "2" {
				return errors.New(`health check "network": net.online is "", want "1"`)
			}
			return nil
		}
		w.leftForGood(`health check "network": net.online is "", want "1"`)
		if c := w.control(); c.Slots[1].Bootable() {
			t.Errorf("control block is %+v, want slot 1 unbootable", c)
		}
	})
}

// leftForGood checks that release 2 is tried once, and the reason known.
func (w *world) leftForGood(reason string) {
	w.t.Helper()
	tried := false
	ran := w.until(func(s Status) bool {
		tried = tried || s.State == NeedReboot
		return tried && s.Version == "1" && rests(s)
	})
	if ran.version != "1" || w.slot != "_a" {
		w.t.Errorf("release %s runs from slot %s, want 1 from _a", ran.version, w.slot)
	}
	bad := w.status.Bad
	if len(bad) != 1 || bad[0].Version != "2" || bad[0].Digest != w.release.Target.SHA256 || !strings.Contains(bad[0].Reason, reason) {
		w.t.Errorf("bad releases are %+v, want 2 for %q", bad, reason)
	}
	before := len(w.opened)
	looks := map[time.Time]bool{}
	w.boot(func(s Status) bool {
		looks[s.LastCheck] = true
		return len(looks) > 3 && rests(s)
	})
	if w.slot != "_a" || len(w.opened) != before || w.rebooted {
		w.t.Errorf("after %d looks: slot %s, payload opened %d times again", len(looks), w.slot, len(w.opened)-before)
	}
}

func TestReleaseThatDiesIsLeftForGood(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.crashes["2"] = true
		w.leftForGood("slot _b did not come up in its tries, and left no reason")
	})
}

func TestReleaseThatTheLoaderRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.builds = w.builds[:1] // to this loader release 2 is not whole
		w.leftForGood("slot _b did not stay: system_b: hash mismatch")
	})
}

func TestBadIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.crashes["2"] = true
		w.leftForGood("slot _b")
		delete(w.crashes, "2")
		w.device.Update.Interval = 0
		var e *Engine
		w.withEngine(func(ctx context.Context, engine *Engine) {
			e = engine
			if err := e.Update(ctx); !errors.Is(err, mios.ErrNotFound) || !strings.Contains(err.Error(), "release 2 was tried: slot _b") {
				t.Errorf("Update = %v, want the reason against release 2", err)
			}
			if err := e.ResetBad(ctx); err != nil {
				t.Error(err)
			}
			if err := e.Update(ctx); err != nil {
				t.Error(err)
			}
		})
		if !w.rebooted {
			t.Error("no reboot into the update")
		}
		w.updated(w.until(func(s Status) bool { return s.Version == "2" && s.State == Idle && s.Health == "healthy" }))
	})
}

// withEngine boots, waits until the engine takes requests, and calls f.
func (w *world) withEngine(f func(ctx context.Context, e *Engine)) {
	b := w.load()
	ctx, cancel := context.WithCancel(context.Background())
	w.rebooted = false
	e := New(w.config(b, &fakeProps{w: w, reboot: func() {}}))
	e.every = 1
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	synctest.Wait()
	f(ctx, e)
	w.status, _ = e.Status()
	cancel()
	<-done
}

func TestOnRequestOnly(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.device.Update.Interval, w.device.Update.AutoReboot = 0, false
		w.withEngine(func(ctx context.Context, e *Engine) {
			time.Sleep(48 * time.Hour)
			if len(w.opened) != 0 {
				t.Error("the engine looked for an update without being asked")
			}
			if err := e.Reboot(ctx); !errors.Is(err, mios.ErrConflict) {
				t.Errorf("Reboot = %v, want ErrConflict", err)
			}
			if err := e.Check(ctx); err != nil {
				t.Error(err)
			}
			if s, _ := e.Status(); s.State != Available || s.Update.Version != "2" || len(w.opened) != 0 {
				t.Errorf("status after a check is %+v", s)
			}
			if err := e.Update(ctx); err != nil {
				t.Error(err)
			}
			if s, _ := e.Status(); s.State != NeedReboot || w.rebooted {
				t.Errorf("status after an update is %+v, rebooted %v", s, w.rebooted)
			}
			if err := e.Update(ctx); !errors.Is(err, mios.ErrConflict) {
				t.Errorf("second Update = %v, want ErrConflict", err)
			}
		})
		// The service starts again in the same boot: the update still waits.
		b := w.whole("_a")
		ctx, cancel := context.WithCancel(context.Background())
		e := New(w.config(b, &fakeProps{w: w, reboot: cancel}))
		go e.Run(ctx)
		synctest.Wait()
		if s, _ := e.Status(); s.State != NeedReboot || len(s.Bad) != 0 {
			t.Errorf("status after the service's restart is %+v", s)
		}
		if err := e.Reboot(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		w.updated(w.until(func(s Status) bool { return s.Version == "2" && s.State == Idle && s.Health == "healthy" }))
	})
}

func TestDiskThatForgets(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		times := 1
		w.forget = func(name string) {
			if name == "boot_b" && times > 0 {
				times--
				w.cached[name][100] ^= 1
			}
		}
		w.updated(w.until(func(s Status) bool { return s.Version == "2" && rests(s) }))
	})
	bubble(t, func(t *testing.T, w *world) {
		w.forget = func(name string) { w.cached["boot_b"][100] ^= 1 }
		w.forget = func(name string) {
			if name == "boot_b" {
				w.cached[name][100] ^= 1
			}
		}
		w.boot(rests)
		if s := w.status; !strings.Contains(s.Error, "does not read back as it was written, for the 3. time") || len(s.Bad) != 0 {
			t.Errorf("status is %+v", s)
		}
	})
}

// TestOnlySlotStays checks that a device without another slot that boots stays
// where it is, healthy or not, and can still be updated.
func TestOnlySlotStays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.checker = func(version string) error {
			if version == "1" {
				return errors.New("no network")
			}
			return nil
		}
		w.offer = errors.New("no route to host")
		w.boot(func(s Status) bool { return s.looked })
		if w.rebooted || w.props[healthProperty] != "failed: no network" {
			t.Errorf("rebooted %v, %s is %q", w.rebooted, healthProperty, w.props[healthProperty])
		}
		w.offer = nil
		w.updated(w.until(func(s Status) bool { return s.Version == "2" && rests(s) }))
	})
}

// TestHaltedMidway checks that an update waits whose release is not offered for
// a while, and does not lose what it has.
func TestHaltedMidway(t *testing.T) {
	for _, interval := range []int64{0, 3600} {
		bubble(t, func(t *testing.T, w *world) {
			half := func(s Status) bool { return s.State == Downloading && s.Update.Done > 2<<20 }
			w.boot(half)
			w.offer, w.device.Update.Interval = mios.ErrNotFound, interval
			looks := map[time.Time]bool{}
			w.boot(func(s Status) bool {
				looks[s.LastCheck] = true
				return s.looked && (interval == 0 || len(looks) > 3)
			})
			w.offer = nil
			w.updated(w.until(func(s Status) bool { return s.Version == "2" && s.State == Idle && s.Health == "healthy" }))
			w.fetchedOnce()
		})
	}
}

// TestRebootIsAskedForAgain checks that an update does not wait for ever for a
// reboot that could not be asked for.
func TestRebootIsAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.rebootErrs = 3
		w.updated(w.until(func(s Status) bool { return s.Version == "2" && rests(s) }))
		if w.rebootErrs != 0 {
			t.Errorf("%d refusals are left", w.rebootErrs)
		}
	})
}

// TestUnprovenSlotKeepsTheOther checks that nothing is written over the slot to
// fall back to.
func TestUnprovenSlotKeepsTheOther(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.device.Update.AutoReboot = false
		w.boot(func(s Status) bool { return s.State == NeedReboot })
		w.release, w.payload = func() (*repo.OSRelease, []byte) {
			r, p := twoRelease()
			next := *r
			next.BuildTime, next.Version = 3000, "3"
			return &next, p
		}()
		w.checker = func(string) error { return errors.New("ill") }
		before := bytes.Clone(w.cached["system_a"])
		if b := w.boot(nil); b.version != "2" {
			t.Errorf("release %s runs", b.version)
		}
		if !w.rebooted || !bytes.Equal(before, w.cached["system_a"]) {
			t.Errorf("rebooted %v, or slot a was written to", w.rebooted)
		}
	})
}

// TestForeignState feeds state files that this release would not write.
func TestForeignState(t *testing.T) {
	for _, in := range []string{"", "nonsense", "{}", `{"state":"DOWNLOADING"}`, `{"state":"FROM_THE_FUTURE","install":{"slot":"_b"}}`,
		`{"state":"UPDATED_NEED_REBOOT","install":{"slot":"_a"}}`, `{"state":"VERIFYING","install":{"slot":"_a"},"new":1}`,
		`{"state":"DOWNLOADING","install":{"slot":"_b","checkpoint":{"operation":99}}}`} {
		t.Run(in, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.files[stateFile] = []byte(in)
				w.updated(w.until(func(s Status) bool { return s.Version == "2" && rests(s) }))
			})
		})
	}
}

func TestNewerReleaseReplacesTheOneUnderWay(t *testing.T) {
	three := newBuild("3", 3000, nil)
	rel, p := three.release()
	bubble(t, func(t *testing.T, w *world) {
		w.boot(func(s Status) bool { return s.State == Downloading && s.Update.Done > 2<<20 })
		w.release, w.payload, w.builds = rel, p, append(w.builds, three)
		if ran := w.until(func(s Status) bool { return s.Version == "3" && rests(s) }); ran != three || w.slot != "_b" {
			t.Errorf("release %s runs from %s", ran.version, w.slot)
		}
	})
}

func TestRetriesAreSpread(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fetchErr = errors.New("no route to host")
		var at []time.Duration
		start := time.Now()
		w.boot(func(s Status) bool {
			if s.State == Reporting && (len(at) == 0 || time.Since(start) > at[len(at)-1]) {
				at = append(at, time.Since(start))
			}
			return len(at) == 5
		})
		if got := fmt.Sprint(at); got != "[0s 15s 45s 1m45s 3m45s]" {
			t.Errorf("attempts at %s", got)
		}
	})
}

func TestRecordSurvivesJSON(t *testing.T) {
	r := &Record{State: Downloading, Install: &Install{Slot: "_b", Version: "2", Digest: mios.Sum(nil)}, Bad: []Bad{{Version: "x"}}}
	s := Dir(t.TempDir() + "/new")
	if err := r.save(s); err != nil {
		t.Fatal(err)
	}
	got, err := load(s)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(r)
	b, _ := json.Marshal(got)
	if !bytes.Equal(a, b) {
		t.Errorf("record is %s, want %s", b, a)
	}
	for i := range maxBad + 3 {
		r.Install = &Install{Digest: mios.Sum([]byte{byte(i)})}
		r.reject("why", time.Time{})
	}
	if len(r.Bad) != maxBad || r.bad(mios.Sum([]byte{0})) != nil || r.bad(mios.Sum([]byte{5})) == nil {
		t.Errorf("%d bad releases are remembered", len(r.Bad))
	}
}
