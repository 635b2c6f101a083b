package fdroid

import (
	"maps"
	"strconv"
)

// packageV2 appends the value of a package in index-v2: fdroidserver's order
// and names.
func (e *encoder) packageV2(a *App) {
	e.b = append(e.b, `{"metadata":{`...)
	e.metadataV2(a)
	e.close('}')
	e.open("versions", '{')
	for i := range a.Versions {
		v := &a.Versions[i]
		e.sep()
		e.hex(v.File.Digest)
		e.b = append(e.b, ':')
		e.versionV2(a, v)
	}
	e.close('}')
	e.close('}')
}

func (e *encoder) metadataV2(a *App) {
	e.field("added")
	e.b = strconv.AppendInt(e.b, a.Added*1000, 10)
	e.list("categories", a.Categories)
	e.str("changelog", link(a.Changelog))
	e.str("issueTracker", link(a.IssueTracker))
	e.field("lastUpdated")
	e.b = strconv.AppendInt(e.b, a.Updated*1000, 10)
	e.str("license", line.clean(a.License))
	e.str("sourceCode", link(a.SourceCode))
	e.str("translation", link(a.Translation))
	e.str("webSite", link(a.WebSite))
	e.images("featureGraphic", a.FeatureGraphic)
	e.images("promoGraphic", a.PromoGraphic)
	e.images("tvBanner", a.TVBanner)
	e.screenshotsV2(a)
	e.people(a)
	e.text("name", a.Name, line)
	e.text("summary", a.Summary, line)
	e.text("description", a.Description, html)
	e.text("video", a.Video, line)
	e.list("donate", links(a.Donate))
	e.images("icon", a.Icon)
	if signers := a.Versions[0].Signers; len(signers) > 0 {
		e.digest("preferredSigner", signers[0])
	}
}

func links(list []string) []string {
	out := list[:0:0]
	for _, s := range list {
		if s = link(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// people appends what both formats say of who made an app and takes money for
// it.
func (e *encoder) people(a *App) {
	e.str("authorEmail", line.clean(a.AuthorEmail))
	e.str("authorName", line.clean(a.AuthorName))
	e.str("authorPhone", line.clean(a.AuthorPhone))
	e.str("authorWebSite", link(a.AuthorSite))
	e.str("bitcoin", line.clean(a.Bitcoin))
	e.str("flattrID", line.clean(a.Flattr))
	e.str("liberapay", line.clean(a.Liberapay))
	e.str("litecoin", line.clean(a.Litecoin))
	e.str("openCollective", line.clean(a.OpenCollective))
}

func (e *encoder) screenshotsV2(a *App) {
	if !a.hasScreenshots() {
		return
	}
	e.open("screenshots", '{')
	for _, k := range a.screenshots() {
		if len(k.files) == 0 {
			continue
		}
		e.open(k.name, '{')
		for _, locale := range keys(k.files) {
			e.open(locale, '[')
			for _, f := range k.files[locale] {
				e.sep()
				e.file(f)
			}
			e.close(']')
		}
		e.close('}')
	}
	e.close('}')
}

func (a *App) hasScreenshots() bool {
	return len(a.Phone)+len(a.SevenInch)+len(a.TenInch)+len(a.TV)+len(a.Wear) > 0
}

type screenshotKind struct {
	name  string // with "Screenshots" behind it, a folder of fastlane's and a field of index-v1
	files Screenshots
}

func (a *App) screenshots() [5]screenshotKind {
	return [...]screenshotKind{
		{"phone", a.Phone}, {"sevenInch", a.SevenInch}, {"tenInch", a.TenInch}, {"tv", a.TV}, {"wear", a.Wear},
	}
}

func (e *encoder) versionV2(a *App, v *Version) {
	e.b = append(e.b, '{')
	e.field("added")
	e.b = strconv.AppendInt(e.b, v.Added*1000, 10)
	e.field("file")
	e.file(v.File)
	for _, f := range []struct {
		name string
		file File
	}{{"src", v.Source}, {"obbMainFile", v.OBBMain}, {"obbPatchFile", v.OBBPatch}} {
		if f.file.Name != "" {
			e.field(f.name)
			e.file(f.file)
		}
	}
	e.manifestV2(v)
	e.antiFeaturesV2(a, v)
	if c := channels(a, v); len(c) > 0 {
		e.list("releaseChannels", c)
	}
	e.text("whatsNew", v.WhatsNew, text)
	e.close('}')
}

// channels are the release channels of a version: its own, or the one for what
// is newer than what the app suggests.
func channels(a *App, v *Version) []string {
	if len(v.Channels) == 0 && v.Code > a.suggested() {
		return []string{Beta}
	}
	return v.Channels
}

// suggested is the version that clients offer.
func (a *App) suggested() int64 {
	if a.SuggestedCode != 0 {
		return a.SuggestedCode
	}
	var code int64
	for i := range a.Versions {
		if len(a.Versions[i].Channels) == 0 {
			code = max(code, a.Versions[i].Code)
		}
	}
	return code
}

func (e *encoder) manifestV2(v *Version) {
	e.open("manifest", '{')
	e.list("nativecode", v.ABIs)
	e.field("versionName")
	e.quote(line.clean(v.Name))
	e.num("maxSdkVersion", int64(v.MaxSDK))
	e.field("versionCode")
	e.b = strconv.AppendInt(e.b, v.Code, 10)
	if len(v.Features) > 0 {
		e.open("features", '[')
		for _, f := range v.Features {
			e.sep()
			e.b = append(e.b, '{')
			e.str("name", line.clean(f))
			e.close('}')
		}
		e.close(']')
	}
	if v.MinSDK != 0 || v.TargetSDK != 0 {
		e.open("usesSdk", '{')
		e.num("minSdkVersion", int64(max(v.MinSDK, 1)))
		e.num("targetSdkVersion", int64(max(v.TargetSDK, v.MinSDK, 1)))
		e.close('}')
	}
	if len(v.Signers) > 0 {
		e.open("signer", '{')
		e.open("sha256", '[')
		for _, s := range v.Signers {
			e.sep()
			e.hex(s)
		}
		e.close(']')
		if len(v.Signers) > 1 {
			e.field("hasMultipleSigners")
			e.b = append(e.b, "true"...)
		}
		e.close('}')
	}
	e.permissionsV2("usesPermission", v.Permissions)
	e.permissionsV2("usesPermissionSdk23", v.PermissionsSDK23)
	e.close('}')
}

func (e *encoder) permissionsV2(name string, list []Permission) {
	if len(list) == 0 {
		return
	}
	e.open(name, '[')
	for _, p := range list {
		e.sep()
		e.b = append(e.b, '{')
		e.str("name", line.clean(p.Name))
		e.num("maxSdkVersion", int64(p.MaxSDK))
		e.close('}')
	}
	e.close(']')
}

// antiFeaturesV2 appends those of the app and those of the version: index-v2
// has them by version only.
func (e *encoder) antiFeaturesV2(a *App, v *Version) {
	if len(a.AntiFeatures)+len(v.AntiFeatures) == 0 {
		return
	}
	all := maps.Clone(a.AntiFeatures)
	if all == nil {
		all = v.AntiFeatures
	} else {
		maps.Copy(all, v.AntiFeatures)
	}
	e.open("antiFeatures", '{')
	for _, name := range keys(all) {
		e.open(name, '{')
		e.texts(all[name], text)
		e.close('}')
	}
	e.close('}')
}
