package apk

// Badging is what a package shows of itself before it is installed, with
// references resolved: what `aapt dump badging` prints.
type Badging struct {
	Info
	Labels    map[string]string // of the application, by locale as aapt writes it; "" is the default
	Icons     map[uint16]string // of the application: path in the package, by density in dpi
	Locales   []string          // that the package has resources for, as aapt writes them; "" is the default
	Densities []uint16          // that the package has resources for, in dpi, sorted
	Launch    *Launchable       // what the home screen starts, or nil
	Implied   []ImpliedFeature  // features that it needs without saying so
}

// A Launchable is an activity that the home screen shows.
type Launchable struct {
	Name        string // of the class
	Label, Icon string // "" if it has none of its own
	TV          bool   // the TV's home screen (LEANBACK_LAUNCHER), not the phone's
}

// An ImpliedFeature is one that follows from permissions and the like.
type ImpliedFeature struct {
	Name    string
	Reasons []string // as aapt writes them
	SDK23   bool     // only on devices of SDK version 23 and up
}
