//go:build !ramdisk

package main

import (
	"slices"
	"testing"

	links "mios/internal/applet"
)

// TestApplets holds the links that an image has against what there is.
func TestApplets(t *testing.T) {
	var have []string
	for a := range applets {
		have = append(have, a.name)
	}
	slices.Sort(have)
	if once := slices.Compact(slices.Clone(have)); len(once) != len(have) {
		t.Errorf("an applet is there twice: %q", have)
	}
	if !slices.IsSorted(links.Names) {
		t.Errorf("internal/applet.Names is not sorted: %q", links.Names)
	}
	for _, n := range have {
		if !slices.Contains(links.Names, n) {
			t.Errorf("internal/applet.Names lacks %q: add it", n)
		}
	}
	for _, n := range links.Names {
		if !slices.Contains(have, n) {
			t.Errorf("internal/applet.Names has %q, which miosd does not", n)
		}
	}
}
