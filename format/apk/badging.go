package apk

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"mios"
)

// Badging is what a package shows of itself before it is installed, with
// references resolved as for a phone in American English: the facts that
// `aapt dump badging` prints.
type Badging struct {
	Info
	Labels    map[string]string // of the application, by BCP 47 locale; "" is the default
	Icons     map[uint16]string // of the application: entry in the package, by density in dpi
	Icon      string            // of the application, at 160 dpi
	Banner    string            // likewise, for a TV
	Locales   []string          // that the package has resources for, sorted; "" is the default
	Densities []uint16          // that the package has resources for, in dpi, sorted
	Launch    []Launchable      // what home screens start

	Groups             []FeatureGroup // features that it needs or uses: one group, unless the manifest has some
	ImpliedPermissions []ImpliedPermission
	Roles              []string // what its components offer to the system, in aapt's words: "ime", "wallpaper" ...
	Classes            []DeviceClass

	// ABIs of the native code: those that it runs in, and, of a package for
	// processes of 32 and 64 bits, those that it has besides.
	NativeCode, AltNativeCode []string
}

// A Launchable is an activity that a home screen shows.
type Launchable struct {
	Name                string // of the class
	Label, Icon, Banner string // "" if it has none of its own
	TV                  bool   // a TV's home screen (LEANBACK_LAUNCHER)
	Alias               bool   // an activity-alias
}

// What Badging reads; all of the world's locales that Android knows are fewer.
const (
	maxLocales   = 1000
	maxDensities = 200
)

// Badging reads all that the package shows of itself. A package without a
// resource table has no locales and no densities.
func (f *File) Badging() (*Badging, error) {
	root, err := f.ReadXML(ManifestName)
	if err != nil {
		return nil, err
	}
	r := &badgingReader{f: f, want: Device{}.Config()}
	m, err := newManifest(root, &manifestReader{numbers: r.value, texts: r.value})
	if err != nil {
		return nil, cmp.Or(r.err, err)
	}
	r.b = &Badging{Info: Info{Manifest: *m, ABIs: f.abis()}}
	r.resources()
	for i := range m.Components {
		r.launch(&m.Components[i])
	}
	r.b.Groups = m.featureGroups()
	r.b.ImpliedPermissions = m.ImpliedPermissions()
	r.roles()
	r.b.Classes = m.DeviceClasses()
	r.nativeCode()
	if r.err != nil {
		return nil, r.err
	}
	return r.b, nil
}

// A badgingReader resolves what a package's manifest refers to. It reads the
// resource table when it needs it.
type badgingReader struct {
	f    *File
	want Config
	b    *Badging
	err  error // that the table is broken
}

// table returns the resource table, or nil if there is none.
func (r *badgingReader) table() *Resources {
	res, err := r.f.Resources()
	if err != nil && !errors.Is(err, mios.ErrNotFound) {
		r.err = cmp.Or(r.err, err)
	}
	return res
}

// value resolves a reference, or gives it back.
func (r *badgingReader) value(v Value) Value {
	if _, ok := v.Reference(); !ok {
		return v
	}
	res := r.table()
	if res == nil {
		return v
	}
	out, _, err := res.Resolve(v, &r.want)
	if err == nil {
		return out
	}
	if !errors.Is(err, mios.ErrNotFound) {
		r.err = cmp.Or(r.err, err)
	}
	return v
}

// text resolves a reference to a text; all else is "".
func (r *badgingReader) text(v Value) string {
	if v = r.value(v); v.Type == TypeString {
		return v.Str
	}
	return ""
}

// Text returns the text that v is or refers to, on a device of the configuration
// want: such as an application's label. It is "" if there is none. An error is
// that the resource table is broken.
func (f *File) Text(v Value, want *Config) (string, error) {
	r := &badgingReader{f: f, want: *want}
	s := r.text(v)
	return s, r.err
}

// resources reads what differs by locale and density.
func (r *badgingReader) resources() {
	b, app := r.b, &r.b.Application
	b.Labels, b.Icons = make(map[string]string), make(map[uint16]string)
	b.Icon, b.Banner = r.text(app.Icon), r.text(app.Banner)
	res := r.table()
	if res == nil {
		return
	}
	locales, densities := make(map[string]bool), make(map[uint16]bool)
	for _, c := range res.Configs() {
		locales[c.Locale()] = true
		if c.Density == 0 {
			c.Density = DensityMedium
		}
		densities[c.Density] = true
	}
	if len(locales) > maxLocales || len(densities) > maxDensities {
		r.err = bad(0, "%s: for %d locales and %d densities, at most %d and %d are read", ResourcesName, len(locales), len(densities), maxLocales, maxDensities)
		return
	}
	normal := r.want
	for tag := range locales {
		b.Locales = append(b.Locales, tag)
		if r.want.SetLocale(tag) {
			if s := r.text(app.Label); s != "" {
				b.Labels[tag] = s
			}
		}
	}
	r.want = normal
	for dpi := range densities {
		b.Densities = append(b.Densities, dpi)
		r.want.Density = dpi
		if s := r.text(app.Icon); s != "" {
			b.Icons[dpi] = s
		}
	}
	r.want = normal
	slices.Sort(b.Locales)
	slices.Sort(b.Densities)
}

const (
	actionMain       = "android.intent.action.MAIN"
	categoryLauncher = "android.intent.category.LAUNCHER"
	categoryLeanback = "android.intent.category.LEANBACK_LAUNCHER"
)

func (r *badgingReader) launch(c *Component) {
	if c.Kind != KindActivity && c.Kind != KindAlias {
		return
	}
	for _, tv := range []bool{false, true} {
		category := categoryLauncher
		if tv {
			category = categoryLeanback
		}
		if c.has(actionMain, category) {
			r.b.Launch = append(r.b.Launch, Launchable{
				Name: c.Name, Label: r.text(c.Label), Icon: r.text(c.Icon), Banner: r.text(c.Banner), TV: tv, Alias: c.Kind == KindAlias,
			})
		}
	}
}

// Launchable returns the activity, or the alias of one, that a phone's home
// screen starts, else a TV's, or nil.
func (m *Manifest) Launchable() *Component {
	for _, category := range []string{categoryLauncher, categoryLeanback} {
		for i := range m.Components {
			c := &m.Components[i]
			start := func(f IntentFilter) bool { return f.has(actionMain, category) }
			if (c.Kind == KindActivity || c.Kind == KindAlias) && c.Enabled && slices.ContainsFunc(c.Filters, start) {
				return c
			}
		}
	}
	return nil
}

// nativeCode tells the ABIs of a package for processes of 32 and 64 bits apart.
func (r *badgingReader) nativeCode() {
	b := r.b
	b.NativeCode = slices.Clone(b.ABIs)
	if !b.Application.MultiArch {
		return
	}
	for _, abi := range []string{"x86_64", "arm64-v8a"} {
		if i := slices.Index(b.NativeCode, abi); i >= 0 {
			b.AltNativeCode = slices.Delete(b.NativeCode, i, i+1)
			b.NativeCode = []string{abi}
			return
		}
	}
}

// abis returns the folders below lib/ that hold something, sorted.
func (f *File) abis() []string {
	var list []string
	for i := range f.Entries {
		if dir, ok := strings.CutPrefix(f.Entries[i].Name, "lib/"); ok {
			if abi, file, ok := strings.Cut(dir, "/"); ok && file != "" && !slices.Contains(list, abi) {
				list = append(list, abi)
			}
		}
	}
	slices.Sort(list)
	return list
}
