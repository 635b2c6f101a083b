package boot

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"mios/device/bootrecord"
	"mios/format/bootctl"
)

const sectorSize = 512

// readControl reads the control block of misc. If it is not there or broken,
// both slots are to be tried anew, slot a first: that is safe, for a slot is
// verified before it runs.
func (b *attempt) readControl() error {
	raw := make([]byte, bootctl.ControlSize)
	if _, err := b.misc.ReadAt(raw, bootctl.ControlOffset); err != nil {
		return fmt.Errorf("misc: read the control block: %w", err)
	}
	ctl, err := bootctl.ParseControl(raw)
	if err == nil {
		b.ctl = ctl
		return nil
	}
	if !errors.Is(err, bootctl.ErrNoControl) {
		b.Log(fmt.Sprintf("misc: %v: trying both slots anew", err))
	}
	b.ctl = bootctl.New(2, tries)
	b.ctl.Slots[1] = bootctl.Slot{Priority: bootctl.MaxPriority - 1, Tries: tries}
	b.ctl.Suffix = ""
	return b.writeControl()
}

// writeControl writes the control block, in its whole sector, and returns once
// it is durable.
func (b *attempt) writeControl() error {
	block, err := b.ctl.Bytes()
	if err != nil {
		return fmt.Errorf("misc: %w", err)
	}
	sector := make([]byte, sectorSize)
	if _, err := b.misc.ReadAt(sector, bootctl.ControlOffset); err != nil {
		return fmt.Errorf("misc: read the control block: %w", err)
	}
	if bytes.Equal(sector[:len(block)], block) {
		return nil
	}
	copy(sector, block)
	if _, err := b.misc.WriteAt(sector, bootctl.ControlOffset); err != nil {
		return fmt.Errorf("misc: write the control block: %w", err)
	}
	if err := b.misc.Sync(); err != nil {
		return fmt.Errorf("misc: write the control block: %w", err)
	}
	return nil
}

// take uses up one try of slot i, or counts its boot, and returns once that is
// durable.
func (b *attempt) take(i int) error {
	b.countBoot(i)
	b.ctl.Take(i)
	return b.writeControl()
}

// freshRecord is how old a slot's last refusal may be to be about the boot
// before this one.
const freshRecord = time.Hour

// noteExhausted records it if the slot that was booted last has used up its
// tries, unless the system has said more about it already, and what is damaged
// in it.
func (b *attempt) noteExhausted() {
	last, err := b.ctl.Index(b.ctl.Suffix)
	if err != nil || b.ctl.Slots[last].Bootable() {
		return
	}
	b.reason = "reboot,slot_failed"
	partition, reason := b.autopsy(last)
	if r, err := bootrecord.Read(b.misc); err == nil && len(r.Refusals) > 0 {
		newest := r.Refusals[len(r.Refusals)-1]
		if age := b.Now().Sub(newest.Time); newest.Slot == b.ctl.Suffix && age.Abs() < freshRecord && (reason == "" || newest.Partition == partition) {
			return
		}
	}
	b.recordFailed(last, partition, reason, "it was started as often as it may be and did not prove itself healthy")
}

// recordFailed records why slot i failed: the damage that was found, or what
// else is known.
func (b *attempt) recordFailed(i int, partition, damage, otherwise string) {
	suffix := bootctl.Suffix(i)
	if damage == "" {
		b.record(suffix, "", otherwise, "")
		return
	}
	b.record(suffix, partition, damage, strings.TrimSuffix(partition, suffix)+": ")
}
