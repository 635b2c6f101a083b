package apk

import "errors"

// ManifestName is the entry that makes a ZIP file an Android package.
const ManifestName = "AndroidManifest.xml"

// MaxManifest is the largest manifest that is read, in bytes.
const MaxManifest = 4 << 20

// A Manifest is what a package's AndroidManifest.xml says. Values that are
// references to resources are given as "@0x7f010001".
type Manifest struct {
	Package              string
	VersionCode          int64 // versionCodeMajor<<32 | versionCode
	VersionName          string
	MinSDK, TargetSDK    int // 1 and MinSDK if the manifest does not say
	MaxSDK               int // 0 if the manifest does not say
	TargetSandboxVersion int
	Split                string // name of the split, "" in a base package
	Label                string
	Debuggable           bool
	Permissions          []UsesPermission
	MetaData             map[string]string // of the application
}

// UsesPermission is one permission that a package asks for.
type UsesPermission struct {
	Name   string
	MaxSDK int // 0: always
}

// Uses reports whether the package asks for the permission on a device of SDK
// version sdk.
func (m *Manifest) Uses(permission string, sdk int) bool {
	for _, p := range m.Permissions {
		if p.Name == permission && (p.MaxSDK == 0 || sdk <= p.MaxSDK) {
			return true
		}
	}
	return false
}

// ParseManifest reads a binary manifest.
func ParseManifest(b []byte) (*Manifest, error) { return nil, errors.ErrUnsupported }

// CompileManifest makes a binary manifest out of a text one.
func CompileManifest(text []byte) ([]byte, error) { return nil, errors.ErrUnsupported }
