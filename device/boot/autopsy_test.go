package boot

import (
	"testing"
	"time"

	"mios/device/bootrecord"
	"mios/format/bootctl"
)

// flipSystem changes one bit of slot i's system partition.
func (r *rig) flipSystem(i int, off int64) {
	r.t.Helper()
	var b [1]byte
	p := r.system(i)
	if _, err := p.ReadAt(b[:], off); err != nil {
		r.t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := p.WriteAt(b[:], off); err != nil {
		r.t.Fatal(err)
	}
}

// TestAutopsy finds the block of which a slot died: one that had tries, one
// that init has said something about, and one that was good once.
func TestAutopsy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		off    int64
		slot   bootctl.Slot
		init   bool // says something itself
		reason string
	}{
		{"tries run out", 3*4096 + 7, bootctl.Slot{Priority: 15, Tries: 3}, false, "block 3 is not what was signed"},
		{"init said something", 5 * 4096, bootctl.Slot{Priority: 15, Tries: 3}, true, "block 5 is not what was signed"},
		{"good once", systemSize / 2, bootctl.Slot{Priority: 15, Tries: 1, Successful: true}, false, "hash tree block 32 is not what was signed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.setControl(&bootctl.Control{Slots: []bootctl.Slot{tt.slot, {Priority: 14, Tries: 1, Successful: true}}})
			r.flipSystem(0, tt.off)
			for range 3 {
				r.boots("_a")
			}
			if tt.init {
				if err := bootrecord.Add(r.part("misc"), bootrecord.Refusal{Slot: "_a", Reason: "critical service died", Time: r.clock}); err != nil {
					t.Fatal(err)
				}
				r.clock = r.clock.Add(time.Minute)
			}
			r.boots("_b")
			r.says("slot _a: system: " + tt.reason + ": the slot is refused")
			got := r.refusals()
			if len(got) == 0 || got[len(got)-1].Partition != "system_a" || got[len(got)-1].Reason != tt.reason {
				t.Errorf("refusals = %+v, want one of system_a because of %q at the end", got, tt.reason)
			}
			r.boots("_b")
			if again := r.refusals(); len(again) != len(got) {
				t.Errorf("the next boot recorded %+v", again)
			}
		})
	}
}
