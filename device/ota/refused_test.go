package ota

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"mios"
	"mios/api/repo"
	"mios/format/avb"
)

// TestRefused gives the engine releases that must change nothing.
func TestRefused(t *testing.T) {
	spoiled := func(edit func(*build)) func(w *world) {
		b := newBuild("2", 2000, edit)
		rel, p := b.release()
		return func(w *world) { w.release, w.payload = rel, p }
	}
	k := testKeys()
	stale := fmt.Errorf("timestamp: signed 9 days ago: %w", repo.ErrStale)
	tests := []struct {
		name  string
		edit  func(w *world)
		want  string
		bad   bool // remembered, as the slot was written and refused
		touch bool // the other slot may be written
	}{
		{"stale metadata", func(w *world) { w.offer = stale }, "too old to install from: check the device's clock", false, false},
		{"stale at the end", func(w *world) { w.fresh = stale }, "release 2: timestamp: signed 9 days ago", false, true},
		{"another product", func(w *world) { w.edit(func(r *repo.OSRelease) { r.Product = "watch" }) }, "release 2 is for watch on amd64, and this device is iot", false, false},
		{"another architecture", func(w *world) { w.edit(func(r *repo.OSRelease) { r.Arch = mios.ARM64 }) }, "is for iot on arm64", false, false},
		{"payload of another build", func(w *world) { w.edit(func(r *repo.OSRelease) { r.BuildTime = 3000 }) }, "payload is of the build of 2000, and the repository says 3000", false, false},
		{"other metadata", func(w *world) {
			w.edit(func(r *repo.OSRelease) { r.Properties = map[string]string{"METADATA_HASH": "x"} })
		}, "not the one that was published", false, false},
		{"longer", func(w *world) {
			w.payload = append(bytes.Clone(w.payload), 0)
			w.edit(func(r *repo.OSRelease) { r.Target.Length++ })
		}, "by its manifest", false, false},
		{"endless", func(w *world) { w.payload = bytes.Repeat([]byte("x"), len(w.payload)) }, "magic is", false, false},
		{"wrong payload key", spoiled(func(b *build) { b.otaKey = k.otherOTA }), "metadata signature: signed by none of the trusted keys", false, false},
		{"partial update", spoiled(func(b *build) { b.partial = true }), "payload is a partial update", false, false},
		{"broken data", func(w *world) { w.payload = bytes.Clone(w.payload); w.payload[len(w.payload)/2] ^= 1 }, "data has SHA-256", false, true},
		{"truncated", func(w *world) { w.payload = w.payload[:len(w.payload)/2] }, "not found", false, false},
		{"budget", func(w *world) { w.fetchErr = ErrBudget }, "download budget used up: ask for it on a cheaper network", false, false},
		{"wrong vbmeta key", spoiled(func(b *build) { b.avbKey = k.otherAVB }), "partition vbmeta_b: the key that signed it is not trusted", true, true},
		{"older rollback index", func(w *world) { w.stored = 2 }, "rollback index 1 is older than the stored 2", true, true},
		{"another product's images", spoiled(func(b *build) { b.product = "car" }), "partition vbmeta_b: it is of car/2/user, and this device is iot", true, true},
		{"verification off", spoiled(func(b *build) { b.flags = avb.FlagHashtreeDisabled }), "verification is switched off", true, true},
		{"boot not vouched for", spoiled(func(b *build) { b.leave = "boot" }), "boot", true, true},
		{"system not vouched for", spoiled(func(b *build) { b.leave = "system" }), "partition system_b: vbmeta does not vouch for it", true, true},
		{"wrong hash tree", spoiled(func(b *build) { b.wrongTree = true }), "system", true, true},
		{"too large", func(w *world) { w.media["system_b"] = w.media["system_b"][:1<<20]; w.lose() }, "partition system_b has 1048576 bytes, and the release needs 2359296", false, false},
		{"no partition", func(w *world) { delete(w.media, "system_b"); delete(w.cached, "system_b") }, "partition system_b: partition system_b: not found", false, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				tc.edit(w)
				before := map[string][]byte{}
				for name, b := range w.cached {
					before[name] = bytes.Clone(b)
				}
				w.boot(rests)
				if s := w.status; s.State != Reporting || !strings.Contains(s.Error, tc.want) {
					t.Errorf("status is %s: %q, want %q", s.State, s.Error, tc.want)
				}
				if tc.bad != (len(w.status.Bad) == 1) {
					t.Errorf("bad releases are %+v", w.status.Bad)
				}
				c := w.control()
				if i, ok := c.Choose(); !ok || i != 0 || c.Slots[1].Bootable() {
					t.Errorf("control block is %+v, want slot 0 alone", c)
				}
				for name, b := range before {
					if !tc.touch && name != "misc" && !bytes.Equal(b, w.cached[name]) {
						t.Errorf("partition %s was written to", name)
					}
				}
				if w.rebooted {
					t.Error("the device rebooted")
				}
			})
		})
	}
}

// edit changes what the repository says of the release.
func (w *world) edit(f func(*repo.OSRelease)) {
	r := *w.release
	f(&r)
	w.release = &r
}
