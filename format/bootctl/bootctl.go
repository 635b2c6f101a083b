// Package bootctl reads and writes what AOSP keeps in the misc partition for
// the bootloader: the message ([Message], bootloader_message of
// bootable/recovery's bootloader_message.h) at [MessageOffset] and the A/B
// control block ([Control], bootloader_control of
// hardware/interfaces/boot's boot_control_definition.h) at [ControlOffset],
// with the rules by which AOSP's boot control HAL changes it and libavb_ab
// chooses a slot. The rules are pure: they change a value, and its owner
// writes it.
package bootctl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// Where things stand in misc, in bytes from its start.
const (
	MessageOffset = 0
	MessageSize   = 2048
	ControlOffset = 2048 // the slot_suffix field of bootloader_message_ab
	ControlSize   = 32
)

const (
	controlMagic   = 0x42414342 // "BCAB"
	controlVersion = 1
	crcOffset      = 28

	// MaxTries is the most tries that the control block's 3 bits can hold.
	MaxTries = 7
	// MaxPriority is the priority of the active slot.
	MaxPriority = 15
	// MaxSlots is how many slots the control block has room for.
	MaxSlots = 4
)

// A FormatError says where a block of misc breaks the format, and how.
type FormatError struct {
	Off int64  // in bytes from the block's start
	Msg string // what is wrong there
}

func (e *FormatError) Error() string { return fmt.Sprintf("bootctl: offset %#x: %s", e.Off, e.Msg) }

func bad(off int, format string, args ...any) error {
	return &FormatError{int64(off), fmt.Sprintf(format, args...)}
}

// ErrNoControl means that the control block is wholly zero, as on a device
// that has never been booted.
var ErrNoControl = errors.New("bootctl: no control block")

// Merge is the state of a Virtual A/B snapshot, kept for who needs it.
type Merge uint8

// The states of a merge (android.hardware.boot MergeStatus).
const (
	MergeNone Merge = iota
	MergeUnknown
	MergeSnapshotted
	MergeMerging
	MergeCancelled
)

// A Control is the A/B control block.
type Control struct {
	Suffix        string // of the slot that is booted or chosen, such as "_a"; at most 4 bytes
	RecoveryTries uint8  // 0 to 7
	Merge         Merge
	Slots         []Slot // 1 to [MaxSlots], slot 0 is "_a"
}

// A Slot is the state of one slot.
type Slot struct {
	Priority        uint8 // 0 to 15; 0 is never chosen, 15 is the active slot
	Tries           uint8 // boots left before the slot is given up, 0 to 7
	Successful      bool  // has proved itself; then Tries is not used up
	VerityCorrupted bool  // booted with a dm-verity error
}

// Bootable reports whether the slot may be chosen.
func (s Slot) Bootable() bool { return s.Priority > 0 && (s.Successful || s.Tries > 0) }

// Suffix returns the suffix of slot i: "_a", "_b", …
func Suffix(i int) string { return "_" + string(rune('a'+i)) }

// ParseControl reads the control block at the start of b, which has at least
// [ControlSize] bytes. What it accepts, [Control.Bytes] gives back. A block
// of zeros is [ErrNoControl], everything else that is wrong a [*FormatError].
func ParseControl(b []byte) (*Control, error) {
	if len(b) < ControlSize {
		return nil, bad(0, "%d bytes, want %d", len(b), ControlSize)
	}
	b = b[:ControlSize]
	if allZero(b) {
		return nil, ErrNoControl
	}
	le := binary.LittleEndian
	if m := le.Uint32(b[4:]); m != controlMagic {
		return nil, bad(4, "magic is %#x, want %#x", m, controlMagic)
	}
	if got, want := le.Uint32(b[crcOffset:]), crc32.ChecksumIEEE(b[:crcOffset]); got != want {
		return nil, bad(crcOffset, "checksum is %#x, want %#x", got, want)
	}
	if b[8] != controlVersion {
		return nil, bad(8, "version %d, want %d", b[8], controlVersion)
	}
	suffix, ok := cString(b[:4])
	if !ok {
		return nil, bad(0, "slot suffix %q has bytes after its end", b[:4])
	}
	// nb_slot:3, recovery_tries_remaining:3, merge_status:3, packed, so that
	// the last runs over into the next byte.
	bits := le.Uint16(b[9:])
	n := int(bits & 7)
	switch {
	case n < 1 || n > MaxSlots:
		return nil, bad(9, "%d slots, want 1 to %d", n, MaxSlots)
	case bits>>9 != 0 || b[11] != 0 || !allZero(b[20:crcOffset]):
		return nil, bad(9, "reserved bits are not zero")
	}
	c := &Control{Suffix: suffix, RecoveryTries: uint8(bits >> 3 & 7), Merge: Merge(bits >> 6 & 7)}
	for i := range MaxSlots {
		v := le.Uint16(b[12+2*i:])
		if v>>9 != 0 {
			return nil, bad(12+2*i, "slot %d: reserved bits are not zero", i)
		}
		if i >= n {
			if v != 0 {
				return nil, bad(12+2*i, "slot %d of %d is not zero", i, n)
			}
			continue
		}
		c.Slots = append(c.Slots, Slot{
			Priority: uint8(v & 15), Tries: uint8(v >> 4 & 7), Successful: v>>7&1 == 1, VerityCorrupted: v>>8&1 == 1,
		})
	}
	return c, nil
}

// Bytes returns the [ControlSize] bytes of the block, checksum included.
func (c *Control) Bytes() ([]byte, error) {
	if n := len(c.Slots); n < 1 || n > MaxSlots {
		return nil, fmt.Errorf("bootctl: %d slots, want 1 to %d", n, MaxSlots)
	}
	if len(c.Suffix) > 4 || strings.IndexByte(c.Suffix, 0) >= 0 || c.RecoveryTries > 7 || c.Merge > 7 {
		return nil, fmt.Errorf("bootctl: suffix %q, %d recovery tries or merge state %d does not fit", c.Suffix, c.RecoveryTries, c.Merge)
	}
	b := make([]byte, ControlSize)
	le := binary.LittleEndian
	copy(b, c.Suffix)
	le.PutUint32(b[4:], controlMagic)
	b[8] = controlVersion
	le.PutUint16(b[9:], uint16(len(c.Slots))|uint16(c.RecoveryTries)<<3|uint16(c.Merge)<<6)
	for i, s := range c.Slots {
		if s.Priority > MaxPriority || s.Tries > MaxTries {
			return nil, fmt.Errorf("bootctl: slot %d: priority %d or %d tries do not fit", i, s.Priority, s.Tries)
		}
		v := uint16(s.Priority) | uint16(s.Tries)<<4
		if s.Successful {
			v |= 1 << 7
		}
		if s.VerityCorrupted {
			v |= 1 << 8
		}
		le.PutUint16(b[12+2*i:], v)
	}
	le.PutUint32(b[crcOffset:], crc32.ChecksumIEEE(b[:crcOffset]))
	return b, nil
}

// cString returns the string up to the first zero byte, and whether only zero
// bytes follow it.
func cString(b []byte) (string, bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return string(b), true
	}
	return string(b[:i]), allZero(b[i:])
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
