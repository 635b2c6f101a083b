package apk

import "encoding/binary"

// A Config says for which devices a resource is, or what a device is: AOSP's
// ResTable_config (androidfw/ResourceTypes.h), whose numbers the fields hold.
// Fields that are zero say nothing. It can be compared with ==.
type Config struct {
	MCC, MNC uint16 // mobile country and network code; MNC 0xffff is the network 0

	Language [2]byte // as AOSP packs it; see Locale and SetLocale
	Country  [2]byte
	Script   [4]byte // ISO 15924
	Variant  [8]byte // BCP 47
	// ScriptComputed says that Script follows from the language.
	ScriptComputed  bool
	NumberingSystem [8]byte

	Orientation uint8  // 1 portrait, 2 landscape, 3 square
	Touchscreen uint8  // 1 none, 2 stylus, 3 finger
	Density     uint16 // dpi, or DensityAny and DensityNone
	Keyboard    uint8  // 1 none, 2 QWERTY, 3 twelve keys
	Navigation  uint8  // 1 none, 2 D-pad, 3 trackball, 4 wheel
	InputFlags  uint8  // bits 0-1: keys hidden, 2-3: navigation hidden
	Gender      uint8  // grammatical: 1 neuter, 2 feminine, 3 masculine

	ScreenWidth, ScreenHeight uint16 // pixels
	SDKVersion                uint16
	MinorVersion              uint16

	ScreenLayout          uint8  // bits 0-3: size from 1 small to 4 xlarge, 4-5: long, 6-7: direction
	UIMode                uint8  // bits 0-3: type, 4-5: night
	SmallestScreenWidthDP uint16 // dp
	ScreenWidthDP         uint16 // dp
	ScreenHeightDP        uint16 // dp
	ScreenLayout2         uint8  // bits 0-1: round
	ColorMode             uint8  // bits 0-1: wide gamut, 2-3: HDR
}

// Densities in dpi, and two that are none: for any, and not to be scaled.
const (
	DensityLow     = 120
	DensityMedium  = 160
	DensityTV      = 213
	DensityHigh    = 240
	DensityXHigh   = 320
	DensityXXHigh  = 480
	DensityXXXHigh = 640
	DensityAny     = 0xfffe
	DensityNone    = 0xffff
)

// Bit fields of a Config.
const (
	maskScreenSize = 0x0f // of ScreenLayout
	maskScreenLong = 0x30
	maskLayoutDir  = 0xc0
	maskUIType     = 0x0f // of UIMode
	maskUINight    = 0x30
	maskRound      = 0x03 // of ScreenLayout2
	maskWideColor  = 0x03 // of ColorMode
	maskHDR        = 0x0c
	maskKeysHidden = 0x03 // of InputFlags
	maskNavHidden  = 0x0c

	screenNormal   = 2
	keysHiddenNo   = 1
	keysHiddenSoft = 3
	newestSDK      = 10000 // newer than any that a resource is for
	configSize     = 64
)

// parseConfig reads the configuration in b, which begins with its size. An old
// one is shorter; what a newer one has more is passed over.
func parseConfig(b []byte) (c Config, ok bool) {
	le := binary.LittleEndian
	if len(b) < 4 {
		return c, false
	}
	n := le.Uint32(b)
	if n < 4 || int64(n) > int64(len(b)) {
		return c, false
	}
	var f [configSize]byte
	copy(f[:], b[:n])
	c = Config{
		MCC: le.Uint16(f[4:]), MNC: le.Uint16(f[6:]),
		Language: [2]byte(f[8:]), Country: [2]byte(f[10:]),
		Orientation: f[12], Touchscreen: f[13], Density: le.Uint16(f[14:]),
		Keyboard: f[16], Navigation: f[17], InputFlags: f[18], Gender: f[19],
		ScreenWidth: le.Uint16(f[20:]), ScreenHeight: le.Uint16(f[22:]),
		SDKVersion: le.Uint16(f[24:]), MinorVersion: le.Uint16(f[26:]),
		ScreenLayout: f[28], UIMode: f[29], SmallestScreenWidthDP: le.Uint16(f[30:]),
		ScreenWidthDP: le.Uint16(f[32:]), ScreenHeightDP: le.Uint16(f[34:]),
		Script: [4]byte(f[36:]), Variant: [8]byte(f[40:]),
		ScreenLayout2: f[48], ColorMode: f[49],
		ScriptComputed: f[52] != 0, NumberingSystem: [8]byte(f[53:]),
	}
	if c.Language[0] != 0 && c.Script[0] == 0 { // once here instead of for each match
		c.ScriptComputed, c.Script = true, likelyScript(c.Language, c.Country)
	}
	return c, true
}

// A Device is what decides which resources and which splits are for it.
type Device struct {
	SDK     int      // 0: the newest
	ABIs    []string // best first
	Density uint16   // dpi; 0: 160
	Locales []string // BCP 47, best first
}

// Config returns the configuration of a phone held upright, as aapt takes one,
// with the device's SDK version, density and first locale, which is en-US if
// there is none.
func (d Device) Config() Config {
	c := Config{
		Orientation: 1, Density: d.Density, ScreenWidthDP: 320, ScreenHeightDP: 480, SmallestScreenWidthDP: 320,
		ScreenLayout: screenNormal, SDKVersion: newestSDK,
	}
	if d.SDK > 0 {
		c.SDKVersion = uint16(min(d.SDK, 1<<16-1))
	}
	if c.Density == 0 {
		c.Density = DensityMedium
	}
	if len(d.Locales) == 0 || !c.SetLocale(d.Locales[0]) {
		c.SetLocale("en-US")
	}
	return c
}
