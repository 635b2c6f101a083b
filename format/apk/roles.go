package apk

import "slices"

// A role is something that a component offers to the system.
type role struct {
	name       string // aapt's
	kind       Kind
	action     string
	permission string // that the system must have to bind to it; "": any
}

// roles are in the order in which aapt prints them; payment and document
// providers need more than an action.
var roles = []role{
	{"app-widget", KindReceiver, "android.appwidget.action.APPWIDGET_UPDATE", ""},
	{"device-admin", KindReceiver, "android.app.action.DEVICE_ADMIN_ENABLED", "android.permission.BIND_DEVICE_ADMIN"},
	{"ime", KindService, "android.view.InputMethod", ""},
	{"wallpaper", KindService, "android.service.wallpaper.WallpaperService", ""},
	{"accessibility", KindService, "android.accessibilityservice.AccessibilityService", "android.permission.BIND_ACCESSIBILITY_SERVICE"},
	{"print-service", KindService, "android.printservice.PrintService", "android.permission.BIND_PRINT_SERVICE"},
	{"payment", KindService, "android.nfc.cardemulation.action.HOST_APDU_SERVICE", "android.permission.BIND_NFC_SERVICE"},
	{"payment", KindService, "android.nfc.cardemulation.action.OFF_HOST_APDU_SERVICE", "android.permission.BIND_NFC_SERVICE"},
	{"search", "", "android.intent.action.SEARCH", ""},
	{"document-provider", KindProvider, "android.content.action.DOCUMENTS_PROVIDER", "android.permission.MANAGE_DOCUMENTS"},
	{"launcher", KindActivity, "", ""}, // by category
	{"notification-listener", KindService, "android.service.notification.NotificationListenerService", "android.permission.BIND_NOTIFICATION_LISTENER_SERVICE"},
	{"dream", KindService, "android.service.dreams.DreamService", "android.permission.BIND_DREAM_SERVICE"},
	{"camera", KindActivity, "android.media.action.STILL_IMAGE_CAMERA", ""},
	{"camera", KindActivity, "android.media.action.VIDEO_CAMERA", ""},
	{"camera-secure", KindActivity, "android.media.action.STILL_IMAGE_CAMERA_SECURE", ""},
}

// roles finds the roles of all components.
func (r *badgingReader) roles() {
	b := r.b
	for _, role := range roles {
		if !slices.Contains(b.Roles, role.name) && slices.ContainsFunc(b.Components, func(c Component) bool { return r.plays(&c, role) }) {
			b.Roles = append(b.Roles, role.name)
		}
	}
}

func (r *badgingReader) plays(c *Component, role role) bool {
	if role.kind != "" && c.Kind != role.kind || role.permission != "" && c.Permission != role.permission {
		return false
	}
	switch role.name {
	case "launcher":
		return c.has("", "android.intent.category.HOME")
	case "payment":
		return c.has(role.action, "") && r.pays(c)
	case "document-provider":
		return c.has(role.action, "") && (c.Exported || !c.ExportedExplicit) && c.GrantURIPermission
	}
	return c.has(role.action, "")
}

// Others reports whether the package has components that do nothing of what
// aapt names: of what kind.
func (b *Badging) Others(kind Kind) bool {
	return slices.ContainsFunc(b.Components, func(c Component) bool {
		if c.Kind != kind {
			return false
		}
		return len(c.Filters) == 0 || slices.ContainsFunc(c.Filters, func(f IntentFilter) bool { return !named(&f, kind) })
	})
}

// named reports whether a filter is for something that aapt names.
func named(f *IntentFilter, kind Kind) bool {
	if kind == KindActivity && f.has(actionMain, "") {
		return true
	}
	return slices.ContainsFunc(roles, func(r role) bool {
		return r.kind == kind && r.action != "" && r.name != "dream" && f.has(r.action, "")
	})
}

// pays reports whether a service of NFC cards says that it pays.
func (r *badgingReader) pays(c *Component) bool {
	for _, d := range c.MetaData {
		element := ""
		switch d.Name {
		case "android.nfc.cardemulation.host_apdu_service":
			element = "host-apdu-service"
		case "android.nfc.cardemulation.off_host_apdu_service":
			element = "offhost-apdu-service"
		}
		if element == "" || d.Resource == 0 {
			continue
		}
		root, err := r.f.ReadXML(r.text(Value{Type: TypeReference, Data: uint32(d.Resource)}))
		if err != nil || root.Name != element {
			continue
		}
		for _, g := range root.Children {
			if a := g.Res(idCategory); g.Name == "aid-group" && a != nil && a.Value.Str == "payment" {
				return true
			}
		}
	}
	return false
}
