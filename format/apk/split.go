package apk

// A Split is one package of a set: the base, a feature or a configuration.
type Split struct {
	Info
	Feature string // name of the feature module that it is, or belongs to; "" is the base
	Config  bool   // it only holds what some devices need of that module
	ABI     string // that it is for; "": any
	Density uint16 // likewise, in dpi; 0: any
	Locale  string // likewise, a BCP 47 language or tag; "": any
}

// A SplitSet is a base package and its splits.
type SplitSet struct {
	Base   *Split
	Splits []*Split // the others, sorted by name
}
