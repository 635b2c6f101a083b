package apk

import (
	"fmt"
	"strings"
)

// String returns the qualifiers of the configuration as aapt writes them:
// "fr-rCA-hdpi-v4", or "" if it is for any device.
func (c *Config) String() string {
	var q qualifiers
	q.number(c.MCC, "mcc%d")
	q.number(c.MNC, "mnc%d")
	q.add(c.dirLocale())
	q.name(c.Gender&3, "", "neuter", "feminine", "masculine")
	q.name(c.ScreenLayout&maskLayoutDir>>6, "layoutDir", "ldltr", "ldrtl")
	q.number(c.SmallestScreenWidthDP, "sw%ddp")
	q.number(c.ScreenWidthDP, "w%ddp")
	q.number(c.ScreenHeightDP, "h%ddp")
	q.name(c.ScreenLayout&maskScreenSize, "screenLayoutSize", "small", "normal", "large", "xlarge")
	q.name(c.ScreenLayout&maskScreenLong>>4, "screenLayoutLong", "notlong", "long")
	q.name(c.ScreenLayout2&maskRound, "screenRound", "notround", "round")
	q.name(c.ColorMode&maskWideColor, "wideColorGamut", "nowidecg", "widecg")
	q.name(c.ColorMode&maskHDR>>2, "hdr", "lowdr", "highdr")
	q.name(c.Orientation, "orientation", "port", "land", "square")
	q.name(c.UIMode&maskUIType, "uiModeType", "uiModeType=1", "desk", "car", "television", "appliance", "watch", "vrheadset")
	q.name(c.UIMode&maskUINight>>4, "uiModeNight", "notnight", "night")
	q.add(densityName(c.Density))
	q.name(c.Touchscreen, "touchscreen", "notouch", "stylus", "finger")
	q.name(c.InputFlags&maskKeysHidden, "", "keysexposed", "keyshidden", "keyssoft")
	q.name(c.Keyboard, "keyboard", "nokeys", "qwerty", "12key")
	q.name(c.InputFlags&maskNavHidden>>2, "inputFlagsNavHidden", "navexposed", "navhidden")
	q.name(c.Navigation, "navigation", "nonav", "dpad", "trackball", "wheel")
	if c.ScreenWidth != 0 || c.ScreenHeight != 0 {
		q.add(fmt.Sprintf("%dx%d", c.ScreenWidth, c.ScreenHeight))
	}
	if c.SDKVersion != 0 || c.MinorVersion != 0 {
		v := fmt.Sprintf("v%d", c.SDKVersion)
		if c.MinorVersion != 0 {
			v += fmt.Sprintf(".%d", c.MinorVersion)
		}
		q.add(v)
	}
	return strings.Join(q, "-")
}

type qualifiers []string

func (q *qualifiers) add(s string) {
	if s != "" {
		*q = append(*q, s)
	}
}

func (q *qualifiers) number(n uint16, format string) {
	if n != 0 {
		q.add(fmt.Sprintf(format, n))
	}
}

// name adds the nth of the names, from 1, or field=n if there is none.
func (q *qualifiers) name(n uint8, field string, names ...string) {
	switch {
	case n == 0:
	case int(n) <= len(names):
		q.add(names[n-1])
	default:
		q.add(fmt.Sprintf("%s=%d", field, n))
	}
}

func densityName(dpi uint16) string {
	switch dpi {
	case 0:
		return ""
	case DensityLow:
		return "ldpi"
	case DensityMedium:
		return "mdpi"
	case DensityTV:
		return "tvdpi"
	case DensityHigh:
		return "hdpi"
	case DensityXHigh:
		return "xhdpi"
	case DensityXXHigh:
		return "xxhdpi"
	case DensityXXXHigh:
		return "xxxhdpi"
	case DensityAny:
		return "anydpi"
	case DensityNone:
		return "nodpi"
	}
	return fmt.Sprintf("%ddpi", dpi)
}

// dirLocale returns the locale as the name of a folder has it: "en-rUS", or
// "b+sr+Latn".
func (c *Config) dirLocale() string {
	if c.Language[0] == 0 {
		return ""
	}
	script := c.Script[0] != 0 && !c.ScriptComputed
	if !script && c.Variant[0] == 0 && c.NumberingSystem[0] == 0 {
		if c.Country[0] == 0 {
			return unpack(c.Language, 'a')
		}
		return unpack(c.Language, 'a') + "-r" + unpack(c.Country, '0')
	}
	return "b+" + strings.Join(c.localeParts(), "+")
}

// Locale returns the BCP 47 tag as aapt writes it, such as "en-GB" or
// "sr-Latn", and "" for none.
func (c *Config) Locale() string {
	if c.Language[0] == 0 && c.Country[0] == 0 {
		return ""
	}
	return strings.Join(c.localeParts(), "-")
}

// localeParts returns what a locale is made of.
func (c *Config) localeParts() []string {
	var parts []string
	if c.Language[0] != 0 {
		parts = append(parts, unpack(c.Language, 'a'))
	}
	if c.Script[0] != 0 && !c.ScriptComputed {
		parts = append(parts, text(c.Script[:]))
	}
	if c.Country[0] != 0 {
		parts = append(parts, unpack(c.Country, '0'))
	}
	if c.Variant[0] != 0 {
		parts = append(parts, text(c.Variant[:]))
	}
	if c.NumberingSystem[0] != 0 {
		parts = append(parts, "u", "nu", text(c.NumberingSystem[:]))
	}
	return parts
}

// text returns b up to its first NUL.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// unpack returns a code of two letters, or the three that AOSP packs into 15
// bits, counted from base.
func unpack(b [2]byte, base byte) string {
	switch {
	case b[0] == 0:
		return ""
	case b[0]&0x80 == 0:
		return text(b[:])
	}
	return string([]byte{base + b[1]&0x1f, base + b[1]>>5 + b[0]&3<<3, base + b[0]&0x7c>>2})
}

// pack is the reverse of unpack, for two or three letters.
func pack(s string, base byte) [2]byte {
	if len(s) == 2 {
		return [2]byte{s[0], s[1]}
	}
	first, second, third := s[0]-base, s[1]-base, s[2]-base
	return [2]byte{0x80 | third&0x1f<<2 | second>>3&3, second<<5 | first&0x1f}
}
