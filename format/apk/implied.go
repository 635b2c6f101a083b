package apk

import (
	"fmt"
	"slices"
	"strings"
)

// An ImpliedFeature is one that a package needs without saying so.
type ImpliedFeature struct {
	Name    string
	Reasons []string // in aapt's words, sorted
	SDK23   bool     // only on devices of SDK version 23 and up
}

// An ImpliedPermission is one that a package gets without asking for it.
type ImpliedPermission struct {
	Name   string
	MaxSDK int    // 0: always
	Reason string // in aapt's words
}

// telephony are the permissions that only a telephone has a use for.
var telephony = []string{
	"CALL_PHONE", "CALL_PRIVILEGED", "MODIFY_PHONE_STATE", "PROCESS_OUTGOING_CALLS", "READ_SMS", "RECEIVE_SMS", "RECEIVE_MMS",
	"RECEIVE_WAP_PUSH", "SEND_SMS", "WRITE_APN_SETTINGS", "WRITE_SMS",
}

// ImpliedFeatures returns the features that the package needs without saying so,
// by aapt's rules, sorted by name.
func (m *Manifest) ImpliedFeatures() []ImpliedFeature {
	var list impliedFeatures
	for _, p := range m.Permissions {
		if name, ok := strings.CutPrefix(p.Name, "android.permission."); ok {
			list.permission(name, m.TargetSDK, p.MinSDK == 23)
		}
	}
	for i := range m.Components {
		if c := &m.Components[i]; c.Kind == KindActivity {
			switch c.Orientation {
			case 0, 6, 8: // and by the sensor, reversed
				list.add("screen.landscape", false, "one or more activities have specified a landscape orientation")
			case 1, 7, 9:
				list.add("screen.portrait", false, "one or more activities have specified a portrait orientation")
			}
		}
	}
	features, _ := withParents(m.Features)
	const touchscreen = hardware + "touchscreen"
	if !slices.ContainsFunc(features, func(f UsesFeature) bool { return f.Name == touchscreen }) {
		list.add("faketouch", false, "default feature for all apps")
	}
	slices.SortFunc(list, func(a, b ImpliedFeature) int { return strings.Compare(a.Name, b.Name) })
	return list
}

const hardware = "android.hardware."

type impliedFeatures []ImpliedFeature

// add adds a feature of the hardware with the reasons for it.
func (l *impliedFeatures) add(name string, sdk23 bool, reasons ...string) {
	name = hardware + name
	i := slices.IndexFunc(*l, func(f ImpliedFeature) bool { return f.Name == name })
	if i < 0 {
		i = len(*l)
		*l = append(*l, ImpliedFeature{Name: name, SDK23: sdk23})
	}
	f := &(*l)[i]
	f.SDK23 = f.SDK23 && sdk23
	f.Reasons = append(f.Reasons, reasons...)
	slices.Sort(f.Reasons)
	f.Reasons = slices.Compact(f.Reasons)
}

// permission adds the features that a permission of Android's is of no use
// without.
func (l *impliedFeatures) permission(name string, target int, sdk23 bool) {
	requested := "requested android.permission." + name + " permission"
	switch name {
	case "CAMERA":
		l.add("camera", sdk23, requested)
	case "ACCESS_FINE_LOCATION", "ACCESS_COARSE_LOCATION":
		if target < 21 {
			by := "location.gps"
			if name == "ACCESS_COARSE_LOCATION" {
				by = "location.network"
			}
			l.add(by, sdk23, requested, "targetSdkVersion < 21")
		}
		l.add("location", sdk23, requested)
	case "ACCESS_MOCK_LOCATION", "ACCESS_LOCATION_EXTRA_COMMANDS", "INSTALL_LOCATION_PROVIDER":
		l.add("location", sdk23, requested)
	case "BLUETOOTH", "BLUETOOTH_ADMIN":
		if target > 4 {
			l.add("bluetooth", sdk23, requested, "targetSdkVersion > 4")
		}
	case "RECORD_AUDIO":
		l.add("microphone", sdk23, requested)
	case "ACCESS_WIFI_STATE", "CHANGE_WIFI_STATE", "CHANGE_WIFI_MULTICAST_STATE":
		l.add("wifi", sdk23, requested)
	default:
		if slices.Contains(telephony, name) {
			l.add("telephony", sdk23, "requested a telephony permission")
		}
	}
}

// parents are the features that others are a part of.
var parents = map[string][]string{
	"camera.autofocus":                 {"camera"},
	"camera.flash":                     {"camera"},
	"location.gps":                     {"location"},
	"location.network":                 {"location"},
	"faketouch.multitouch":             {"faketouch"},
	"faketouch.multitouch.distinct":    {"faketouch.multitouch", "faketouch"},
	"faketouch.multitouch.jazzhands":   {"faketouch.multitouch", "faketouch"},
	"touchscreen.multitouch":           {"touchscreen"},
	"touchscreen.multitouch.distinct":  {"touchscreen.multitouch", "touchscreen"},
	"touchscreen.multitouch.jazzhands": {"touchscreen.multitouch", "touchscreen"},
}

// withParents returns the features sorted by name, each once, with those that
// required ones are a part of, and the highest version of OpenGL ES: the
// Android Extension Pack needs 3.1.
func withParents(features []UsesFeature) (list []UsesFeature, gles uint32) {
	put := func(f UsesFeature) {
		i, found := slices.BinarySearchFunc(list, f.Name, func(a UsesFeature, name string) int { return strings.Compare(a.Name, name) })
		if found {
			list[i] = f
		} else {
			list = slices.Insert(list, i, f)
		}
	}
	for _, f := range features {
		if gles = max(gles, f.GLES); f.Name == "" {
			continue
		}
		put(f)
		name := strings.TrimPrefix(f.Name, hardware)
		if !f.Required || name == f.Name {
			continue
		}
		if name == "opengles.aep" {
			gles = max(gles, 0x00030001)
		}
		for _, p := range parents[name] {
			put(UsesFeature{Name: hardware + p, Required: true})
		}
	}
	return list, gles
}

// featureGroups returns what the manifest's groups need, or one group of what
// the package needs, with what is implied.
func (m *Manifest) featureGroups() []FeatureGroup {
	common, gles := withParents(m.Features)
	if len(m.FeatureGroups) == 0 {
		implied := slices.DeleteFunc(m.ImpliedFeatures(), func(i ImpliedFeature) bool {
			return slices.ContainsFunc(common, func(f UsesFeature) bool { return f.Name == i.Name })
		})
		return []FeatureGroup{{GLES: gles, Features: common, Implied: implied}}
	}
	var list []FeatureGroup
	for _, g := range m.FeatureGroups {
		own, ownGLES := withParents(g.Features)
		for _, f := range common {
			if !slices.ContainsFunc(own, func(o UsesFeature) bool { return o.Name == f.Name }) {
				own = append(own, f)
			}
		}
		slices.SortFunc(own, func(a, b UsesFeature) int { return strings.Compare(a.Name, b.Name) })
		list = append(list, FeatureGroup{Label: g.Label, GLES: max(gles, ownGLES), Features: own})
	}
	return list
}

// ImpliedPermissions returns the permissions that the package gets without
// asking for them, by aapt's rules.
func (m *Manifest) ImpliedPermissions() []ImpliedPermission {
	var list []ImpliedPermission
	ask := func(name string) *UsesPermission {
		i := slices.IndexFunc(m.Permissions, func(p UsesPermission) bool { return p.Name == "android.permission."+name && p.MinSDK == 0 })
		if i < 0 {
			return nil
		}
		return &m.Permissions[i]
	}
	add := func(name, reason string, maxSDK int) {
		if ask(name) == nil {
			list = append(list, ImpliedPermission{"android.permission." + name, maxSDK, reason})
		}
	}
	write := ask("WRITE_EXTERNAL_STORAGE")
	if m.TargetSDK < 4 {
		add("WRITE_EXTERNAL_STORAGE", "targetSdkVersion < 4", 0)
		add("READ_PHONE_STATE", "targetSdkVersion < 4", 0)
	}
	if write != nil || m.TargetSDK < 4 {
		limit := 0
		if write != nil {
			limit = write.MaxSDK
		}
		add("READ_EXTERNAL_STORAGE", "requested WRITE_EXTERNAL_STORAGE", limit)
	}
	for _, verb := range []string{"READ", "WRITE"} {
		if m.TargetSDK < 16 && ask(verb+"_CONTACTS") != nil {
			add(verb+"_CALL_LOG", fmt.Sprintf("targetSdkVersion < 16 and requested %s_CONTACTS", verb), 0)
		}
	}
	return list
}
