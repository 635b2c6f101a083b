package bootctl

import (
	"fmt"
	"slices"
)

// New returns the control block of a new device with n slots of which the
// first is active, with the given number of tries, and the others cannot be
// booted.
func New(n int, tries uint8) *Control {
	c := &Control{Suffix: Suffix(0), Slots: make([]Slot, n)}
	c.SetActive(0, tries)
	return c
}

// SetActive makes slot i the one to be booted next, with that many tries
// (1 to [MaxTries]): every other slot gets a lower priority. As in AOSP's HAL
// the slot stays successful if it was, so an updater marks it unbootable
// before it writes to it.
func (c *Control) SetActive(i int, tries uint8) {
	for j := range c.Slots {
		if j != i && c.Slots[j].Priority >= MaxPriority {
			c.Slots[j].Priority = MaxPriority - 1
		}
	}
	s := &c.Slots[i]
	s.Priority, s.Tries = MaxPriority, min(max(tries, 1), MaxTries)
	s.VerityCorrupted = false
}

// MarkSuccessful records that slot i has proved itself. One try stays, so that
// the slot counts as bootable where only tries are looked at.
func (c *Control) MarkSuccessful(i int) {
	c.Slots[i].Successful = true
	c.Slots[i].Tries = 1
}

// MarkUnbootable takes slot i out of the choice until SetActive puts it back.
func (c *Control) MarkUnbootable(i int) {
	c.Slots[i].Successful = false
	c.Slots[i].Tries = 0
}

// Choose returns the slot to boot: of those that are bootable the one with the
// highest priority, the lower number among equals. ok is false if there is
// none.
func (c *Control) Choose() (i int, ok bool) {
	i = -1
	for j, s := range c.Slots {
		if s.Bootable() && (i < 0 || s.Priority > c.Slots[i].Priority) {
			i = j
		}
	}
	return i, i >= 0
}

// Take uses up one try of slot i, unless it is successful, and makes it the
// slot that Suffix names. The block must be written before the slot runs.
func (c *Control) Take(i int) {
	c.Suffix = Suffix(i)
	if s := &c.Slots[i]; !s.Successful && s.Tries > 0 {
		s.Tries--
	}
}

// Index returns the number of the slot with that suffix, such as "_b".
func (c *Control) Index(suffix string) (int, error) {
	i := slices.IndexFunc(Suffixes(len(c.Slots)), func(s string) bool { return s == suffix })
	if i < 0 {
		return 0, fmt.Errorf("bootctl: no slot %q among %d", suffix, len(c.Slots))
	}
	return i, nil
}

// Suffixes returns the suffixes of n slots.
func Suffixes(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = Suffix(i)
	}
	return s
}
