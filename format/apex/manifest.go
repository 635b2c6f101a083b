package apex

// A Manifest is apex_manifest.pb (system/apex/proto/apex_manifest.proto).
type Manifest struct {
	Name                     string // "com.android.tzdata"
	Version                  int64
	PreInstallHook           string
	PostInstallHook          string
	VersionName              string
	NoCode                   bool
	ProvideNativeLibs        []string
	RequireNativeLibs        []string
	JNILibs                  []string
	RequireSharedAPEXLibs    []string
	ProvideSharedAPEXLibs    bool
	CompressedAPEX           *CompressedMetadata // of a .capex
	SupportsRebootlessUpdate bool
	VendorBootstrap          bool
	Bootstrap                bool
}

// CompressedMetadata says what a .capex unpacks to.
type CompressedMetadata struct {
	OriginalDigest string // hexadecimal root digest of the payload's hash tree
}

// BuildInfo is apex_build_info.pb (system/apex/proto/apex_build_info.proto):
// what apexer was called with.
type BuildInfo struct {
	Command             []string
	FileContexts        []byte
	CannedFSConfig      []byte
	AndroidManifest     []byte
	MinSDKVersion       string
	TargetSDKVersion    string
	NoHashtree          bool
	OverridePackageName string
	LoggingParent       string
	PayloadFSType       string // "ext4", "erofs", "f2fs"
}
