package apk

// A screenClass is one of the sizes of screens that supports-screens names.
type screenClass struct {
	supported bool
	said      bool
}

func (r *manifestReader) supportsScreens(e *Element) {
	r.least = make([]screenClass, 5)
	for i, id := range []uint32{idSmallScreens, idNormalScreens, idLargeScreens, idXLargeScreens, idAnyDensity} {
		// aapt reads a written true as if nothing were written.
		r.least[i] = screenClass{said: r.integer(e, id, 1) <= 0, supported: r.integer(e, id, 1) < 0}
	}
	s := &r.m.Screens
	s.RequiresSmallestWidth = r.integer(e, idRequiresSmallestWidthDP, 0)
	s.CompatibleWidthLimit = r.integer(e, idCompatibleWidthLimitDP, 0)
	s.LargestWidthLimit = r.integer(e, idLargestWidthLimitDP, 0)
}

// finishScreens decides what supports-screens does not say, as aapt does: by the
// widths, and by the SDK version that the package is for.
func (r *manifestReader) finishScreens() {
	s, classes := &r.m.Screens, r.least
	if classes == nil {
		classes = make([]screenClass, 5)
	}
	said := classes[0].said || classes[1].said || classes[2].said || classes[3].said
	if least := s.RequiresSmallestWidth; !said && least > 0 {
		limit := s.CompatibleWidthLimit
		if limit <= 0 {
			limit = least
		}
		for i, width := range []int{240, 320, 480, 720} {
			classes[i] = screenClass{said: true, supported: least <= width && limit >= width}
		}
	}
	decide := func(i int, other bool) bool {
		if classes[i].said {
			return classes[i].supported
		}
		return other
	}
	sdk := r.m.TargetSDK
	s.Small, s.Normal, s.Large = decide(0, sdk >= 4), decide(1, true), decide(2, sdk >= 4)
	s.XLarge = decide(3, sdk >= 9)
	s.AnyDensity = decide(4, sdk >= 4 || s.RequiresSmallestWidth > 0 || s.CompatibleWidthLimit > 0)
}
