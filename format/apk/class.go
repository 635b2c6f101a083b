package apk

import "slices"

// classFeatures are the features that only one class of devices has.
var classFeatures = []struct {
	name  string
	class DeviceClass
}{
	{"android.hardware.type.watch", Watch},
	{"android.hardware.type.automotive", Car},
	{"android.hardware.type.television", TV},
	{"android.software.leanback", TV},
	{"android.software.leanback_only", TV},
	{"android.hardware.type.embedded", Embedded},
}

// classLibraries are the libraries that only one class of devices has.
var classLibraries = map[string]DeviceClass{
	"com.google.android.wearable": Watch,
	"android.car":                 Car,
	"com.google.android.things":   Embedded,
}

// DeviceClasses returns the classes of devices that the package is for. One
// whose feature or library it requires is the only one; those that it merely
// knows, or whose home screen shows it, are there beside the phone.
func (m *Manifest) DeviceClasses() []DeviceClass {
	var needs, knows []DeviceClass
	for _, f := range m.Features {
		for _, c := range classFeatures {
			switch {
			case f.Name != c.name:
			case f.Required:
				needs = append(needs, c.class)
			default:
				knows = append(knows, c.class)
			}
		}
	}
	for _, l := range m.Libraries {
		switch c := classLibraries[l.Name]; {
		case c == "":
		case l.Required:
			needs = append(needs, c)
		default:
			knows = append(knows, c)
		}
	}
	phone := false
	for i := range m.Components {
		c := &m.Components[i]
		if c.has(actionMain, categoryLeanback) {
			knows = append(knows, TV)
		}
		if c.has(actionMain, "android.intent.category.IOT_LAUNCHER") {
			knows = append(knows, Embedded)
		}
		phone = phone || c.has(actionMain, categoryLauncher)
	}
	if len(needs) == 0 && (phone || len(knows) == 0 || !slices.Contains(knows, TV)) {
		knows = append(knows, Phone)
	}
	list := append(needs, knows...)
	if len(needs) > 0 {
		list = needs
	}
	slices.Sort(list)
	return slices.Compact(list)
}
