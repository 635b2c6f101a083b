package apk_test

import (
	"testing"

	"mios/format/apk"
)

// locale returns a configuration of that locale.
func locale(t *testing.T, tag string) apk.Config {
	t.Helper()
	var c apk.Config
	if !c.SetLocale(tag) {
		t.Fatalf("SetLocale(%s) failed", tag)
	}
	return c
}

// TestLocales lets devices choose between locales, by the rules of AOSP
// ResTable_config and LocaleData (libs/androidfw).
func TestLocales(t *testing.T) {
	for _, tt := range []struct {
		want   string
		better []string // each better than the next
		not    []string // that do not match
	}{
		{"en-US", []string{"en-US", "en", "", "en-PR", "en-001", "en-GB"}, []string{"fr", "en-Shaw"}},
		{"en-GB", []string{"en-GB", "en-001", "en", "en-AU", "en-US", ""}, nil},
		{"en-DE", []string{"en-DE", "en-150", "en-001", "en", "en-AT", "en-GB", "en-US", ""}, []string{"de"}},
		{"es-AR", []string{"es-AR", "es-419", "es", "es-BO", "es-ES", ""}, []string{"pt"}},
		{"es-GQ", []string{"es", "es-ES", ""}, nil},
		{"pt-AO", []string{"pt-AO", "pt-PT", "pt", "pt-MZ", "pt-BR", ""}, nil},
		{"zh-TW", []string{"zh-TW", "zh-Hant", "zh-HK", ""}, []string{"zh-CN", "zh", "zh-Hans"}},
		{"zh-MO", []string{"zh-MO", "zh-HK", "zh-Hant", "zh-TW", ""}, []string{"zh-CN"}},
		{"sr-Latn-RS", []string{"sr-Latn-RS", "sr-Latn", ""}, []string{"sr", "sr-RS", "sr-Cyrl"}},
		{"de-AT", []string{"de-AT", "de", "de-DE", "de-CH", ""}, []string{"en"}},
		{"fil-PH", []string{"fil-PH", "tl-PH", "fil", "tl", ""}, nil},
		{"en-US-posix", []string{"en-US-posix", "en-US"}, nil},
		{"", []string{""}, []string{"en", "de"}},
	} {
		want := locale(t, tt.want)
		for i, tag := range tt.better {
			c := locale(t, tag)
			if !c.Match(&want) {
				t.Errorf("%s does not match %s", tag, tt.want)
			}
			for _, worse := range tt.better[i+1:] {
				if o := locale(t, worse); !c.BetterThan(&o, &want) || o.BetterThan(&c, &want) {
					t.Errorf("for %s: %q is not better than %q", tt.want, tag, worse)
				}
			}
		}
		for _, tag := range tt.not {
			if c := locale(t, tag); c.Match(&want) {
				t.Errorf("%s matches %s", tag, tt.want)
			}
		}
	}
}

func TestSetLocale(t *testing.T) {
	for tag, want := range map[string][2]string{
		"en":                {"en", "en"},
		"EN-us":             {"en-US", "en-rUS"},
		"sr-Latn":           {"sr-Latn", "b+sr+Latn"},
		"es-419":            {"es-419", "es-r419"},
		"fil-PH":            {"fil-PH", "fil-rPH"},
		"de-1996":           {"de-1996", "b+de+1996"},
		"ar-EG-u-nu-latn":   {"ar-EG-u-nu-latn", "b+ar+EG+u+nu+latn"},
		"zh-hant-tw-scouse": {"zh-Hant-TW-scouse", "b+zh+Hant+TW+scouse"},
	} {
		c := locale(t, tag)
		if got := [2]string{c.Locale(), c.String()}; got != want {
			t.Errorf("%s: %q, want %q", tag, got, want)
		}
	}
	c := locale(t, "fr")
	for _, tag := range []string{"e", "english-US", "e_US", "en-", "en-x-y", "12", "en-toolongtag"} {
		if c.SetLocale(tag); c.Locale() != "fr" {
			t.Errorf("SetLocale(%s) set %s", tag, c.Locale())
		}
	}
}

// TestMatch compares fields one by one.
func TestMatch(t *testing.T) {
	phone := apk.Device{SDK: 30, Density: 320}.Config()
	phone.MCC, phone.MNC, phone.UIMode, phone.Touchscreen, phone.Keyboard, phone.InputFlags = 310, 4, 0x11, 3, 1, 3
	phone.ScreenWidth, phone.ScreenHeight, phone.ScreenLayout, phone.ScreenLayout2, phone.ColorMode, phone.Gender = 720, 1280, 0x62, 2, 5, 2
	for _, tt := range []struct {
		name         string
		best, better apk.Config // best is better than better, and that than the default
		not          apk.Config
	}{
		{"network", apk.Config{MCC: 310, MNC: 4}, apk.Config{MCC: 310}, apk.Config{MCC: 311}},
		{"gender", apk.Config{Gender: 2, Orientation: 1}, apk.Config{Gender: 2}, apk.Config{Gender: 1}},
		{"direction", apk.Config{ScreenLayout: 0x42, Orientation: 1}, apk.Config{ScreenLayout: 0x40}, apk.Config{ScreenLayout: 0x80}},
		{"smallest width", apk.Config{SmallestScreenWidthDP: 320}, apk.Config{SmallestScreenWidthDP: 300}, apk.Config{SmallestScreenWidthDP: 321}},
		{"width and height", apk.Config{ScreenWidthDP: 320, ScreenHeightDP: 480}, apk.Config{ScreenWidthDP: 320}, apk.Config{ScreenHeightDP: 481}},
		{"size", apk.Config{ScreenLayout: 0x22}, apk.Config{ScreenLayout: 2}, apk.Config{ScreenLayout: 3}},
		{"round", apk.Config{ScreenLayout2: 2, ColorMode: 1}, apk.Config{ScreenLayout2: 2}, apk.Config{ScreenLayout2: 1}},
		{"color", apk.Config{ColorMode: 5}, apk.Config{ColorMode: 1}, apk.Config{ColorMode: 2}},
		{"HDR", apk.Config{ColorMode: 4, Orientation: 1}, apk.Config{ColorMode: 4}, apk.Config{ColorMode: 8}},
		{"orientation", apk.Config{Orientation: 1, UIMode: 1}, apk.Config{Orientation: 1}, apk.Config{Orientation: 2}},
		{"type", apk.Config{UIMode: 0x11}, apk.Config{UIMode: 1}, apk.Config{UIMode: 3}},
		{"night", apk.Config{UIMode: 0x10, Density: 320}, apk.Config{UIMode: 0x10}, apk.Config{UIMode: 0x20}},
		{"density", apk.Config{Density: apk.DensityAny}, apk.Config{Density: 320}, apk.Config{SDKVersion: 31}},
		{"density above", apk.Config{Density: 480}, apk.Config{Density: 640}, apk.Config{SDKVersion: 31}},
		{"density below", apk.Config{Density: 240}, apk.Config{Density: 213}, apk.Config{SDKVersion: 31}},
		{"touch", apk.Config{Touchscreen: 3, Keyboard: 1}, apk.Config{Touchscreen: 3}, apk.Config{Touchscreen: 1}},
		{"keys hidden", apk.Config{InputFlags: 3}, apk.Config{InputFlags: 1}, apk.Config{InputFlags: 2}},
		{"keyboard", apk.Config{Keyboard: 1, SDKVersion: 4}, apk.Config{Keyboard: 1}, apk.Config{Keyboard: 2}},
		{"pixels", apk.Config{ScreenWidth: 720, ScreenHeight: 1280}, apk.Config{ScreenWidth: 480, ScreenHeight: 800}, apk.Config{ScreenWidth: 721}},
		{"SDK", apk.Config{SDKVersion: 30}, apk.Config{SDKVersion: 21}, apk.Config{SDKVersion: 31}},
	} {
		var other apk.Config
		for _, c := range []*apk.Config{&tt.best, &tt.better, &other} {
			if !c.Match(&phone) {
				t.Errorf("%s: %s does not match", tt.name, c)
			}
		}
		for _, pair := range [][2]*apk.Config{{&tt.best, &tt.better}, {&tt.best, &other}, {&tt.better, &other}} {
			if !pair[0].BetterThan(pair[1], &phone) || pair[1].BetterThan(pair[0], &phone) {
				t.Errorf("%s: %q is not better than %q", tt.name, pair[0], pair[1])
			}
		}
		if tt.not.Match(&phone) {
			t.Errorf("%s: %s matches", tt.name, &tt.not)
		}
	}
}
