package apk

// An attrKind is a set of what an attribute's value may be, AOSP's "format".
type attrKind uint16

const (
	kindRef attrKind = 1 << iota
	kindString
	kindInt
	kindBool
	kindColor
	kindFloat
	kindDimension
	kindFraction
	kindEnum
	kindFlags
)

type attrDef struct {
	id    uint32
	kind  attrKind
	words words // of kindEnum and kindFlags
}

// words are names of numbers.
type words map[string]uint32

// The resource ids that this package reads by.
const (
	idTheme                        = 0x01010000
	idLabel                        = 0x01010001
	idIcon                         = 0x01010002
	idName                         = 0x01010003
	idPermission                   = 0x01010006
	idReadPermission               = 0x01010007
	idWritePermission              = 0x01010008
	idProtectionLevel              = 0x01010009
	idPermissionGroup              = 0x0101000a
	idSharedUserID                 = 0x0101000b
	idHasCode                      = 0x0101000c
	idPersistent                   = 0x0101000d
	idEnabled                      = 0x0101000e
	idDebuggable                   = 0x0101000f
	idExported                     = 0x01010010
	idProcess                      = 0x01010011
	idAuthorities                  = 0x01010018
	idGrantURIPermissions          = 0x0101001b
	idPriority                     = 0x0101001c
	idScreenOrientation            = 0x0101001e
	idDescription                  = 0x01010020
	idTargetPackage                = 0x01010021
	idValue                        = 0x01010024
	idResource                     = 0x01010025
	idMimeType                     = 0x01010026
	idScheme                       = 0x01010027
	idHost                         = 0x01010028
	idPort                         = 0x01010029
	idPath                         = 0x0101002a
	idPathPrefix                   = 0x0101002b
	idPathPattern                  = 0x0101002c
	idTargetActivity               = 0x01010202
	idMinSDK                       = 0x0101020c
	idVersionCode                  = 0x0101021b
	idVersionName                  = 0x0101021c
	idReqTouchScreen               = 0x01010227
	idReqKeyboardType              = 0x01010228
	idReqHardKeyboard              = 0x01010229
	idReqNavigation                = 0x0101022a
	idReqFiveWayNav                = 0x01010232
	idAnyDensity                   = 0x0101026c
	idTargetSDK                    = 0x01010270
	idMaxSDK                       = 0x01010271
	idTestOnly                     = 0x01010272
	idBackupAgent                  = 0x0101027f
	idAllowBackup                  = 0x01010280
	idGLESVersion                  = 0x01010281
	idSmallScreens                 = 0x01010284
	idNormalScreens                = 0x01010285
	idLargeScreens                 = 0x01010286
	idRequired                     = 0x0101028e
	idInstallLocation              = 0x010102b7
	idVMSafeMode                   = 0x010102b8
	idLogo                         = 0x010102be
	idXLargeScreens                = 0x010102bf
	idScreenSize                   = 0x010102ca
	idScreenDensity                = 0x010102cb
	idLargeHeap                    = 0x0101035a
	idRequiresSmallestWidthDP      = 0x01010364
	idCompatibleWidthLimitDP       = 0x01010365
	idLargestWidthLimitDP          = 0x01010366
	idPublicKey                    = 0x010103a6
	idSupportsRTL                  = 0x010103af
	idCategory                     = 0x010103e8
	idBanner                       = 0x010103f2
	idIsGame                       = 0x010103f4
	idTargetName                   = 0x0101044d
	idMultiArch                    = 0x0101048e
	idRevisionCode                 = 0x010104d5
	idExtractNativeLibs            = 0x010104ea
	idFullBackupContent            = 0x010104eb
	idUsesCleartextTraffic         = 0x010104ec
	idAutoVerify                   = 0x010104ee
	idDirectBootAware              = 0x01010505
	idVersion                      = 0x01010519
	idNetworkSecurityConfig        = 0x01010527
	idRoundIcon                    = 0x0101052c
	idAppCategory                  = 0x01010545
	idCertDigest                   = 0x01010548
	idIsolatedSplits               = 0x0101054b
	idTargetSandboxVersion         = 0x0101054c
	idRequiredFeature              = 0x01010554
	idRequiredNotFeature           = 0x01010555
	idIsStatic                     = 0x0101055a
	idIsFeatureSplit               = 0x0101055b
	idCompileSDK                   = 0x01010572
	idCompileSDKCodename           = 0x01010573
	idVersionCodeMajor             = 0x01010576
	idVersionMajor                 = 0x01010577
	idIsSplitRequired              = 0x01010591
	idShell                        = 0x01010594
	idForegroundServiceType        = 0x01010599
	idRequestLegacyExternalStorage = 0x01010603
	idPathSuffix                   = 0x0101061e
	idDataExtractionRules          = 0x0101063e
	idUsesPermissionFlags          = 0x01010644
	idRequiredSplitTypes           = 0x0101064e
	idSplitTypes                   = 0x0101064f
)
