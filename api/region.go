package api

import (
	"fmt"
	"slices"
	"strings"

	"mios"
)

// CheckRegion says what is wrong with the code of a region, ISO 3166-1 alpha-2:
// "DE". The error wraps [mios.ErrInvalid].
func CheckRegion(code string) error {
	if len(code) != 2 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fmt.Errorf("region %q: %w: want two capital letters, as ISO 3166 has them: DE", code, mios.ErrInvalid)
	}
	return nil
}

// A Place is what a device knows of where it is.
type Place struct {
	Region string   // the device's own; "" if nobody has told it
	Ships  []string // where devices like it are sold; none means everywhere
}

// Allows reports whether what was released for some regions, none meaning
// everywhere, is for a device in this place. One that does not know its region
// takes only what is for it wherever it may have been sold.
func (p Place) Allows(regions []string) bool {
	if len(regions) == 0 {
		return true
	}
	if p.Region != "" {
		return slices.Contains(regions, p.Region)
	}
	for _, r := range p.Ships {
		if !slices.Contains(regions, r) {
			return false
		}
	}
	return len(p.Ships) > 0
}

func (p Place) String() string {
	switch {
	case p.Region != "":
		return "in " + p.Region
	case len(p.Ships) > 0:
		return "in any of " + strings.Join(p.Ships, ", ")
	}
	return "anywhere"
}
