package report

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mios/format/apk"
)

// A Split is one package beside a base package.
type Split struct {
	File       string   `json:"file"`
	Name       string   `json:"name"`
	Feature    string   `json:"feature,omitempty"` // that it is, or belongs to
	ABIs       []string `json:"abis,omitempty"`    // that it is for; none of these three: for all devices
	Density    int      `json:"density,omitempty"` // in dpi
	Locales    []string `json:"locales,omitempty"`
	Size       int64    `json:"size"`
	SameSigner bool     `json:"same_signer"`      // it verifies, and whoever signed the base signed it
	Needed     *bool    `json:"needed,omitempty"` // by the device that was asked about
}

// DescribeSet describes a base package and its splits, in any order: the base,
// with the others in Splits. With a device it says which ones that needs.
func DescribeSet(ctx context.Context, packages []Package, o Options, device *apk.Device) (*App, error) {
	var list []*apk.Badging
	files := make(map[*apk.Badging]opened)
	for _, p := range packages {
		f, err := apk.Open(p, p.Size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		b, err := f.Badging()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		list, files[b] = append(list, b), opened{f, p}
	}
	set, err := apk.NewSplitSet(list)
	if err != nil {
		return nil, err
	}
	base := files[set.Base.Badging]
	a, err := describe(ctx, base.f, base.Package, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base.Name, err)
	}
	var needs []*apk.Split
	if device != nil {
		if needs, err = set.For(*device); err != nil {
			return nil, err
		}
	}
	for _, s := range set.Splits {
		p := files[s.Badging]
		out := Split{File: p.Name, Name: s.Split, Feature: s.Feature, ABIs: s.ABIs, Density: int(s.Density), Locales: s.Locales, Size: p.Size}
		if out.SameSigner, err = sameSigner(ctx, a.Signature, p, s.MinSDK); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		if device != nil {
			needed := slices.Contains(needs, s)
			out.Needed = &needed
		}
		a.Splits = append(a.Splits, out)
	}
	return a, nil
}

// An opened package.
type opened struct {
	f *apk.File
	Package
}

// sameSigner reports whether the package, which is for platforms from minSDK on,
// verifies, by the signers of base.
func sameSigner(ctx context.Context, base *Signature, p opened, minSDK int) (bool, error) {
	if base == nil {
		return false, nil
	}
	s, err := verifyToday(ctx, p.f, p.Package, minSDK)
	if err != nil {
		return false, err
	}
	same := slices.EqualFunc(base.current(), s.current(), func(a, b Signer) bool { return a.Digest == b.Digest })
	return s.Verified && base.Verified && same, nil
}

// knownABIs are the names of processors (Android NDK, ABI management).
var knownABIs = []string{"arm64-v8a", "armeabi-v7a", "armeabi", "x86_64", "x86", "riscv64", "mips64", "mips"}

// ParseDevice reads a device from words with commas between, in any order: ABIs,
// the best first; a density in dpi, such as 420dpi; languages, the best first; an
// SDK version, such as sdk34.
func ParseDevice(s string) (*apk.Device, error) {
	d := new(apk.Device)
	for word := range strings.SplitSeq(s, ",") {
		word = strings.TrimSpace(word)
		dpi, isDensity := strings.CutSuffix(word, "dpi")
		sdk, isSDK := strings.CutPrefix(word, "sdk")
		n, numErr := strconv.ParseUint(strings.TrimPrefix(dpi, "sdk"), 10, 16)
		var c apk.Config
		switch {
		case slices.Contains(knownABIs, word):
			d.ABIs = append(d.ABIs, word)
		case isDensity && numErr == nil && n > 0:
			d.Density = uint16(n)
		case isSDK && sdk != "" && numErr == nil && n > 0:
			d.SDK = int(n)
		case word != "" && !isDensity && !isSDK && c.SetLocale(word):
			d.Locales = append(d.Locales, word)
		default:
			return nil, fmt.Errorf("device %q: %q is no ABI, no density (420dpi), no SDK version (sdk34) and no language", s, word)
		}
	}
	return d, nil
}
