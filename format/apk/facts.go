package apk

import "slices"

// An Application is what the application element says. Values may be references,
// see [Resources.Resolve]; what it does not say is as Android takes it.
type Application struct {
	Name        string // of the class, complete; "" for the platform's own
	Label       Value
	Description Value
	Icon        Value
	RoundIcon   Value
	Banner      Value
	Logo        Value
	Theme       Value
	Permission  string // that callers of its components must have
	Process     string
	Category    string // appCategory: "game", "audio" ...; "" if it does not say

	Enabled              bool
	HasCode              bool
	AllowBackup          bool
	BackupAgent          string
	FullBackupContent    Value
	DataExtractionRules  Value
	ExtractNativeLibs    bool
	UsesCleartextTraffic bool
	NetworkSecurity      Value // networkSecurityConfig
	LargeHeap            bool
	MultiArch            bool
	SupportsRTL          bool
	Persistent           bool
	DirectBootAware      bool
	IsGame               bool
	TestOnly             bool
	VMSafeMode           bool
	LegacyStorage        bool // requestLegacyExternalStorage
	Profileable          bool // by the shell
}

// A Kind says what a component is, in the manifest's words.
type Kind string

// The kinds of components.
const (
	KindActivity Kind = "activity"
	KindAlias    Kind = "activity-alias"
	KindService  Kind = "service"
	KindReceiver Kind = "receiver"
	KindProvider Kind = "provider"
)

// A Component is something that the system or another package starts.
type Component struct {
	Kind       Kind
	Name       string // of the class, complete
	Target     string // of an alias: the activity's class
	Label      Value
	Icon       Value
	RoundIcon  Value
	Banner     Value
	Permission string // that a caller must have
	Read       string // readPermission of a provider
	Write      string // writePermission of a provider
	Process    string
	Enabled    bool
	// Exported says that other packages may start it: as the manifest says,
	// or, if it does not, as Android decides: components with an intent filter
	// are, and so are providers of packages for SDK versions below 17.
	Exported           bool
	ExportedExplicit   bool // the manifest says so
	DirectBootAware    bool
	GrantURIPermission bool     // of a provider
	Authorities        []string // of a provider
	Filters            []IntentFilter
	MetaData           []MetaData
	ForegroundTypes    uint32 // foregroundServiceType of a service, AOSP's flags
	Orientation        int    // screenOrientation of an activity; -1: unspecified
}

// An IntentFilter is one way to start a component.
type IntentFilter struct {
	Actions    []string
	Categories []string
	Data       []IntentData
	AutoVerify bool
	Priority   int
}

// has reports whether the filter has the action, "" for any, and the category,
// "" for any.
func (f *IntentFilter) has(action, category string) bool {
	return (action == "" || slices.Contains(f.Actions, action)) && (category == "" || slices.Contains(f.Categories, category))
}

// has reports whether one of the filters has the action, "" for any, and one,
// perhaps another, the category, "" for any.
func (c *Component) has(action, category string) bool {
	in := func(action, category string) bool {
		return slices.ContainsFunc(c.Filters, func(f IntentFilter) bool { return f.has(action, category) })
	}
	return in(action, "") && in("", category)
}

// IntentData is one data element of a filter; empty fields say nothing.
type IntentData struct {
	Scheme, Host, Port, Path, PathPrefix, PathSuffix, PathPattern, MIMEType string
}

// MetaData is one meta-data element.
type MetaData struct {
	Name     string
	Value    Value // zero if it gives a resource
	Resource ResID // zero if it gives a value
}

// UsesPermission is one permission that a package asks for.
type UsesPermission struct {
	Name               string
	MaxSDK             int  // 0: always
	MinSDK             int  // 23 for uses-permission-sdk-23, or as it says; 0: always
	Optional           bool // required="false"
	RequiredFeature    string
	RequiredNotFeature string
	Flags              uint32 // usesPermissionFlags: 0x10000 never for location
}

// UsesFeature is one feature that a package uses.
type UsesFeature struct {
	Name     string // "" if it asks for a version of OpenGL ES
	Version  int
	Required bool
	GLES     uint32 // 0x00030001 is 3.1; 0 if it asks for a feature
}

// A FeatureGroup is a set of features of which a device must have all, unless it
// has those of another group.
type FeatureGroup struct {
	Label    Value
	GLES     uint32
	Features []UsesFeature
	Implied  []ImpliedFeature // that follow from permissions and the like
}

// LibraryKind says how a package uses a library, in the manifest's words.
type LibraryKind string

// The kinds of uses.
const (
	LibraryShared  LibraryKind = "uses-library"
	LibraryNative  LibraryKind = "uses-native-library"
	LibraryStatic  LibraryKind = "uses-static-library"
	LibrarySDK     LibraryKind = "uses-sdk-library"
	LibraryPackage LibraryKind = "uses-package"
)

// UsesLibrary is one library that a package uses.
type UsesLibrary struct {
	Kind        LibraryKind
	Name        string
	Required    bool
	Version     int64    // of static and SDK libraries
	CertDigests []string // of static and SDK libraries: SHA-256 in hex
}

// A Library is one that a package provides.
type Library struct {
	Kind    string // "library", "static-library" or "sdk-library"
	Name    string
	Version int64
}

// A Permission is one that a package declares.
type Permission struct {
	Name, Group string
	Tree        bool   // permission-tree
	IsGroup     bool   // permission-group
	Protection  uint32 // protectionLevel: base in bits 0-3, flags above
	Label       Value
	Description Value
}

// Queries are the packages that a package wants to see.
type Queries struct {
	Packages    []string
	Intents     []IntentFilter
	Authorities []string
}

// UsesConfiguration is hardware that a package needs.
type UsesConfiguration struct {
	Touchscreen, Keyboard, Navigation int // as in Config
	HardKeyboard, FiveWayNav          bool
}

// Screens says which screens a package supports; what the manifest does not say
// follows from the SDK version that it is for.
type Screens struct {
	Small, Normal, Large, XLarge, AnyDensity                       bool
	RequiresSmallestWidth, CompatibleWidthLimit, LargestWidthLimit int // dp; 0: not said
}

// A CompatibleScreen is one screen that a package supports.
type CompatibleScreen struct {
	Size    int // as in Config.ScreenLayout
	Density int // dpi
}

// An Instrumentation tests another package.
type Instrumentation struct {
	Name, Target string
	Label        Value
}

// An Overlay is what a package of overlaid resources changes.
type Overlay struct {
	Target, TargetName, Category string
	Priority                     int
	Static                       bool
}

// A Verifier is one package-verifier element.
type Verifier struct{ Name, PublicKey string }

// A DeviceClass is a class of devices that a package is for.
type DeviceClass string

// The classes of devices.
const (
	Phone    DeviceClass = "phone"
	Watch    DeviceClass = "watch"
	Car      DeviceClass = "car"
	TV       DeviceClass = "tv"
	Embedded DeviceClass = "embedded"
)
