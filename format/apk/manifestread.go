package apk

import "strings"

// root reads the attributes of the manifest element.
func (r *manifestReader) root(e *Element) {
	m := r.m
	m.Package, m.Split = e.text("package"), e.text("split")
	if !validPackage(m.Package) {
		r.err = bad(0, "%s: package name %q: want two or more words of letters, digits and _ with dots between", ManifestName, m.Package)
		return
	}
	major, code := r.number(e, idVersionCodeMajor, 0), r.number(e, idVersionCode, 0)
	m.VersionCode = int64(major)<<32 | int64(uint32(code))
	m.VersionName = r.text(e, idVersionName)
	m.Revision = r.integer(e, idRevisionCode, 0)
	m.TargetSandboxVersion = r.number(e, idTargetSandboxVersion, 1)
	m.CompileSDK, m.CompileSDKCodename = r.integer(e, idCompileSDK, 0), r.text(e, idCompileSDKCodename)
	if a := e.Attr("platformBuildVersionName"); a != nil {
		m.PlatformBuild = a.Value
	}
	if a := e.Attr("platformBuildVersionCode"); a != nil {
		m.PlatformBuildCode = a.Value
	}
	for name, n := range installLocations {
		if r.integer(e, idInstallLocation, -1) == int(n) {
			m.InstallLocation = name
		}
	}
	m.SharedUserID = r.text(e, idSharedUserID)
	m.CoreApp = e.flag("coreApp")
	m.ConfigForSplit = e.text("configForSplit")
	m.IsFeatureSplit = r.flag(e, idIsFeatureSplit, e.flag("isFeatureSplit"))
	m.IsolatedSplits = r.flag(e, idIsolatedSplits, false)
	m.SplitRequired = r.flag(e, idIsSplitRequired, e.flag("isSplitRequired"))
	m.SplitTypes, m.RequiredSplits = r.list(e, idSplitTypes, ","), r.list(e, idRequiredSplitTypes, ",")
}

// usesSDK reads one of the uses-sdk elements; with several, the highest
// minSdkVersion counts.
func (r *manifestReader) usesSDK(e *Element) {
	m := r.m
	least, codename := r.sdk(e, idMinSDK, 1)
	m.MinSDK, m.MinSDKCodename = max(m.MinSDK, least), codename
	m.TargetSDK, m.TargetSDKCodename = r.sdk(e, idTargetSDK, m.TargetSDK)
	m.MaxSDK = r.integer(e, idMaxSDK, m.MaxSDK) // Android ignores it; a reference stays unknown
}

func (r *manifestReader) usesPermission(e *Element) {
	p := UsesPermission{
		Name: r.text(e, idName), MaxSDK: r.number(e, idMaxSDK, 0), MinSDK: r.integer(e, idMinSDK, 0),
		Optional:        !r.flag(e, idRequired, true),
		RequiredFeature: r.text(e, idRequiredFeature), RequiredNotFeature: r.text(e, idRequiredNotFeature),
		Flags: uint32(r.integer(e, idUsesPermissionFlags, 0)),
	}
	if e.Name != "uses-permission" {
		p.MinSDK = max(p.MinSDK, 23)
	}
	if p.Name != "" {
		r.m.Permissions = append(r.m.Permissions, p)
	}
}

func (r *manifestReader) usesFeature(e *Element) {
	if f := r.feature(e); f.Name != "" || f.GLES != 0 {
		r.m.Features = append(r.m.Features, f)
	}
}

func (r *manifestReader) feature(e *Element) UsesFeature {
	f := UsesFeature{Name: r.text(e, idName), Required: r.flag(e, idRequired, true), Version: r.integer(e, idVersion, 0)}
	if f.Name == "" {
		f.GLES = uint32(r.integer(e, idGLESVersion, 0))
	}
	return f
}

func (r *manifestReader) featureGroup(e *Element) {
	g := FeatureGroup{Label: r.raw(e, idLabel)}
	for _, c := range e.Children {
		if c.Name == "uses-feature" && c.Namespace == "" {
			f := r.feature(c)
			f.Required = true
			g.Features = append(g.Features, f)
		}
	}
	r.m.FeatureGroups = append(r.m.FeatureGroups, g)
}

func (r *manifestReader) usesConfiguration(e *Element) {
	r.m.Configurations = append(r.m.Configurations, UsesConfiguration{
		Touchscreen: r.integer(e, idReqTouchScreen, 0), Keyboard: r.integer(e, idReqKeyboardType, 0),
		Navigation: r.integer(e, idReqNavigation, 0), HardKeyboard: r.flag(e, idReqHardKeyboard, false),
		FiveWayNav: r.flag(e, idReqFiveWayNav, false),
	})
}

func (r *manifestReader) supportsInput(e *Element) {
	for _, c := range e.Children {
		if c.Name == "input-type" {
			r.m.InputTypes = append(r.m.InputTypes, r.text(c, idName))
		}
	}
}

func (r *manifestReader) compatibleScreens(e *Element) {
	for _, c := range e.Children {
		if s := (CompatibleScreen{r.integer(c, idScreenSize, 0), r.integer(c, idScreenDensity, 0)}); c.Name == "screen" && s.Size > 0 && s.Density > 0 {
			r.m.CompatibleScreens = append(r.m.CompatibleScreens, s)
		}
	}
}

func (r *manifestReader) glTexture(e *Element) {
	r.m.GLTextures = append(r.m.GLTextures, r.text(e, idName))
}

func (r *manifestReader) originalPackage(e *Element) {
	r.m.OriginalPackages = append(r.m.OriginalPackages, r.text(e, idName))
}

func (r *manifestReader) usesPackage(e *Element) {
	r.m.Libraries = append(r.m.Libraries, UsesLibrary{Kind: LibraryPackage, Name: r.text(e, idName), Required: true})
}

func (r *manifestReader) usesSplit(e *Element) {
	r.m.UsesSplits = append(r.m.UsesSplits, r.text(e, idName))
}

func (r *manifestReader) verifier(e *Element) {
	r.m.Verifiers = append(r.m.Verifiers, Verifier{r.text(e, idName), r.text(e, idPublicKey)})
}

func (r *manifestReader) permission(e *Element) {
	r.m.Declares = append(r.m.Declares, Permission{
		Name: r.text(e, idName), Group: r.text(e, idPermissionGroup),
		Tree: e.Name == "permission-tree", IsGroup: e.Name == "permission-group",
		Protection: uint32(r.integer(e, idProtectionLevel, 0)),
		Label:      r.raw(e, idLabel), Description: r.raw(e, idDescription),
	})
}

func (r *manifestReader) instrumentation(e *Element) {
	r.m.Instrumentations = append(r.m.Instrumentations, Instrumentation{r.class(e, idName), r.text(e, idTargetPackage), r.raw(e, idLabel)})
}

func (r *manifestReader) overlay(e *Element) {
	r.m.Overlay = &Overlay{
		Target: r.text(e, idTargetPackage), TargetName: r.text(e, idTargetName), Category: r.text(e, idCategory),
		Priority: r.integer(e, idPriority, 0), Static: r.flag(e, idIsStatic, false),
	}
}

func (r *manifestReader) queries(e *Element) {
	q := &r.m.Queries
	for _, c := range e.Children {
		switch c.Name {
		case "package":
			q.Packages = append(q.Packages, r.text(c, idName))
		case "provider":
			q.Authorities = append(q.Authorities, r.list(c, idAuthorities, ";")...)
		case "intent":
			q.Intents = append(q.Intents, r.filter(c))
		}
	}
}

// split returns the words of s, without spaces around them.
func split(s, separator string) []string {
	var list []string
	for word := range strings.SplitSeq(s, separator) {
		if word = strings.TrimSpace(word); word != "" {
			list = append(list, word)
		}
	}
	return list
}

// text returns the attribute without a namespace of that name, or "".
func (e *Element) text(name string) string {
	if a := e.Attr(name); a != nil {
		return a.Value.String()
	}
	return ""
}

// flag is text for a truth.
func (e *Element) flag(name string) bool {
	a := e.Attr(name)
	return a != nil && (a.Value.IsInt() && a.Value.Data != 0 || a.Value.Str == "true")
}
