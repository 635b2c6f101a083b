package apk

import (
	"regexp"
	"strconv"
)

// ManifestName is the entry that makes a ZIP file an Android package.
const ManifestName = "AndroidManifest.xml"

// MaxManifest is the largest manifest that is read, in bytes.
const MaxManifest = 4 << 20

// PermissionInternet lets a package open sockets to anywhere.
const PermissionInternet = "android.permission.INTERNET"

// A Manifest is what a package's AndroidManifest.xml says. Strings that are
// references to resources are given as "@0x7f010001"; Info resolves VersionName
// and Label.
type Manifest struct {
	Package              string
	VersionCode          int64 // versionCodeMajor<<32 | versionCode
	VersionName          string
	Revision             int // revisionCode
	CompileSDK           int // 0 if the manifest does not say
	CompileSDKCodename   string
	MinSDK, TargetSDK    int    // 1 and MinSDK if the manifest does not say
	MaxSDK               int    // 0 if the manifest does not say
	TargetSandboxVersion int    // 1 if the manifest does not say
	InstallLocation      string // "auto", "internalOnly", "preferExternal"; "" if the manifest does not say
	SharedUserID         string
	CoreApp              bool

	Split          string // name of the split, "" in a base package
	ConfigForSplit string // the feature that this split configures
	IsFeatureSplit bool
	IsolatedSplits bool
	SplitRequired  bool     // isSplitRequired: the base alone does not run
	SplitTypes     []string // that this package is
	RequiredSplits []string // requiredSplitTypes, that must be there with this package
	UsesSplits     []string // features that this one needs

	Label       string // of the application
	Debuggable  bool
	Application Application
	Components  []Component // in the order of the manifest

	Permissions     []UsesPermission
	Features        []UsesFeature
	Libraries       []UsesLibrary
	Screens         Screens
	Declares        []Permission
	Queries         Queries
	Instruments     []Instrumentation
	Overlay         *Overlay
	Provides        []Library
	OriginalPackage []string

	MetaData map[string]string // of the application
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

// ParseManifest reads a binary manifest as AOSP's package parser does
// (frameworks/base, ParsingPackageUtils): attributes of Android's by their
// resource id, the others by name; the first application counts.
func ParseManifest(b []byte) (*Manifest, error) {
	root, err := ParseXML(b)
	if err != nil {
		return nil, err
	}
	return NewManifest(root)
}

// NewManifest reads the manifest out of a document.
func NewManifest(root *Element) (*Manifest, error) {
	if root.Name != "manifest" || root.Namespace != "" {
		return nil, bad(0, "%s: root element is %s, want manifest", ManifestName, root.Name)
	}
	m := &Manifest{Package: root.text("package"), Split: root.text("split"), VersionName: root.resText(idVersionName), MinSDK: 1}
	if !validPackage(m.Package) {
		return nil, bad(0, "%s: package name %q: want two or more words of letters, digits and _ with dots between", ManifestName, m.Package)
	}
	major, err := root.resInt(idVersionCodeMajor, 0)
	if err != nil {
		return nil, err
	}
	code, err := root.resInt(idVersionCode, 0)
	if err != nil {
		return nil, err
	}
	m.VersionCode = int64(major)<<32 | int64(uint32(code))
	if m.TargetSandboxVersion, err = root.resInt(idTargetSandboxVersion, 1); err != nil {
		return nil, err
	}
	seen := false
	for _, e := range root.Children {
		switch {
		case e.Namespace != "":
		case e.Name == "uses-sdk":
			err = m.usesSDK(e)
		case e.Name == "uses-permission", e.Name == "uses-permission-sdk-23":
			err = m.usesPermission(e)
		case e.Name == "application" && !seen:
			seen = true
			err = m.application(e)
		}
		if err != nil {
			return nil, err
		}
	}
	if m.TargetSDK == 0 {
		m.TargetSDK = m.MinSDK
	}
	return m, nil
}

// usesSDK reads one of the uses-sdk elements; with several, the highest
// minSdkVersion counts.
func (m *Manifest) usesSDK(e *Element) error {
	least, err := e.resSDK(idMinSDK, 1)
	if err != nil {
		return err
	}
	m.MinSDK = max(m.MinSDK, least)
	if m.TargetSDK, err = e.resSDK(idTargetSDK, m.TargetSDK); err != nil {
		return err
	}
	if a := e.Res(idMaxSDK); a != nil && (a.Value.Type == TypeIntDec || a.Value.Type == TypeIntHex) {
		m.MaxSDK = int(int32(a.Value.Data)) // Android ignores it; a reference stays unknown
	}
	return nil
}

func (m *Manifest) usesPermission(e *Element) (err error) {
	p := UsesPermission{Name: e.resText(idName)}
	if p.MaxSDK, err = e.resInt(idMaxSDK, 0); err != nil {
		return err
	}
	if p.Name != "" {
		m.Permissions = append(m.Permissions, p)
	}
	return nil
}

func (m *Manifest) application(e *Element) error {
	m.Label = e.resText(idLabel)
	if a := e.Res(idDebuggable); a != nil {
		switch {
		case a.Value.Type == TypeString:
			m.Debuggable = a.Value.Str == "true" || a.Value.Str == "TRUE" || a.Value.Str == "1"
		default:
			m.Debuggable = a.Value.Data != 0 // also a reference: who knows
		}
	}
	for _, c := range e.Children {
		if c.Name != "meta-data" || c.Namespace != "" {
			continue
		}
		name, a := c.resText(idName), c.Res(idValue)
		if a == nil {
			a = c.Res(idResource)
		}
		if name == "" || a == nil {
			continue
		}
		if m.MetaData == nil {
			m.MetaData = make(map[string]string)
		}
		if _, twice := m.MetaData[name]; twice {
			return bad(0, "%s: meta-data %q twice", ManifestName, name)
		}
		m.MetaData[name] = a.Value.String()
	}
	return nil
}

func (e *Element) text(name string) string {
	if a := e.Attr(name); a != nil {
		return a.Value.String()
	}
	return ""
}

func (e *Element) resText(id uint32) string {
	if a := e.Res(id); a != nil {
		return a.Value.String()
	}
	return ""
}

func (e *Element) resInt(id uint32, missing int) (int, error) {
	a := e.Res(id)
	if a == nil {
		return missing, nil
	}
	switch a.Value.Type {
	case TypeIntDec, TypeIntHex:
		return int(int32(a.Value.Data)), nil
	case TypeString:
		if n, err := strconv.ParseInt(a.Value.Str, 10, 32); err == nil {
			return int(n), nil
		}
	}
	return 0, bad(0, "%s: %s android:%s is %q, want a number", ManifestName, e.Name, a.Name, a.Value)
}

// resSDK reads an SDK version, which may be the codename of one that was in
// development.
func (e *Element) resSDK(id uint32, missing int) (int, error) {
	a := e.Res(id)
	if a != nil && a.Value.Type == TypeString {
		if s := a.Value.Str; s != "" && s[0] >= 'A' && s[0] <= 'Z' {
			return codenameSDK(s[0]), nil
		}
	}
	return e.resInt(id, missing)
}

// codenameSDK returns the last released SDK version before a codename, by its
// first letter, as AOSP's tools/apksig does (ApkUtils.getMinSdkVersionForCodename).
func codenameSDK(c byte) int {
	released := []int{1, 1, 2, 3, 4, 7, 8, 10, 13, 15, 18, 20, 22, 23, 25} // A to O
	if i := int(c - 'A'); i < len(released) {
		return released[i]
	}
	return released[len(released)-1] + int(c-'A') - (len(released) - 1)
}

var packageName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$`)

// validPackage is AOSP's FrameworkParsingPackageUtils.validateName; "android"
// is the platform's own.
func validPackage(s string) bool {
	return s == "android" || len(s) <= 223 && packageName.MatchString(s)
}
