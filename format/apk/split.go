package apk

import (
	"fmt"
	"slices"
	"strings"

	"mios"
)

// A Split is one package of a set: the base, a feature or a configuration.
type Split struct {
	*Badging
	Feature string   // name of the feature that it is, or belongs to; "" is the base
	Config  bool     // it only holds what some devices need of that feature
	ABIs    []string // of its native code, if it is for them; else it is for any
	Density uint16   // in dpi; 0: any
	Locales []string // languages, sorted; nil: any
	Other   string   // of a configuration for something else: what its name says
}

// A SplitSet is a base package and its splits.
type SplitSet struct {
	Base   *Split
	Splits []*Split // the others, sorted by name
}

// NewSplitSet checks that the packages, of which one must be a base, belong
// together: one package name and version, no name twice, and every feature that
// one needs or configures is there. Errors wrap [mios.ErrInvalid]. Who signed
// them, which must be the same, is package apksig's matter.
func NewSplitSet(packages []*Badging) (*SplitSet, error) {
	set := new(SplitSet)
	for _, b := range packages {
		s := newSplit(b)
		switch {
		case b.Split != "":
			set.Splits = append(set.Splits, s)
		case set.Base != nil:
			return nil, invalid("two base packages, %s and %s", set.Base.Package, b.Package)
		default:
			set.Base = s
		}
	}
	if set.Base == nil {
		return nil, invalid("%d splits without a base package", len(packages))
	}
	slices.SortFunc(set.Splits, func(a, b *Split) int { return strings.Compare(a.Split, b.Split) })
	for i, s := range set.Splits {
		if i > 0 && set.Splits[i-1].Split == s.Split {
			return nil, invalid("split %s twice", s.Split)
		}
		if err := set.check(s); err != nil {
			return nil, err
		}
	}
	return set, set.checkRequired()
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("apk: %s: %w", fmt.Sprintf(format, args...), mios.ErrInvalid)
}

// newSplit names what a package is for.
func newSplit(b *Badging) *Split {
	s := &Split{Badging: b}
	config, ok := strings.CutPrefix(b.Split, "config.")
	if !ok {
		s.Feature, config, ok = strings.Cut(b.Split, ".config.")
	}
	switch {
	case b.Split == "":
		return s
	case b.IsFeatureSplit && !ok:
		s.Feature = b.Split
		return s
	case b.ConfigForSplit != "":
		s.Feature = b.ConfigForSplit
	}
	s.Config = true
	if !ok { // not named as bundletool and aapt2 do: what it holds says what it is for
		config = ""
	}
	s.target(config)
	return s
}

// densities are the names of densities, as bundletool has them.
var densities = map[string]uint16{
	"ldpi": DensityLow, "mdpi": DensityMedium, "tvdpi": DensityTV, "hdpi": DensityHigh,
	"xhdpi": DensityXHigh, "xxhdpi": DensityXXHigh, "xxxhdpi": DensityXXXHigh,
}

// target decides what a configuration is for: by its native code, by the name
// that bundletool gives it, or by its resources.
func (s *Split) target(config string) {
	tag := strings.ReplaceAll(config, "_", "-")
	var c Config
	switch {
	case len(s.Badging.ABIs) > 0:
		s.ABIs = s.Badging.ABIs
	case densities[config] != 0:
		s.Density = densities[config]
	case config != "" && (len(tag) < 4 || strings.Contains(tag, "-")) && c.SetLocale(tag):
		s.Locales = []string{tag}
	case len(s.Badging.Densities) == 1 && s.Badging.Densities[0] != DensityMedium && slices.Equal(s.Badging.Locales, []string{""}):
		s.Density = s.Badging.Densities[0]
	case len(s.Badging.Locales) > 0 && s.Badging.Locales[0] != "":
		s.Locales = s.Badging.Locales
	default:
		s.Other = config
	}
}

// check compares a split with the base.
func (set *SplitSet) check(s *Split) error {
	base := set.Base
	switch {
	case s.Package != base.Package:
		return invalid("split %s is of the package %s, the base is %s", s.Split, s.Package, base.Package)
	case s.VersionCode != base.VersionCode:
		return invalid("split %s has the version code %d, the base %d", s.Split, s.VersionCode, base.VersionCode)
	}
	for _, need := range append(slices.Clone(s.UsesSplits), s.Feature) {
		if need != "" && need != s.Split && set.split(need) == nil {
			return invalid("split %s needs the feature %s, which is not there", s.Split, need)
		}
	}
	return nil
}

func (set *SplitSet) split(name string) *Split {
	for _, s := range set.Splits {
		if s.Split == name {
			return s
		}
	}
	return nil
}

// checkRequired looks for the types of splits that the base cannot be without.
func (set *SplitSet) checkRequired() error {
	if set.Base.SplitRequired && len(set.Splits) == 0 {
		return invalid("%s does not run without splits, and there are none; add those that were built with it", set.Base.Package)
	}
	var have []string
	for _, s := range set.Splits {
		have = append(have, s.SplitTypes...)
	}
	for _, s := range append([]*Split{set.Base}, set.Splits...) {
		for _, need := range s.RequiredSplits {
			if !slices.Contains(have, need) {
				return invalid("%s %s needs a split of the type %s, which is not there", s.Package, s.Split, need)
			}
		}
	}
	return nil
}

// For returns the splits that the device needs beside the base: all features,
// and of the configurations of each those for its best ABI, for the density next
// to its own, and for the languages of its locales. Configurations for something
// that this package does not know are needed by all. What the device cannot run
// is an error that wraps [mios.ErrInvalid].
func (set *SplitSet) For(d Device) ([]*Split, error) {
	if d.SDK > 0 && set.Base.MinSDK > d.SDK {
		return nil, invalid("%s is for SDK versions from %d, the device has %d", set.Base.Package, set.Base.MinSDK, d.SDK)
	}
	var need []*Split
	for _, feature := range set.features() {
		if f := set.split(feature); f != nil {
			need = append(need, f)
		}
		list, err := set.configs(feature, d)
		if err != nil {
			return nil, err
		}
		need = append(need, list...)
	}
	return need, nil
}

// features returns the names of the features, the base's "" first.
func (set *SplitSet) features() []string {
	names := []string{""}
	for _, s := range set.Splits {
		if !s.Config {
			names = append(names, s.Split)
		}
	}
	return names
}

// configs returns the configurations of a feature that the device needs.
func (set *SplitSet) configs(feature string, d Device) ([]*Split, error) {
	var need, byABI, byDensity []*Split
	for _, s := range set.Splits {
		switch {
		case !s.Config || s.Feature != feature:
		case s.ABIs != nil:
			byABI = append(byABI, s)
		case s.Density != 0:
			byDensity = append(byDensity, s)
		case s.Locales != nil:
			if slices.ContainsFunc(d.Locales, s.speaks) {
				need = append(need, s)
			}
		default:
			need = append(need, s)
		}
	}
	if len(byABI) > 0 {
		s := bestABI(byABI, d.ABIs)
		if s == nil {
			return nil, invalid("%s has no native code for the ABIs %s", set.Base.Package, strings.Join(d.ABIs, ", "))
		}
		need = append(need, s)
	}
	if len(byDensity) > 0 {
		need = append(need, bestDensity(byDensity, d))
	}
	slices.SortFunc(need, func(a, b *Split) int { return strings.Compare(a.Split, b.Split) })
	return need, nil
}

// speaks reports whether the split has resources for the locale's language.
func (s *Split) speaks(locale string) bool {
	var want, has Config
	if !want.SetLocale(locale) {
		return false
	}
	return slices.ContainsFunc(s.Locales, func(tag string) bool {
		return has.SetLocale(tag) && sameLanguage(has.Language, want.Language)
	})
}

func bestABI(splits []*Split, abis []string) *Split {
	for _, abi := range abis {
		for _, s := range splits {
			if slices.Contains(s.ABIs, abi) {
				return s
			}
		}
	}
	return nil
}

func bestDensity(splits []*Split, d Device) *Split {
	want := d.Config()
	best := splits[0]
	for _, s := range splits[1:] {
		if betterDensity(&Config{Density: s.Density}, &Config{Density: best.Density}, &want) > 0 {
			best = s
		}
	}
	return best
}
