package store

import (
	"strconv"
	"strings"

	"mios/api/repo"
	"mios/format/apk"
)

// fitting returns those splits of a release that the device wants: features, and
// of the configurations of each what [apk.SplitSet.For] picks. The error, where
// there is native code for other processors alone, wraps [mios.ErrInvalid].
func (c *Config) fitting(rel *repo.AppRelease) ([]repo.Split, error) {
	named := func(name string) *apk.Badging {
		b := new(apk.Badging)
		b.Package, b.Split = rel.Package, name
		return b
	}
	set := &apk.SplitSet{Base: &apk.Split{Badging: named("")}}
	for i := range rel.Splits {
		set.Splits = append(set.Splits, target(&rel.Splits[i], named(rel.Splits[i].Name)))
	}
	want, err := set.For(apk.Device{ABIs: c.Device.ABIs, Locales: c.Locales, Density: uint16(c.Density)})
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, s := range want {
		wanted[s.Split] = true
	}
	var list []repo.Split
	for _, s := range rel.Splits {
		if wanted[s.Name] {
			list = append(list, s)
		}
	}
	return list, nil
}

// target is what a split is for. What belongs to a feature its name tells, as
// bundletool gives it: config.WHAT of the base, FEATURE.config.WHAT.
func target(s *repo.Split, b *apk.Badging) *apk.Split {
	t := &apk.Split{Badging: b}
	if s.ABI != "" {
		t.ABIs = []string{s.ABI}
	}
	if s.Locale != "" {
		t.Locales = []string{s.Locale}
	}
	if n, err := strconv.ParseUint(s.Density, 10, 16); err == nil {
		t.Density = uint16(n)
	}
	t.Config = t.ABIs != nil || t.Locales != nil || t.Density != 0
	if i := strings.LastIndex(s.Name, "config."); t.Config && i > 0 {
		t.Feature = strings.TrimSuffix(s.Name[:i], ".")
	}
	return t
}
