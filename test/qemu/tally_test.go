package qemu_test

import (
	"slices"
	"sync"
	"testing"

	"mios/emulator"
)

// A tally is what the power cuts of a run came to. It is safe for concurrent
// use.
type tally struct {
	mu   sync.Mutex
	cuts map[phase][]emulator.Damage
}

func (c *tally) add(at phase, d emulator.Damage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cuts == nil {
		c.cuts = map[phase][]emulator.Damage{}
	}
	c.cuts[at] = append(c.cuts[at], d)
}

// check prints the tally, once all seeds have run. It wants that power cuts
// lost something, and that there were some in nearly all the phases of a way.
func (c *tally) check(t *testing.T, way []phase) {
	if t.Failed() {
		return
	}
	var sum emulator.Damage
	cuts, real := 0, 0
	for p, list := range c.cuts {
		for _, d := range list {
			t.Logf("%v: %v", p, d)
			cuts++
			if d.Dropped+d.Torn > 0 {
				real++
			}
			sum.Kept, sum.Dropped, sum.Torn = sum.Kept+d.Kept, sum.Dropped+d.Dropped, sum.Torn+d.Torn
		}
	}
	t.Logf("%d power cuts in %d phases: %d dropped or tore something; %v", cuts, len(c.cuts), real, sum)
	if len(seeds(t, seedsPerRun)) < seedsPerRun {
		return // so many do this together
	}
	if real*3 < cuts {
		t.Errorf("of %d power cuts only %d lost anything", cuts, real)
	}
	missed := slices.DeleteFunc(slices.Clone(way), func(p phase) bool { return len(c.cuts[p]) > 0 })
	t.Logf("%d phases of %d without a power cut: %v", len(missed), len(way), missed)
	if len(missed)*5 > len(way) { // where a stage ends is not the same each time
		t.Errorf("no power cuts in %v", missed)
	}
}
