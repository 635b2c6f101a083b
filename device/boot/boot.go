// Package boot is the loader: it stands between the ROM and a slot's kernel.
// It chooses a slot by AOSP's A/B control block, verifies it with Android
// Verified Boot against the key that the ROM holds, and starts its kernel.
// What it hands over is said in docs/device.md.
//
// [Loader] has the logic and works on any [Disk]; [Main] is PID 1 of the
// ROM's initramfs around it. The package starts no kernel itself and loads no
// modules: those are functions of [Machine].
package boot

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mios/device/bootrecord"
	"mios/format/avb"
	"mios/format/bootctl"
	"mios/format/bootimg"
)

// tries is how often a slot may be booted without becoming healthy if nobody
// has said so: when the control block is lost and both slots are tried again,
// and since a slot that is marked successful was last healthy. It is as many
// as a new release has.
const tries = 3

// ErrNoSlot means that no slot could be booted. Its text is for a person.
var ErrNoSlot = errors.New("no slot can be booted: write a signed image of this product to the disk's boot, vbmeta and super partitions and make its slot active in misc")

// A Loader boots one slot of a disk. All fields must be set.
type Loader struct {
	Disk    Disk
	Key     []byte // the AVB public key that slots must be signed by
	Cmdline string // the loader's own kernel command line

	// Log is told what happened, one line a call.
	Log func(line string)
	// Load makes a kernel ready to be started.
	Load func(kernel, ramdisk []byte, cmdline string) error
	// Now tells the time for the boot record.
	Now   func() time.Time
	Times *Times
}

// Boot chooses a slot, verifies and loads it. A slot that is refused is marked
// unbootable, recorded in misc, and the next one is taken; one that cannot be
// read is only left out this time. So is one that was healthy once and has not
// been for three boots, if another one can be loaded in its place. When no slot
// has a try left, those that are whole get their tries back: a device that may
// come up is better than one that stays down. Boot returns an error that wraps
// [ErrNoSlot] if no slot is whole.
func (l *Loader) Boot() error {
	misc, err := l.Disk.Partition("misc")
	if err != nil {
		return fmt.Errorf("misc: %w", err)
	}
	rpmb, err := l.Disk.Partition("rpmb")
	if err != nil {
		return fmt.Errorf("rpmb: %w", err)
	}
	store, err := openRollback(rpmb)
	if err != nil {
		return err
	}
	b := &attempt{Loader: l, misc: misc, store: store, reason: "unknown"}
	if err := b.readControl(); err != nil {
		return err
	}
	b.noteExhausted()
	for {
		i, ok := b.choose()
		if !ok && (b.takeBack() || b.lastResort()) {
			continue
		}
		if !ok {
			return ErrNoSlot
		}
		if b.setAside(i) {
			continue
		}
		if err := b.take(i); err != nil {
			return err
		}
		err := b.boot(i)
		if err == nil {
			return b.giveUpAside()
		}
		if err := b.refuse(i, err); err != nil {
			return err
		}
	}
}

// attempt is one run of Boot.
type attempt struct {
	*Loader
	misc    Partition
	store   *rollback
	ctl     *bootctl.Control
	skip    [bootctl.MaxSlots]bool // could not be read
	aside   [bootctl.MaxSlots]bool // is given up if another one can be loaded
	last    bool                   // no slot is set aside any more
	refused [bootctl.MaxSlots]bool // by what is in them, in this run
	retried bool                   // the last resort is used up
	lost    bool                   // a slot was refused or set aside
	reason  string                 // androidboot.bootreason
}

// A refusal says why a slot cannot be booted.
type refusal struct {
	partition string // with suffix, or "" if it is about none
	cause     error
	transient bool // may go well next time: the slot is not given up
}

func (r *refusal) Error() string {
	if r.partition == "" {
		return r.cause.Error()
	}
	return r.partition + ": " + r.cause.Error()
}

// choose is [bootctl.Control.Choose] without what could not be read, and what
// is set aside.
func (b *attempt) choose() (int, bool) {
	c := *b.ctl
	c.Slots = append([]bootctl.Slot(nil), c.Slots...)
	for i := range c.Slots {
		if b.skip[i] || b.aside[i] {
			c.MarkUnbootable(i)
		}
	}
	return c.Choose()
}

// boot verifies and loads slot i.
func (b *attempt) boot(i int) error {
	suffix := bootctl.Suffix(i)
	data, err := avb.VerifySlot(&ops{b.Disk, b.Key, b.store}, avb.SlotRequest{
		Partitions: []string{"boot"}, Suffix: suffix, ErrorMode: avb.EIO,
	})
	if err != nil {
		return slotRefusal(err)
	}
	b.Times.Mark("verify")
	img, err := bootimg.Parse(data.Find("boot"))
	if err == nil && (img.Version < 3 || len(img.Kernel) == 0) {
		err = fmt.Errorf("version %d with a kernel of %d bytes: want version 3 or 4 and a kernel", img.Version, len(img.Kernel))
	}
	if err != nil {
		return &refusal{partition: "boot" + suffix, cause: err}
	}
	line := commandLine(img.Cmdline, data.Cmdline, b.Cmdline, []option{
		{"androidboot.slot_suffix", suffix},
		{"androidboot.verifiedbootstate", "green"},
		{"androidboot.bootreason", b.reason},
		{"androidboot.boottime", b.Times.String()},
	})
	if err := b.Load(img.Kernel, img.Ramdisk, line); err != nil {
		return &refusal{partition: "boot" + suffix, cause: fmt.Errorf("load: %w", err), transient: true}
	}
	if b.ctl.Slots[i].Successful && !b.lost { // that another one is lost raises nothing
		if err := b.raise(i, data); err != nil { // the slot boots, and the next boot tries again
			b.Log(fmt.Sprintf("rollback index stays as it was: %v", err))
		}
	}
	b.Times.Mark("load")
	b.Log(fmt.Sprintf("slot %s: verified and loaded (ms: %s)", suffix, b.Times))
	return nil
}

func slotRefusal(err error) *refusal {
	se, ok := errors.AsType[*avb.SlotError](err)
	if !ok {
		return &refusal{cause: err}
	}
	transient := se.Result == avb.SlotErrorIO || se.Result == avb.SlotErrorOOM
	return &refusal{partition: se.Partition, cause: errors.New(se.Reason), transient: transient}
}

// refuse gives slot i up, or leaves it out this time, and says why: on the
// console and in misc.
func (b *attempt) refuse(i int, err error) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		r = &refusal{cause: err}
	}
	suffix := bootctl.Suffix(i)
	where := ""
	if r.partition != "" {
		where = strings.TrimSuffix(r.partition, suffix) + ": "
	}
	b.record(suffix, r.partition, r.cause.Error(), where)
	b.reason, b.lost = "reboot,slot_refused", true
	if r.transient {
		b.skip[i] = true
		return nil
	}
	b.refused[i] = true
	b.ctl.MarkUnbootable(i)
	return b.writeControl()
}

// record says on the console and in misc why a slot is not booted. That misc
// cannot be written is only said: the record is information.
func (b *attempt) record(suffix, partition, reason, where string) {
	b.Log(fmt.Sprintf("slot %s: %s%s: the slot is refused", suffix, where, reason))
	err := bootrecord.Add(b.misc, bootrecord.Refusal{Slot: suffix, Partition: partition, Reason: reason, Time: b.Now().UTC().Truncate(time.Second)})
	if err != nil {
		b.Log(fmt.Sprintf("slot %s: its refusal is not recorded: %v", suffix, err))
	}
}

// raise raises the stored rollback indexes to the lowest of those slots that
// can still boot. i is the slot that boots, and data what was verified of it.
func (b *attempt) raise(i int, data *avb.SlotData) error {
	lowest := map[uint32]uint64{}
	for loc, v := range data.RollbackIndexes {
		if v > b.store.get(loc) {
			lowest[loc] = v
		}
	}
	if len(lowest) == 0 {
		return nil
	}
	for j, s := range b.ctl.Slots {
		if j == i || !s.Bootable() {
			continue
		}
		other, err := avb.VerifySlot(&ops{b.Disk, b.Key, b.store}, avb.SlotRequest{Suffix: bootctl.Suffix(j), ErrorMode: avb.EIO})
		if err != nil {
			if r := slotRefusal(err); r.transient {
				return fmt.Errorf("slot %s cannot be read: %w", bootctl.Suffix(j), r)
			}
			continue // it would be refused: it cannot boot
		}
		for loc := range lowest {
			lowest[loc] = min(lowest[loc], other.RollbackIndexes[loc])
		}
	}
	return b.store.raise(lowest)
}
