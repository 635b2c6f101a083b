package report

import (
	"slices"
	"strings"

	"mios/format/apk"
)

// A Permission is one that a package asks for, or gets for being old.
type Permission struct {
	Name     string `json:"name"`
	Group    string `json:"group"`             // see the constants
	About    string `json:"about,omitempty"`   // what it is about: "location"
	MinSDK   int    `json:"min_sdk,omitempty"` // only from that SDK version on
	MaxSDK   int    `json:"max_sdk,omitempty"` // only up to that SDK version
	Optional bool   `json:"optional,omitempty"`
	Implied  string `json:"implied,omitempty"` // why a device grants it, if the manifest does not ask for it
}

// The groups of permissions, by how a device grants them.
const (
	GroupPerson  = "person"  // the person is asked while the app runs
	GroupSetting = "setting" // the person switches it on in the settings
	GroupInstall = "install" // of the platform's, granted on installing, or only to the platform's own apps
	GroupOther   = "other"   // of another package's, or the app's own
)

// askedFor are the platform's permissions that a person decides about, and what
// they are about (AOSP frameworks/base/core/res/AndroidManifest.xml, SDK 36,
// protection level dangerous).
var askedFor = map[string]string{
	"ACCEPT_HANDOVER":                 "phone",
	"ACCESS_BACKGROUND_LOCATION":      "location",
	"ACCESS_COARSE_LOCATION":          "location",
	"ACCESS_FINE_LOCATION":            "location",
	"ACCESS_MEDIA_LOCATION":           "location",
	"ACTIVITY_RECOGNITION":            "activity",
	"ADD_VOICEMAIL":                   "phone",
	"ANSWER_PHONE_CALLS":              "phone",
	"BLUETOOTH_ADVERTISE":             "nearby devices",
	"BLUETOOTH_CONNECT":               "nearby devices",
	"BLUETOOTH_SCAN":                  "nearby devices",
	"BODY_SENSORS":                    "sensors",
	"BODY_SENSORS_BACKGROUND":         "sensors",
	"CALL_PHONE":                      "phone",
	"CAMERA":                          "camera",
	"GET_ACCOUNTS":                    "contacts",
	"NEARBY_WIFI_DEVICES":             "nearby devices",
	"POST_NOTIFICATIONS":              "notifications",
	"PROCESS_OUTGOING_CALLS":          "call log",
	"RANGING":                         "nearby devices",
	"READ_CALENDAR":                   "calendar",
	"READ_CALL_LOG":                   "call log",
	"READ_CONTACTS":                   "contacts",
	"READ_EXTERNAL_STORAGE":           "files",
	"READ_MEDIA_AUDIO":                "files",
	"READ_MEDIA_IMAGES":               "files",
	"READ_MEDIA_VIDEO":                "files",
	"READ_MEDIA_VISUAL_USER_SELECTED": "files",
	"READ_PHONE_NUMBERS":              "phone",
	"READ_PHONE_STATE":                "phone",
	"READ_SMS":                        "messages",
	"RECEIVE_MMS":                     "messages",
	"RECEIVE_SMS":                     "messages",
	"RECEIVE_WAP_PUSH":                "messages",
	"RECORD_AUDIO":                    "microphone",
	"SEND_SMS":                        "messages",
	"USE_SIP":                         "phone",
	"UWB_RANGING":                     "nearby devices",
	"WRITE_CALENDAR":                  "calendar",
	"WRITE_CALL_LOG":                  "call log",
	"WRITE_CONTACTS":                  "contacts",
	"WRITE_EXTERNAL_STORAGE":          "files",
}

// switchedOn are the platform's permissions that a person gives in the settings
// (protection level appop).
var switchedOn = map[string]string{
	"ACCESS_NOTIFICATION_POLICY":          "do not disturb",
	"INSTANT_APP_FOREGROUND_SERVICE":      "instant app in the foreground",
	"INTERACT_ACROSS_PROFILES":            "other profiles",
	"LOADER_USAGE_STATS":                  "use of apps",
	"MANAGE_EXTERNAL_STORAGE":             "all files",
	"MANAGE_MEDIA":                        "changing media",
	"MANAGE_ONGOING_CALLS":                "calls",
	"MEDIA_ROUTING_CONTROL":               "media of others",
	"PACKAGE_USAGE_STATS":                 "use of apps",
	"REQUEST_INSTALL_PACKAGES":            "installing apps",
	"RUN_USER_INITIATED_JOBS":             "long jobs",
	"SCHEDULE_EXACT_ALARM":                "exact alarms",
	"SMS_FINANCIAL_TRANSACTIONS":          "messages",
	"START_VIEW_PERMISSION_USAGE":         "use of permissions",
	"SYSTEM_ALERT_WINDOW":                 "drawing over other apps",
	"TURN_SCREEN_ON":                      "turning the screen on",
	"USE_ICC_AUTH_WITH_DEVICE_IDENTIFIER": "SIM card",
	"WRITE_SETTINGS":                      "settings of the system",
}

const platformPermission = "android.permission."

// groupOf returns the group of a permission, and what it is about.
func groupOf(name string) (group, about string) {
	short, ok := strings.CutPrefix(name, platformPermission)
	if !ok {
		return GroupOther, ""
	}
	if about := askedFor[short]; about != "" {
		return GroupPerson, about
	}
	if about := switchedOn[short]; about != "" {
		return GroupSetting, about
	}
	return GroupInstall, ""
}

func permissions(m *apk.Manifest) []Permission {
	list := []Permission{}
	for _, p := range m.Permissions {
		group, about := groupOf(p.Name)
		list = append(list, Permission{p.Name, group, about, p.MinSDK, p.MaxSDK, p.Optional, ""})
	}
	if m.Split == "" { // a split's SDK versions are those of its base
		for _, p := range m.ImpliedPermissions() {
			group, about := groupOf(p.Name)
			list = append(list, Permission{Name: p.Name, Group: group, About: about, MaxSDK: p.MaxSDK, Implied: p.Reason})
		}
	}
	slices.SortStableFunc(list, func(a, b Permission) int { return strings.Compare(a.Name, b.Name) })
	return slices.Compact(list)
}
