package apk

import (
	"errors"
	"iter"

	"mios"
)

var errPending = errors.New("apk: not read")

// ParseResources reads the table in b, which it keeps and does not change.
// Errors are [*FormatError] with offsets from the start of b.
func ParseResources(b []byte) (*Resources, error) { return nil, errPending }

// Name returns the resource's name as "org.example:string/app_name", or the id
// if the table does not have it.
func (r *Resources) Name(id ResID) string { return id.String() }

// Find returns the id of the resource with a name such as
// "org.example:string/app_name"; without a package the first one counts. Without
// one the error wraps [mios.ErrNotFound].
func (r *Resources) Find(name string) (ResID, error) { return 0, mios.ErrNotFound }

// All returns what the resource is in each configuration, in the table's order.
func (r *Resources) All(id ResID) iter.Seq2[Resource, error] {
	return func(func(Resource, error) bool) {}
}

// Get returns what the resource is for a device of the configuration want, by
// AOSP's rules: of those that match, the best. Without one the error wraps
// [mios.ErrNotFound].
func (r *Resources) Get(id ResID, want *Config) (Resource, error) {
	return Resource{}, mios.ErrNotFound
}

// Resolve follows v, if it is a reference, to a value that is none, for a device
// of the configuration want, and returns the resource that it was found in (zero
// if v is no reference). References to other packages' resources are returned
// as they are, references to bags and to nothing as @0x7f010001 with an error
// that wraps [mios.ErrNotFound].
func (r *Resources) Resolve(v Value, want *Config) (Value, Resource, error) {
	return v, Resource{}, nil
}

// Configs returns all configurations of the table, each once, in its order.
func (r *Resources) Configs() []Config { return nil }

// String returns the configuration as aapt writes it: "fr-rCA-hdpi-v4", or ""
// for the default one.
func (c *Config) String() string { return "" }

// Locale returns the BCP 47 tag as aapt writes it: "en-GB", "" for none.
func (c *Config) Locale() string { return "" }

// SetLocale sets language, script, country and variant from a BCP 47 tag.
func (c *Config) SetLocale(tag string) error { return nil }

// Match reports whether a resource of configuration c may be used on a device of
// the configuration want.
func (c *Config) Match(want *Config) bool { return true }

// BetterThan reports whether c suits a device of the configuration want better
// than o does; both must match it.
func (c *Config) BetterThan(o, want *Config) bool { return false }

// Resources reads the package's resource table, once. Without one the error
// wraps [mios.ErrNotFound].
func (f *File) Resources() (*Resources, error) { return nil, mios.ErrNotFound }

// ReadXML reads the binary XML document of that name, such as a drawable's.
func (f *File) ReadXML(name string) (*Element, error) { return nil, mios.ErrNotFound }

// Badging reads all that the package shows of itself.
func (f *File) Badging() (*Badging, error) { return nil, errPending }

// ImpliedFeatures returns the features that the manifest needs without saying
// so, by aapt's rules, sorted by name.
func (m *Manifest) ImpliedFeatures() []ImpliedFeature { return nil }

// DeviceClasses returns the classes of devices that the package is for.
func (m *Manifest) DeviceClasses() []DeviceClass { return nil }

// Launchable returns the activity that the home screen starts, or nil.
func (m *Manifest) Launchable() *Component { return nil }

// NewSplitSet checks that the packages, of which one must be a base, belong
// together: one package name and version, no name twice, every feature that one
// needs is there. Who signed them is package apksig's matter.
func NewSplitSet(packages []*Badging) (*SplitSet, error) { return nil, errPending }

// For returns the splits that the device needs beside the base.
func (s *SplitSet) For(d Device) []*Split { return nil }

// Dimension returns a dimension's or fraction's number and unit: "px", "dp",
// "sp", "pt", "in", "mm", "%" or "%p".
func (v Value) Dimension() (float64, string) { return 0, "" }
