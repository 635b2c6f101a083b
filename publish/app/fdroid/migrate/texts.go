package migrate

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mios/publish/app/fdroid"
)

// localized are an app's texts by locale, from fastlane's layout.
type localized struct {
	name, summary, description, video fdroid.Text
	changelogs                        map[string]map[string]string // by locale, then by file name without .txt
}

// textFiles are the files of a locale's folder; the first that is there counts.
// Limits are fdroidserver's, in characters.
var textFiles = []struct {
	names []string
	limit int
	line  bool
	to    func(l *localized) fdroid.Text
}{
	{[]string{"title.txt", "name.txt"}, 50, true, func(l *localized) fdroid.Text { return l.name }},
	{[]string{"short_description.txt", "summary.txt"}, 80, true, func(l *localized) fdroid.Text { return l.summary }},
	{[]string{"full_description.txt", "description.txt"}, 4000, false, func(l *localized) fdroid.Text { return l.description }},
	{[]string{"video.txt"}, 256, true, func(l *localized) fdroid.Text { return l.video }},
}

const maxWhatsNew = 500 // characters

// texts reads metadata/PACKAGE/LOCALE.
func (r *reader) texts(pkg string) localized {
	l := localized{fdroid.Text{}, fdroid.Text{}, fdroid.Text{}, fdroid.Text{}, map[string]map[string]string{}}
	for _, locale := range r.locales("metadata/" + pkg) {
		dir := path.Join("metadata", pkg, locale)
		for _, f := range textFiles {
			for _, name := range f.names {
				if s := r.text(path.Join(dir, name), f.limit, f.line); s != "" {
					f.to(&l)[locale] = s
					break
				}
			}
		}
		for _, name := range r.names(path.Join(dir, "changelogs")) {
			if base, extension := ext(name); extension == "txt" {
				if s := r.text(path.Join(dir, "changelogs", name), maxWhatsNew, false); s != "" {
					if l.changelogs[locale] == nil {
						l.changelogs[locale] = map[string]string{}
					}
					l.changelogs[locale][base] = s
				}
			}
		}
	}
	return l
}

// locales are the folders that fdroidserver takes for some.
func (r *reader) locales(dir string) []string {
	return slices.DeleteFunc(r.names(dir), func(name string) bool {
		return len(name) < 2 || !isLower(name[0]) || !isLower(name[1]) || strings.Contains(name, ".") || name == "signatures"
	})
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

// text reads a text and cuts it, as fdroidserver does.
func (r *reader) text(name string, limit int, line bool) string {
	b, err := r.read(name, maxText)
	if err != nil {
		r.problem(name, err.Error())
		return ""
	}
	s := strings.ToValidUTF8(string(b), "\ufffd")
	if line {
		s = strings.Trim(s, "\n")
	}
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit])
	}
	return s
}

func (l *localized) into(a *fdroid.App) {
	for _, t := range []struct {
		from fdroid.Text
		to   *fdroid.Text
	}{{l.name, &a.Name}, {l.summary, &a.Summary}, {l.description, &a.Description}, {l.video, &a.Video}} {
		if len(t.from) > 0 {
			*t.to = t.from
		}
	}
}

// whatsNew is what there is to say of a version: its own text, or, for the
// first, that for those without.
func (l *localized) whatsNew(code int64, first bool) fdroid.Text {
	out := fdroid.Text{}
	for locale, files := range l.changelogs {
		if s := files[strconv.FormatInt(code, 10)]; s != "" {
			out[locale] = s
		} else if s := files["default"]; s != "" && first {
			out[locale] = s
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// antiFeatures reads those of the app and of its versions: what metadata.yml
// says counts, then the files of translators.
func (r *reader) antiFeatures(a *fdroid.App, m *metadata, list []found) {
	app := asMap(m.AntiFeatures)
	if len(app) > 0 {
		a.AntiFeatures = app
	}
	files := r.antiFeatureFiles(a.Package)
	if len(app) == 0 {
		a.AntiFeatures = files[""]
	}
	if m.NoSourceSince != "" && a.AntiFeatures["NoSourceSince"] == nil {
		if a.AntiFeatures == nil {
			a.AntiFeatures = map[string]fdroid.Text{}
		}
		a.AntiFeatures["NoSourceSince"] = fdroid.Text{fdroid.DefaultLocale: m.NoSourceSince}
	}
	for i := range list {
		v := &list[i].Version
		v.AntiFeatures = files[strconv.FormatInt(v.Code, 10)]
		if b := m.build(v.Code); b != nil && b.AntiFeatures != nil {
			v.AntiFeatures = asMap(b.AntiFeatures)
		}
	}
}

// antiFeatureFiles reads metadata/PACKAGE/LOCALE/antifeatures/[CODE_]NAME.txt,
// by version code, "" for all versions.
func (r *reader) antiFeatureFiles(pkg string) map[string]map[string]fdroid.Text {
	out := map[string]map[string]fdroid.Text{}
	for _, locale := range r.locales("metadata/" + pkg) {
		dir := path.Join("metadata", pkg, locale, "antifeatures")
		for _, file := range r.names(dir) {
			name, extension := ext(file)
			if extension != "txt" {
				continue
			}
			code := ""
			if before, after, ok := strings.Cut(name, "_"); ok {
				if _, err := strconv.ParseInt(before, 10, 64); err == nil {
					code, name = before, after
				}
			}
			if out[code] == nil {
				out[code] = map[string]fdroid.Text{}
			}
			if out[code][name] == nil {
				out[code][name] = fdroid.Text{}
			}
			out[code][name][locale] = r.text(path.Join(dir, file), maxText, false)
		}
	}
	return out
}
