package apk

// An Application is what the application element says.
type Application struct {
	Name        string // of the class, complete; "" for the platform's
	Label       Value  // may be a reference, see Resources.Resolve
	Icon        Value
	RoundIcon   Value
	Banner      Value
	Logo        Value
	Description Value
	Theme       Value
	Permission  string
	Process     string
	Category    string // appCategory's name: "game" ...

	Enabled              bool
	HasCode              bool
	AllowBackup          bool
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
	Profileable          bool // by shell
}

// A Kind says what a component is; the words are the manifest's.
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
	Read       string // permission to read of a provider
	Write      string // permission to write of a provider
	Process    string
	Enabled    bool
	// Exported says that other packages may start it: as the manifest says,
	// or, if it does not, as Android decides: components with an intent filter
	// are, and providers of packages for SDK versions below 17.
	Exported         bool
	ExportedExplicit bool
	DirectBootAware  bool
	Authorities      []string // of a provider
	Filters          []IntentFilter
	MetaData         []MetaData

	ForegroundTypes   uint32 // foregroundServiceType of a service
	ScreenOrientation int    // of an activity; -1: unspecified
	Immersive         bool
}

// An IntentFilter is one way to start a component.
type IntentFilter struct {
	Actions    []string
	Categories []string
	Data       []IntentData
	AutoVerify bool
	Priority   int
}

// IntentData is one data element of a filter; empty fields say nothing.
type IntentData struct {
	Scheme, Host, Port, Path, PathPrefix, PathPattern, MimeType string
}

// MetaData is one meta-data element.
type MetaData struct {
	Name     string
	Value    Value // zero if it gives a resource
	Resource ResID
}

// UsesFeature is one feature that a package uses.
type UsesFeature struct {
	Name     string // "" if it asks for a version of OpenGL ES
	Version  int
	Required bool
	GLES     uint32 // 0x00030001 is 3.1; 0 if it asks for a feature
}

// LibraryKind says how a package uses a library; the words are the manifest's.
type LibraryKind string

// The kinds of libraries.
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

// A Library is one that a package is or holds.
type Library struct {
	Kind    string // "library", "static-library", "sdk-library"
	Name    string
	Version int64
}

// A Permission is one that a package declares.
type Permission struct {
	Name, Group string
	Tree        bool
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

// Screens says which screens a package supports.
type Screens struct {
	Small, Normal, Large, XLarge, Resizeable, AnyDensity           bool
	RequiresSmallestWidth, CompatibleWidthLimit, LargestWidthLimit int // dp; 0: not said
}

// An Instrumentation tests another package.
type Instrumentation struct {
	Name, Target string
	Label        Value
}

// An Overlay is what a resource overlay package changes.
type Overlay struct {
	Target, TargetName string
	Priority           int
	Static             bool
	Category           string
}

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
