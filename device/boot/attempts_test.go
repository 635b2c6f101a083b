package boot

import (
	"errors"
	"strings"
	"testing"

	"mios/device/bootrecord"
	"mios/format/bootctl"
	"mios/internal/testkit"
)

// count is how often the boot record has it that a slot was booted, if power
// were cut at the last Load.
func (r *rig) count(suffix string) int {
	r.t.Helper()
	rec, err := bootrecord.Read(strings.NewReader(string(r.atLoad)))
	if err != nil {
		r.t.Fatal(err)
	}
	return rec.Attempts[suffix]
}

// bothGood makes slot a and b successful, a the active one.
func (r *rig) bothGood() {
	c := r.control()
	c.Slots[0] = bootctl.Slot{Priority: 15, Tries: 1, Successful: true}
	c.Slots[1] = bootctl.Slot{Priority: 14, Tries: 1, Successful: true}
	r.setControl(c)
}

// TestUnhealthy boots a slot that was good once and never comes up again.
func TestUnhealthy(t *testing.T) {
	r := newRig(t)
	r.writeSlot(0, 5, testkit.RSA(0))
	r.writeSlot(1, 3, testkit.RSA(0))
	r.bothGood()
	for n := range 3 {
		r.boots("_a")
		if got := r.count("_a"); got != n+1 {
			t.Errorf("when the slot was loaded, the durable count was %d, want %d", got, n+1)
		}
	}
	stored := r.rollback().get(0)
	r.boots("_b")
	r.says("slot _a: booted 3 times without becoming healthy: the slot is refused")
	if !strings.Contains(r.cmdline, "androidboot.bootreason=reboot,slot_failed") {
		t.Errorf("command line %s", r.cmdline)
	}
	if got := r.refusals(); len(got) != 1 || got[0].Slot != "_a" || got[0].Reason != "booted 3 times without becoming healthy" {
		t.Errorf("refusals = %+v", got)
	}
	c, err := bootctl.ParseControl(r.durable("misc")[bootctl.ControlOffset:])
	if err != nil || c.Slots[0].Bootable() || !c.Slots[1].Successful || c.Suffix != "_b" {
		t.Errorf("durable control = %+v, %v; want slot a unbootable", c, err)
	}
	if got := r.rollback().get(0); got != stored || got != 3 {
		t.Errorf("stored rollback index = %d, was %d, want 3", got, stored)
	}
	for range 5 { // slot b is the last one: it is never given up
		r.boots("_b")
	}
	if len(r.refusals()) != 1 || r.count("_b") != 3 || r.count("_a") != 0 {
		t.Errorf("refusals = %v, counts %d and %d", r.refusals(), r.count("_a"), r.count("_b"))
	}
}

// TestUnhealthyRaisesNothing gives up the slot that held the stored index
// down.
func TestUnhealthyRaisesNothing(t *testing.T) {
	r := newRig(t)
	r.writeSlot(0, 2, testkit.RSA(0))
	r.writeSlot(1, 7, testkit.RSA(0))
	r.bothGood()
	for range 3 {
		r.boots("_a")
	}
	r.boots("_b")
	if got := r.rollback().get(0); got != 2 {
		t.Errorf("stored rollback index = %d, want 2", got)
	}
}

func TestHealthy(t *testing.T) {
	r := newRig(t)
	r.bothGood()
	for range 3 {
		for range 3 {
			r.boots("_a")
		}
		r.healthy("_a")
	}
	if len(r.refusals()) != 0 || !r.control().Slots[0].Successful {
		t.Errorf("refusals = %v, control %+v", r.refusals(), r.control())
	}
}

// TestUnhealthyAlone goes on with the only slot that can be loaded: the other
// one is found wrong when it is to take over, or is unbootable already.
func TestUnhealthyAlone(t *testing.T) {
	r := newRig(t)
	r.bothGood()
	r.flip("boot_b", 5000)
	for range 6 {
		r.boots("_a")
	}
	if got := r.refusals(); len(got) != 1 || got[0].Slot != "_b" {
		t.Errorf("refusals = %+v, want one of slot _b", got)
	}
	r.says("slot _a: booted 3 times without becoming healthy; there is no other slot")
	if c := r.control(); !c.Slots[0].Successful || c.Slots[1].Bootable() {
		t.Errorf("control = %+v", c)
	}
	r.flip("boot_a", 5000)
	if err := r.boot(); !errors.Is(err, ErrNoSlot) {
		t.Errorf("Boot = %v, want ErrNoSlot", err)
	}
}

// TestCountLost loses the boot record, and forgets the count of a slot that is
// written anew.
func TestCountLost(t *testing.T) {
	r := newRig(t)
	r.bothGood()
	for range 3 {
		r.boots("_a")
	}
	r.flip("misc", bootrecord.Offset+12)
	r.boots("_a")
	if got := r.count("_a"); got != 1 {
		t.Errorf("count = %d, want 1", got)
	}
	if err := bootrecord.SetAttempts(r.part("misc"), "_b", 3); err != nil {
		t.Fatal(err)
	}
	c := r.control()
	c.Slots[1] = bootctl.Slot{}
	c.SetActive(1, 3)
	r.setControl(c)
	r.boots("_b")
	if got := r.count("_b"); got != 0 {
		t.Errorf("a new release begins with a count of %d", got)
	}
}

// TestLastResort boots a device both of whose slots have used up their tries:
// what is whole is tried again, what is not stays refused.
func TestLastResort(t *testing.T) {
	r := newRig(t)
	r.writeSlot(0, 1, testkit.RSA(0))
	r.writeSlot(1, 1, testkit.RSA(0))
	r.setControl(&bootctl.Control{Slots: []bootctl.Slot{{}, {}}})
	for range tries {
		r.boots("_a")
	}
	for range tries {
		r.boots("_b")
	}
	r.boots("_a")
	r.says("slot _a: it was given up; there is no other slot, so it is tried again")

	r.setControl(&bootctl.Control{Slots: []bootctl.Slot{{}, {}}})
	r.flip("boot_a", 5000)
	r.boots("_b")
	r.flip("boot_b", 5000)
	if err := r.boot(); !errors.Is(err, ErrNoSlot) {
		t.Errorf("Boot = %v, want ErrNoSlot", err)
	}
}
