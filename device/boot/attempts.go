package boot

import (
	"fmt"
	"slices"

	"mios/device/bootrecord"
	"mios/format/bootctl"
)

// setAside leaves slot i out for now if it is marked successful, but was
// booted [tries] times without becoming healthy. It is given up only once
// another slot is loaded in its place.
func (b *attempt) setAside(i int) bool {
	if b.last || !b.ctl.Slots[i].Successful || b.attempts(i) < tries {
		return false
	}
	b.aside[i], b.lost = true, true
	b.reason = "reboot,slot_failed"
	return true
}

func (b *attempt) anyAside() bool { return slices.Contains(b.aside[:], true) }

// takeBack puts the slots that were set aside back into the choice, for there
// is no other, and reports whether there are any.
func (b *attempt) takeBack() bool {
	if !b.anyAside() {
		return false
	}
	for i, aside := range b.aside {
		if aside {
			b.Log(fmt.Sprintf("slot %s: %s; there is no other slot, so it is tried again", bootctl.Suffix(i), unhealthy()))
		}
	}
	b.aside, b.last = [bootctl.MaxSlots]bool{}, true
	return true
}

// lastResort gives the slots that have used up their tries, or were given up
// for another reason than what is in them, their tries back, once, and reports
// whether there are any. What is in them is verified as ever.
func (b *attempt) lastResort() bool {
	if b.retried {
		return false
	}
	b.retried = true
	any := false
	for i, s := range b.ctl.Slots {
		if s.Bootable() || b.refused[i] || b.skip[i] {
			continue
		}
		b.ctl.Slots[i] = bootctl.Slot{Priority: bootctl.MaxPriority - uint8(i), Tries: tries}
		b.Log(fmt.Sprintf("slot %s: it was given up; there is no other slot, so it is tried again", bootctl.Suffix(i)))
		any, b.lost = true, true
	}
	return any
}

// giveUpAside marks the slots that were set aside unbootable, now that another
// one is loaded.
func (b *attempt) giveUpAside() error {
	if !b.anyAside() {
		return nil
	}
	for i, aside := range b.aside {
		if aside {
			partition, reason := b.autopsy(i)
			b.recordFailed(i, partition, reason, unhealthy())
			b.ctl.MarkUnbootable(i)
			b.count(i, 0)
		}
	}
	return b.writeControl()
}

func unhealthy() string { return fmt.Sprintf("booted %d times without becoming healthy", tries) }

// attempts returns how often slot i was booted since it was last healthy, 0 if
// the boot record is lost.
func (b *attempt) attempts(i int) int {
	r, err := bootrecord.Read(b.misc)
	if err != nil {
		b.Log(fmt.Sprintf("misc: %v: nobody knows how often slot %s was booted", err, bootctl.Suffix(i)))
	}
	return r.Attempts[bootctl.Suffix(i)]
}

// countBoot counts a boot of slot i, and returns once that is durable. Only
// slots that are marked successful are counted: the others have tries.
func (b *attempt) countBoot(i int) {
	if b.ctl.Slots[i].Successful {
		b.count(i, min(b.attempts(i)+1, tries))
	} else {
		b.count(i, 0)
	}
}

// count sets the count of slot i. If misc cannot be written that is only said:
// then a slot that does not come up is tried for longer.
func (b *attempt) count(i, n int) {
	if err := bootrecord.SetAttempts(b.misc, bootctl.Suffix(i), n); err != nil {
		b.Log(fmt.Sprintf("slot %s: its boot is not counted: %v", bootctl.Suffix(i), err))
	}
}
