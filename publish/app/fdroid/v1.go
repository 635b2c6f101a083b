package fdroid

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// appV1 appends an app of index-v1. Texts that are in American English only
// stand in the app itself, others by locale: clients that find one in the app
// look at no locale.
func (e *encoder) appV1(a *App) {
	e.b = append(e.b, '{')
	if len(a.AntiFeatures) > 0 {
		e.list("antiFeatures", keys(a.AntiFeatures))
	}
	e.people(a)
	e.list("categories", a.Categories)
	e.str("suggestedVersionName", line.clean(a.SuggestedName))
	e.field("suggestedVersionCode")
	e.b = append(e.b, '"')
	e.b = strconv.AppendInt(e.b, a.suggested(), 10)
	e.b = append(e.b, '"')
	e.str("changelog", link(a.Changelog))
	if d := links(a.Donate); len(d) > 0 {
		e.str("donate", d[0])
	}
	e.str("issueTracker", link(a.IssueTracker))
	e.field("license")
	if l := line.clean(a.License); l != "" {
		e.quote(l)
	} else {
		e.quote("Unknown")
	}
	e.str("sourceCode", link(a.SourceCode))
	e.str("translation", link(a.Translation))
	e.str("webSite", link(a.WebSite))
	for _, t := range a.textsV1() {
		if t.alone {
			e.str(t.name, t.kind.clean(t.text[DefaultLocale]))
		}
	}
	e.field("added")
	e.b = strconv.AppendInt(e.b, a.Added*1000, 10)
	e.str("icon", iconV1(a))
	e.field("packageName")
	e.quote(a.Package)
	e.field("lastUpdated")
	e.b = strconv.AppendInt(e.b, a.Updated*1000, 10)
	e.localizedV1(a)
	e.close('}')
}

// iconFolder is where clients of index-v1 look for an app's icon.
const iconFolder = "icons/"

// iconV1 is the file in [iconFolder] that is the app's icon: its own, or the
// copy that [Publish] makes for old clients.
func iconV1(a *App) string {
	f, ok := a.Icon[DefaultLocale]
	if !ok {
		return ""
	}
	if name, ok := strings.CutPrefix(f.Name, iconFolder); ok {
		return name
	}
	return f.Digest.String() + "." + a.Package + extension(f.Name)
}

func extension(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 && strings.IndexByte(name[i:], '/') < 0 {
		return name[i:]
	}
	return ""
}

type textV1 struct {
	name  string
	text  Text
	kind  kind
	alone bool // there is only American English
}

func (a *App) textsV1() [5]textV1 {
	list := [...]textV1{
		{"name", a.Name, line, false}, {"summary", a.Summary, line, false}, {"description", a.Description, html, false},
		{"video", a.Video, line, false}, {"whatsNew", a.whatsNew(), text, false},
	}
	for i := range list[:3] { // index-v1 knows the others by locale only
		_, ok := list[i].text[DefaultLocale]
		list[i].alone = ok && len(list[i].text) == 1
	}
	return list
}

// whatsNew is that of the suggested version, or else of the first: index-v1 has
// it once an app.
func (a *App) whatsNew() Text {
	code := a.suggested()
	for i := range a.Versions {
		if a.Versions[i].Code == code {
			return a.Versions[i].WhatsNew
		}
	}
	return a.Versions[0].WhatsNew
}

// localizedV1 appends what an app has by locale. Images are in it where their
// names are as index-v1 has them: PACKAGE/LOCALE/FILE.
func (e *encoder) localizedV1(a *App) {
	texts, shots := a.textsV1(), a.screenshots()
	images := [...]struct {
		name   string
		images Images
	}{{"featureGraphic", a.FeatureGraphic}, {"icon", a.Icon}, {"promoGraphic", a.PromoGraphic}, {"tvBanner", a.TVBanner}}
	locales := map[string]bool{}
	for _, t := range texts {
		for locale := range t.text {
			locales[locale] = locales[locale] || !t.alone
		}
	}
	for _, m := range images {
		for locale, f := range m.images {
			locales[locale] = locales[locale] || a.local(f, locale, "") != ""
		}
	}
	for _, k := range shots {
		for locale, list := range k.files {
			locales[locale] = locales[locale] || a.allLocal(list, locale, k.name)
		}
	}
	maps.DeleteFunc(locales, func(_ string, has bool) bool { return !has })
	if len(locales) == 0 {
		return
	}
	e.open("localized", '{')
	for _, locale := range keys(locales) {
		e.open(locale, '{')
		for _, t := range texts {
			if !t.alone {
				e.str(t.name, t.kind.clean(t.text[locale]))
			}
		}
		for _, m := range images {
			if f, ok := m.images[locale]; ok {
				e.str(m.name, a.local(f, locale, ""))
			}
		}
		for _, k := range shots {
			if list := k.files[locale]; a.allLocal(list, locale, k.name) {
				e.open(k.name+"Screenshots", '[')
				for _, f := range list {
					e.sep()
					e.quote(a.local(f, locale, k.name))
				}
				e.close(']')
			}
		}
		e.close('}')
	}
	e.close('}')
}

// local returns the last part of a file's name if the rest is what index-v1
// takes for granted, or "".
func (a *App) local(f File, locale, kind string) string {
	if kind != "" {
		kind += "Screenshots/"
	}
	name, ok := strings.CutPrefix(f.Name, a.Package+"/"+locale+"/"+kind)
	if !ok || strings.Contains(name, "/") {
		return ""
	}
	return name
}

func (a *App) allLocal(list []File, locale, kind string) bool {
	for _, f := range list {
		if a.local(f, locale, kind) == "" {
			return false
		}
	}
	return len(list) > 0
}

// versionsV1 appends the member of index-v1's packages that holds an app's
// versions.
func (e *encoder) versionsV1(a *App) {
	e.quote(a.Package)
	e.b = append(e.b, ':', '[')
	for i := range a.Versions {
		e.sep()
		e.versionV1(a, &a.Versions[i])
	}
	e.close(']')
}

func (e *encoder) versionV1(a *App, v *Version) {
	e.b = append(e.b, '{')
	e.millis("added", v.Added)
	if len(v.AntiFeatures) > 0 {
		e.list("antiFeatures", keys(v.AntiFeatures))
	}
	e.str("apkName", v.File.Name)
	if !slices.IsSorted(v.Features) {
		e.list("features", slices.Sorted(slices.Values(v.Features)))
	} else {
		e.list("features", v.Features)
	}
	e.digest("hash", v.File.Digest)
	e.str("hashType", "sha256")
	e.num("maxSdkVersion", int64(v.MaxSDK))
	e.num("minSdkVersion", int64(v.MinSDK))
	e.list("nativecode", v.ABIs)
	if v.OBBMain.Name != "" {
		e.str("obbMainFile", v.OBBMain.Name)
		e.digest("obbMainFileSha256", v.OBBMain.Digest)
	}
	if v.OBBPatch.Name != "" {
		e.str("obbPatchFile", v.OBBPatch.Name)
		e.digest("obbPatchFileSha256", v.OBBPatch.Digest)
	}
	e.str("packageName", a.Package)
	e.str("sig", line.clean(v.Sig))
	if len(v.Signers) > 0 {
		e.digest("signer", v.Signers[0])
	}
	e.num("size", v.File.Size)
	e.str("srcname", v.Source.Name)
	e.num("targetSdkVersion", int64(v.TargetSDK))
	e.permissionsV1("uses-permission", v.Permissions)
	e.permissionsV1("uses-permission-sdk-23", v.PermissionsSDK23)
	e.field("versionCode")
	e.b = strconv.AppendInt(e.b, v.Code, 10)
	e.field("versionName")
	e.quote(line.clean(v.Name))
	e.close('}')
}

func (e *encoder) permissionsV1(name string, list []Permission) {
	if len(list) == 0 {
		return
	}
	e.open(name, '[')
	for _, p := range list {
		e.sep()
		e.b = append(e.b, '[')
		e.quote(line.clean(p.Name))
		e.b = append(e.b, ',')
		if p.MaxSDK == 0 {
			e.b = append(e.b, "null"...)
		} else {
			e.b = strconv.AppendInt(e.b, int64(p.MaxSDK), 10)
		}
		e.close(']')
	}
	e.close(']')
}
