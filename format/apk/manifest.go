package apk

import (
	"slices"
	"strconv"

	"mios/internal/lazyregexp"
)

// ManifestName is the entry that makes a ZIP file an Android package.
const ManifestName = "AndroidManifest.xml"

// MaxManifest is the largest manifest that is read, in bytes.
const MaxManifest = 4 << 20

// PermissionInternet lets a package open sockets to anywhere.
const PermissionInternet = "android.permission.INTERNET"

// A Manifest is what a package's AndroidManifest.xml says. Strings that are
// references to resources are given as "@0x7f010001". [File.Info] resolves
// numbers and truths, [File.Badging] all.
type Manifest struct {
	Package              string
	VersionCode          int64 // versionCodeMajor<<32 | versionCode
	VersionName          string
	Revision             int // revisionCode
	CompileSDK           int // 0 if the manifest does not say
	CompileSDKCodename   string
	PlatformBuild        Value // platformBuildVersionName, of older build tools
	PlatformBuildCode    Value // platformBuildVersionCode
	MinSDK, TargetSDK    int   // 1 and MinSDK if the manifest does not say
	MinSDKCodename       string
	TargetSDKCodename    string
	MaxSDK               int    // 0 if the manifest does not say
	TargetSandboxVersion int    // 1 if the manifest does not say
	InstallLocation      string // "auto", "internalOnly", "preferExternal"; "" if the manifest does not say
	SharedUserID         string
	CoreApp              bool

	Split          string   // name of the split, "" in a base package
	ConfigForSplit string   // the feature that this split configures
	IsFeatureSplit bool     // this split is a feature
	IsolatedSplits bool     // splits are loaded apart
	SplitRequired  bool     // the base alone does not run
	SplitTypes     []string // of splits that this one is
	RequiredSplits []string // types of splits that must be there
	UsesSplits     []string // features that this one needs

	Label       string // of the application
	Debuggable  bool   // the application
	Application Application
	Components  []Component // in the order of the manifest

	Permissions       []UsesPermission
	Features          []UsesFeature
	FeatureGroups     []FeatureGroup
	Libraries         []UsesLibrary
	Configurations    []UsesConfiguration
	InputTypes        []string // supports-input
	Screens           Screens
	CompatibleScreens []CompatibleScreen
	GLTextures        []string // supports-gl-texture
	OriginalPackages  []string
	Declares          []Permission
	Provides          []Library
	Queries           Queries
	Instrumentations  []Instrumentation
	Overlay           *Overlay
	Verifiers         []Verifier

	MetaData map[string]string // of the application
}

// Uses reports whether the package asks for the permission on a device of SDK
// version sdk.
func (m *Manifest) Uses(permission string, sdk int) bool {
	return slices.ContainsFunc(m.Permissions, func(p UsesPermission) bool {
		return p.Name == permission && (p.MaxSDK == 0 || sdk <= p.MaxSDK) && sdk >= p.MinSDK
	})
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
	keep := func(v Value) Value { return v }
	return newManifest(root, &manifestReader{numbers: keep, texts: keep})
}

// newManifest reads the manifest out of a document.
func newManifest(root *Element, r *manifestReader) (*Manifest, error) {
	if root.Name != "manifest" || root.Namespace != "" {
		return nil, bad(0, "%s: root element is %s, want manifest", ManifestName, root.Name)
	}
	r.m = new(Manifest)
	r.root(root)
	for _, e := range root.Children {
		if read := manifestElements[e.Name]; read != nil && e.Namespace == "" && r.err == nil {
			read(r, e)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	r.m.MinSDK = max(r.m.MinSDK, 1)
	if r.m.TargetSDK == 0 {
		r.m.TargetSDK = r.m.MinSDK
	}
	r.finishScreens()
	r.finishComponents()
	return r.m, nil
}

// manifestElements are the elements below manifest that are read.
var manifestElements = map[string]func(*manifestReader, *Element){
	"application":            (*manifestReader).application,
	"compatible-screens":     (*manifestReader).compatibleScreens,
	"feature-group":          (*manifestReader).featureGroup,
	"instrumentation":        (*manifestReader).instrumentation,
	"original-package":       (*manifestReader).originalPackage,
	"overlay":                (*manifestReader).overlay,
	"package-verifier":       (*manifestReader).verifier,
	"permission":             (*manifestReader).permission,
	"permission-group":       (*manifestReader).permission,
	"permission-tree":        (*manifestReader).permission,
	"queries":                (*manifestReader).queries,
	"supports-gl-texture":    (*manifestReader).glTexture,
	"supports-input":         (*manifestReader).supportsInput,
	"supports-screens":       (*manifestReader).supportsScreens,
	"uses-configuration":     (*manifestReader).usesConfiguration,
	"uses-feature":           (*manifestReader).usesFeature,
	"uses-package":           (*manifestReader).usesPackage,
	"uses-permission":        (*manifestReader).usesPermission,
	"uses-permission-sdk-23": (*manifestReader).usesPermission,
	"uses-permission-sdk-m":  (*manifestReader).usesPermission,
	"uses-sdk":               (*manifestReader).usesSDK,
	"uses-split":             (*manifestReader).usesSplit,
}

// A manifestReader fills a Manifest. The first error ends it.
type manifestReader struct {
	// What resolves references, or gives them back: those that stand for
	// numbers and truths, and those for texts.
	numbers, texts func(Value) Value

	m       *Manifest
	seenApp bool
	least   []screenClass // what supports-screens says
	err     error
}

// value returns the value of the attribute with that id, a reference resolved if
// it can be.
func (r *manifestReader) value(e *Element, id uint32) (Value, bool) {
	a := e.Res(id)
	if a == nil {
		return Value{}, false
	}
	if _, ok := a.Value.Reference(); ok {
		return r.numbers(a.Value), true
	}
	return a.Value, true
}

// raw is value without resolving.
func (r *manifestReader) raw(e *Element, id uint32) Value {
	if a := e.Res(id); a != nil {
		return a.Value
	}
	return Value{}
}

func (r *manifestReader) text(e *Element, id uint32) string {
	v := r.raw(e, id)
	if _, ok := v.Reference(); ok {
		v = r.texts(v)
	}
	return v.String()
}

// number returns a whole number that the package cannot be understood without.
func (r *manifestReader) number(e *Element, id uint32, missing int) int {
	v, ok := r.value(e, id)
	if !ok {
		return missing
	}
	switch v.Type {
	case TypeIntDec, TypeIntHex:
		return int(int32(v.Data))
	case TypeString:
		if n, err := strconv.ParseInt(v.Str, 10, 32); err == nil {
			return int(n)
		}
	}
	if r.err == nil {
		r.err = bad(0, "%s: %s android:%s is %q, want a number", ManifestName, e.Name, e.Res(id).Name, v)
	}
	return 0
}

// integer is number for those that do not matter as much: what is no number is
// missing.
func (r *manifestReader) integer(e *Element, id uint32, missing int) int {
	if v, ok := r.value(e, id); ok && v.IsInt() {
		return int(int32(v.Data))
	}
	return missing
}

// flag returns a truth, as TypedArray.getBoolean reads it: of text, "true" is.
// What an unknown resource says is missing.
func (r *manifestReader) flag(e *Element, id uint32, missing bool) bool {
	v, ok := r.value(e, id)
	switch {
	case ok && v.IsInt():
		return v.Data != 0
	case ok && v.Type == TypeString:
		return v.Str == "true" || v.Str == "TRUE" || v.Str == "1"
	}
	return missing
}

// list returns words with commas between.
func (r *manifestReader) list(e *Element, id uint32, separator string) []string {
	return split(r.text(e, id), separator)
}

// class returns the complete name of a class.
func (r *manifestReader) class(e *Element, id uint32) string {
	name := r.text(e, id)
	switch {
	case name == "":
		return ""
	case name[0] == '.':
		return r.m.Package + name
	case !slices.Contains([]byte(name), '.'):
		return r.m.Package + "." + name
	}
	return name
}

// sdk returns an SDK version, which may be the codename of one that was in
// development.
func (r *manifestReader) sdk(e *Element, id uint32, missing int) (version int, codename string) {
	if v, ok := r.value(e, id); ok && v.Type == TypeString {
		if s := v.Str; s != "" && s[0] >= 'A' && s[0] <= 'Z' {
			return codenameSDK(s[0]), s
		}
	}
	return r.number(e, id, missing), ""
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

var packageName = lazyregexp.New(`^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$`)

// validPackage is AOSP's FrameworkParsingPackageUtils.validateName; "android"
// is the platform's own.
func validPackage(s string) bool {
	return s == "android" || len(s) <= 223 && packageName.MatchString(s)
}
