package apk

// An attrKind is a set of what an attribute's value may be, AOSP's "format" in
// frameworks/base/core/res/res/values/attrs_manifest.xml.
type attrKind uint8

const (
	kindString attrKind = 1 << iota
	kindInt
	kindBool
)

type attrDef struct {
	id   uint32
	kind attrKind
	enum map[string]uint32 // names of integers
}

// The resource ids that this package reads by.
const (
	idLabel                = 0x01010001
	idName                 = 0x01010003
	idDebuggable           = 0x0101000f
	idValue                = 0x01010024
	idResource             = 0x01010025
	idMinSDK               = 0x0101020c
	idVersionCode          = 0x0101021b
	idVersionName          = 0x0101021c
	idTargetSDK            = 0x01010270
	idMaxSDK               = 0x01010271
	idTargetSandboxVersion = 0x0101054c
	idVersionCodeMajor     = 0x01010576
)

// androidAttrs are the attributes that a text manifest may use: those that a
// program without Java code and without resources has a use for. The ids never
// change (frameworks/base/core/res/res/values/public-final.xml).
var androidAttrs = map[string]attrDef{
	"allowBackup":          {0x01010280, kindBool, nil},
	"appCategory":          {0x01010545, kindInt, appCategories},
	"debuggable":           {idDebuggable, kindBool, nil},
	"enabled":              {0x0101000e, kindBool, nil},
	"exported":             {0x01010010, kindBool, nil},
	"extractNativeLibs":    {0x010104ea, kindBool, nil},
	"glEsVersion":          {0x01010281, kindInt, nil},
	"hasCode":              {0x0101000c, kindBool, nil},
	"installLocation":      {0x010102b7, kindInt, installLocations},
	"label":                {idLabel, kindString, nil},
	"maxSdkVersion":        {idMaxSDK, kindInt, nil},
	"minSdkVersion":        {idMinSDK, kindInt, nil},
	"multiArch":            {0x0101048e, kindBool, nil},
	"name":                 {idName, kindString, nil},
	"permission":           {0x01010006, kindString, nil},
	"persistent":           {0x0101000d, kindBool, nil},
	"process":              {0x01010011, kindString, nil},
	"required":             {0x0101028e, kindBool, nil},
	"targetSandboxVersion": {idTargetSandboxVersion, kindInt, nil},
	"targetSdkVersion":     {idTargetSDK, kindInt, nil},
	"testOnly":             {0x01010272, kindBool, nil},
	"usesCleartextTraffic": {0x010104ec, kindBool, nil},
	"value":                {idValue, kindString | kindInt | kindBool, nil},
	"versionCode":          {idVersionCode, kindInt, nil},
	"versionCodeMajor":     {idVersionCodeMajor, kindInt, nil},
	"versionName":          {idVersionName, kindString, nil},
}

var (
	installLocations = map[string]uint32{"auto": 0, "internalOnly": 1, "preferExternal": 2}
	appCategories    = map[string]uint32{"game": 0, "audio": 1, "video": 2, "image": 3, "social": 4, "news": 5, "maps": 6, "productivity": 7, "accessibility": 8}
)
