package ota

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"mios"
	"mios/device/bootrecord"
)

var noNetwork = &outsideError{errors.New("no network")}

func restsHealthy(version string) func(Status) bool {
	return func(s Status) bool { return s.Version == version && s.Health == "healthy" && rests(s) }
}

// TestOutage: the network is away while a new release has to prove itself. It is
// left, but once the other slot has found that it has no network either, and it
// is back, the release is taken.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var asked []string
		w.checker = func(version string) error {
			asked = append(asked, version)
			if n := len(asked); n == 1 || n > 3 {
				return nil
			}
			return noNetwork
		}
		w.until(restsHealthy("2"))
		if want := []string{"1", "2", "1", "2"}; !slices.Equal(asked, want) {
			t.Errorf("health was asked of releases %q, want %q", asked, want)
		}
		if len(w.status.Bad) != 0 {
			t.Errorf("bad releases are %+v", w.status.Bad)
		}
	})
}

// TestNewReleaseHasNoNetwork: with the old one the network is there. So the
// release is to blame, whatever happens to the network later.
func TestNewReleaseHasNoNetwork(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		outage := false
		w.checker = func(version string) error {
			if version == "2" || outage {
				return noNetwork
			}
			return nil
		}
		w.until(func(s Status) bool { return len(s.Bad) == 1 && restsHealthy("1")(s) })
		outage = true
		w.boot(rests)
		outage = false
		if ran := w.until(rests); ran.version != "1" || len(w.status.Bad) != 1 || w.status.Bad[0].Outside {
			t.Errorf("release %s runs, bad are %+v; want 1, and 2 to be bad", ran.version, w.status.Bad)
		}
	})
}

// TestOutsideIsNotCounted: the loader counts the boots that did not end healthy,
// to give the slot up, but not those that had no network.
func TestOutsideIsNotCounted(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{{noNetwork, 0}, {errors.New("no package manager"), 2}, {nil, 0}} {
		bubble(t, func(t *testing.T, w *world) {
			w.until(restsHealthy("2"))
			misc := &fakePart{w, "misc"}
			if err := bootrecord.SetAttempts(misc, "_b", 2); err != nil {
				t.Fatal(err)
			}
			w.checker = func(string) error { return tt.err }
			w.boot(rests)
			r, err := bootrecord.Read(misc)
			if err != nil || r.Attempts["_b"] != tt.want {
				t.Errorf("%v: attempts are %v, %v; want %d", tt.err, r.Attempts, err, tt.want)
			}
		})
	}
}

// TestHealthyOnceThereIsANetwork: a device that started without one is healthy
// as soon as the repository answers, and not before.
func TestHealthyOnceThereIsANetwork(t *testing.T) {
	for _, tt := range []struct {
		offer error
		done  func(Status) bool
		asked int // how often the checks were run
	}{
		{errors.New("no route to host"), func(s Status) bool { return s.looked && s.Error == "no route to host" }, 1},
		{fmt.Errorf("no newer release: %w", mios.ErrNotFound), func(s Status) bool { return s.Health == "healthy" }, 2},
	} {
		bubble(t, func(t *testing.T, w *world) {
			asked := 0
			w.checker = func(string) error {
				if asked++; asked == 1 {
					return noNetwork
				}
				return nil
			}
			w.offer = tt.offer
			w.boot(tt.done)
			if ok := w.control().Slots[0].Successful; asked != tt.asked || w.bootID != 1 || ok != (asked == 2) {
				t.Errorf("%v: after %d boots and %d times the checks slot a is successful: %v; want one boot and %d", tt.offer, w.bootID, asked, ok, tt.asked)
			}
		})
	}
}
