package migrate

import (
	"encoding/base64"
	"path"
	"strings"

	"mios"
	"mios/publish/app/fdroid"
)

// graphics reads pictures, from repo/PACKAGE/LOCALE, where fdroidserver keeps
// them, and from where it takes them: metadata/PACKAGE/LOCALE[/images].
func (r *reader) graphics(a *fdroid.App) {
	for _, root := range []string{"metadata", "repo"} {
		for _, locale := range r.locales(path.Join(root, a.Package)) {
			dir := path.Join(root, a.Package, locale)
			r.folder(a, locale, dir)
			r.folder(a, locale, path.Join(dir, "images"))
		}
	}
}

// pictures are the names of an app's single pictures.
var pictures = map[string]func(a *fdroid.App) *fdroid.Images{
	"icon":           func(a *fdroid.App) *fdroid.Images { return &a.Icon },
	"featureGraphic": func(a *fdroid.App) *fdroid.Images { return &a.FeatureGraphic },
	"promoGraphic":   func(a *fdroid.App) *fdroid.Images { return &a.PromoGraphic },
	"tvBanner":       func(a *fdroid.App) *fdroid.Images { return &a.TVBanner },
}

// series are the folders of screenshots.
var series = map[string]func(a *fdroid.App) *fdroid.Screenshots{
	"phoneScreenshots":     func(a *fdroid.App) *fdroid.Screenshots { return &a.Phone },
	"sevenInchScreenshots": func(a *fdroid.App) *fdroid.Screenshots { return &a.SevenInch },
	"tenInchScreenshots":   func(a *fdroid.App) *fdroid.Screenshots { return &a.TenInch },
	"tvScreenshots":        func(a *fdroid.App) *fdroid.Screenshots { return &a.TV },
	"wearScreenshots":      func(a *fdroid.App) *fdroid.Screenshots { return &a.Wear },
}

// folder reads one folder of pictures.
func (r *reader) folder(a *fdroid.App, locale, dir string) {
	for _, name := range r.names(dir) {
		base, extension := ext(name)
		if to := series[name]; to != nil {
			r.screenshots(a, to(a), locale, path.Join(dir, name))
			continue
		}
		// The name that fdroidserver gave it has its hash; the plain one is there too.
		to := pictures[base]
		if to == nil || !isPicture(extension) {
			continue
		}
		b, err := r.read(path.Join(dir, name), maxPicture)
		if err != nil {
			r.problem(path.Join(dir, name), err.Error())
			continue
		}
		sum := mios.Sum(b)
		hashed := base + "_" + base64.URLEncoding.EncodeToString(sum[:]) + "." + extension
		if *to(a) == nil {
			*to(a) = fdroid.Images{}
		}
		(*to(a))[locale] = r.remember(path.Join(a.Package, locale, hashed), Source{Path: path.Join(dir, name)}, b)
	}
}

// maxPicture bounds a picture, in bytes.
const maxPicture = 64 << 20

func isPicture(extension string) bool {
	return extension == "png" || extension == "jpg" || extension == "jpeg"
}

func (r *reader) screenshots(a *fdroid.App, to *fdroid.Screenshots, locale, dir string) {
	var list []fdroid.File
	for _, name := range r.names(dir) {
		_, extension := ext(name)
		if !isPicture(extension) || strings.HasPrefix(name, ".") {
			continue
		}
		b, err := r.read(path.Join(dir, name), maxPicture)
		if err != nil {
			r.problem(path.Join(dir, name), err.Error())
			continue
		}
		list = append(list, r.remember(path.Join(a.Package, locale, path.Base(dir), name), Source{Path: path.Join(dir, name)}, b))
	}
	if len(list) == 0 {
		return
	}
	if *to == nil {
		*to = fdroid.Screenshots{}
	}
	(*to)[locale] = list
}
