package apk

// Match reports whether a resource of configuration c may be used on a device of
// the configuration want: AOSP's ResTable_config::match. Density always may: it
// is scaled.
func (c *Config) Match(want *Config) bool {
	return c.matchNetwork(want) && c.matchLocale(want) && c.matchScreen(want) && c.matchInput(want) && c.matchVersion(want)
}

// fits says that a field is not given or is what is wanted.
func fits[T uint8 | uint16](has, want T) bool { return has == 0 || has == want }

// within says that a field is not given or not above what is wanted.
func within[T uint8 | uint16](has, want T) bool { return has <= want }

func (c *Config) matchNetwork(want *Config) bool {
	return fits(c.MCC, want.MCC) && fits(c.MNC, want.MNC)
}

func (c *Config) matchScreen(want *Config) bool {
	return fits(c.Gender, want.Gender) &&
		fits(c.ScreenLayout&maskLayoutDir, want.ScreenLayout&maskLayoutDir) &&
		within(c.ScreenLayout&maskScreenSize, want.ScreenLayout&maskScreenSize) &&
		fits(c.ScreenLayout&maskScreenLong, want.ScreenLayout&maskScreenLong) &&
		fits(c.UIMode&maskUIType, want.UIMode&maskUIType) &&
		fits(c.UIMode&maskUINight, want.UIMode&maskUINight) &&
		within(c.SmallestScreenWidthDP, want.SmallestScreenWidthDP) &&
		fits(c.ScreenLayout2&maskRound, want.ScreenLayout2&maskRound) &&
		fits(c.ColorMode&maskHDR, want.ColorMode&maskHDR) &&
		fits(c.ColorMode&maskWideColor, want.ColorMode&maskWideColor) &&
		within(c.ScreenWidthDP, want.ScreenWidthDP) &&
		within(c.ScreenHeightDP, want.ScreenHeightDP) &&
		fits(c.Orientation, want.Orientation) &&
		within(c.ScreenWidth, want.ScreenWidth) &&
		within(c.ScreenHeight, want.ScreenHeight)
}

func (c *Config) matchInput(want *Config) bool {
	keys, wantKeys := c.InputFlags&maskKeysHidden, want.InputFlags&maskKeysHidden
	return (fits(keys, wantKeys) || keys == keysHiddenNo && wantKeys == keysHiddenSoft) &&
		fits(c.Touchscreen, want.Touchscreen) &&
		fits(c.InputFlags&maskNavHidden, want.InputFlags&maskNavHidden) &&
		fits(c.Keyboard, want.Keyboard) &&
		fits(c.Navigation, want.Navigation)
}

func (c *Config) matchVersion(want *Config) bool {
	return within(c.SDKVersion, want.SDKVersion) && fits(c.MinorVersion, want.MinorVersion)
}

// BetterThan reports whether c suits a device of the configuration want better
// than o does: AOSP's ResTable_config::isBetterThan. Both must match it.
func (c *Config) BetterThan(o, want *Config) bool {
	if c.MCC != o.MCC && want.MCC != 0 {
		return c.MCC != 0
	}
	if c.MNC != o.MNC && want.MNC != 0 {
		return c.MNC != 0
	}
	if c.localeBetterThan(o, want) {
		return true
	}
	// Each step is 1 if c is better, -1 if o is, 0 if it does not decide.
	for _, step := range [...]func(c, o, want *Config) int{
		betterDirection, betterSize, betterScreen, betterDensity, betterInput, betterPixels, betterVersion,
	} {
		if d := step(c, o, want); d != 0 {
			return d > 0
		}
	}
	return false
}

// given says which of two different fields is better if the device has one: the
// one that is given.
func given[T uint8 | uint16](c, o, want T) int {
	switch {
	case c == o || want == 0:
		return 0
	case c != 0:
		return 1
	}
	return -1
}

// first returns the first number that is not 0, or 0.
func first(ds ...int) int {
	for _, d := range ds {
		if d != 0 {
			return d
		}
	}
	return 0
}

func betterDirection(c, o, want *Config) int {
	if d := given(c.Gender, o.Gender, want.Gender); d != 0 {
		return d
	}
	a, b := c.ScreenLayout&maskLayoutDir, o.ScreenLayout&maskLayoutDir
	if a != b && want.ScreenLayout&maskLayoutDir != 0 {
		return int(a) - int(b)
	}
	return int(c.SmallestScreenWidthDP) - int(o.SmallestScreenWidthDP) // the largest that fits
}

// betterSize compares how much of the device's screen is left unused, then the
// classes of size.
func betterSize(c, o, want *Config) int {
	if d := nearer(c.ScreenWidthDP, o.ScreenWidthDP, want.ScreenWidthDP) + nearer(c.ScreenHeightDP, o.ScreenHeightDP, want.ScreenHeightDP); d != 0 {
		return d
	}
	mine, other, size := c.ScreenLayout&maskScreenSize, o.ScreenLayout&maskScreenSize, want.ScreenLayout&maskScreenSize
	if mine == other || size == 0 {
		return given(c.ScreenLayout&maskScreenLong, o.ScreenLayout&maskScreenLong, want.ScreenLayout&maskScreenLong)
	}
	// Not given counts as normal, if the device is at least that; but a given
	// normal is better.
	a, b := mine, other
	if size >= screenNormal {
		if a == 0 {
			a = screenNormal
		}
		if b == 0 {
			b = screenNormal
		}
	}
	if a == b {
		return int(mine) - int(other)
	}
	return int(a) - int(b)
}

// nearer returns how much c is nearer to want, from below, than o.
func nearer(c, o, want uint16) int {
	if want == 0 {
		return 0
	}
	return int(c) - int(o)
}

func betterScreen(c, o, want *Config) int {
	return first(
		given(c.ScreenLayout2&maskRound, o.ScreenLayout2&maskRound, want.ScreenLayout2&maskRound),
		given(c.ColorMode&maskWideColor, o.ColorMode&maskWideColor, want.ColorMode&maskWideColor),
		given(c.ColorMode&maskHDR, o.ColorMode&maskHDR, want.ColorMode&maskHDR),
		given(c.Orientation, o.Orientation, want.Orientation),
		given(c.UIMode&maskUIType, o.UIMode&maskUIType, want.UIMode&maskUIType),
		given(c.UIMode&maskUINight, o.UIMode&maskUINight, want.UIMode&maskUINight),
	)
}

// betterDensity prefers any density to a scaled one, then the smallest that is
// scaled down, then the largest.
func betterDensity(c, o, want *Config) int {
	if c.Density == o.Density {
		return 0
	}
	a, b, dpi := int(c.Density), int(o.Density), int(want.Density)
	if a == 0 {
		a = DensityMedium
	}
	if b == 0 {
		b = DensityMedium
	}
	if dpi == 0 || dpi == DensityAny {
		dpi = DensityMedium
	}
	switch {
	case a == DensityAny:
		return 1
	case b == DensityAny:
		return -1
	case max(a, b) != dpi && min(a, b) >= dpi: // both are scaled down: less is better
		if a >= b {
			return -1
		}
		return 1
	case a >= b:
		return 1
	}
	return -1
}

func betterInput(c, o, want *Config) int {
	if d := given(c.Touchscreen, o.Touchscreen, want.Touchscreen); d != 0 {
		return d
	}
	a, b, keys := c.InputFlags&maskKeysHidden, o.InputFlags&maskKeysHidden, want.InputFlags&maskKeysHidden
	if a != b && keys != 0 { // no and soft both match soft: the exact one is better
		switch {
		case a == 0, b == keys:
			return -1
		case b == 0, a == keys:
			return 1
		}
	}
	return first(
		given(c.InputFlags&maskNavHidden, o.InputFlags&maskNavHidden, want.InputFlags&maskNavHidden),
		given(c.Keyboard, o.Keyboard, want.Keyboard),
		given(c.Navigation, o.Navigation, want.Navigation),
	)
}

func betterPixels(c, o, want *Config) int {
	return nearer(c.ScreenWidth, o.ScreenWidth, want.ScreenWidth) + nearer(c.ScreenHeight, o.ScreenHeight, want.ScreenHeight)
}

func betterVersion(c, o, want *Config) int {
	if c.SDKVersion != o.SDKVersion && want.SDKVersion != 0 {
		return int(c.SDKVersion) - int(o.SDKVersion)
	}
	return given(c.MinorVersion, o.MinorVersion, want.MinorVersion)
}
