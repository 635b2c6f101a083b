package apk

// A Config says for which devices a resource is: AOSP's ResTable_config
// (androidfw/ResourceTypes.h). Zero fields say nothing. The constants' names
// are those of AOSP without their prefix. It can be compared with ==.
type Config struct {
	MCC, MNC uint16 // MNC 0xffff: the network code 0

	Language [2]byte // as packed by AOSP; see Locale
	Country  [2]byte
	Script   [4]byte // ISO 15924, or zeros
	Variant  [8]byte // BCP 47, or zeros
	// ScriptComputed says that Script was filled in and not written.
	ScriptComputed  bool
	NumberingSystem [8]byte

	Orientation    uint8
	Touchscreen    uint8
	Density        uint16 // dpi, or DensityAny and DensityNone
	Keyboard       uint8
	Navigation     uint8
	InputFlags     uint8
	GrammaticalSex uint8 // AOSP's grammaticalInflection

	ScreenWidth, ScreenHeight uint16 // pixels
	SDKVersion                uint16
	MinorVersion              uint16

	ScreenLayout          uint8
	UIMode                uint8
	SmallestScreenWidthDP uint16
	ScreenWidthDP         uint16
	ScreenHeightDP        uint16
	ScreenLayout2         uint8
	ColorMode             uint8
}

// Densities that are no dpi, and the usual ones.
const (
	DensityDefault = 0
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
