package initd

import (
	"fmt"
	"strconv"
	"strings"

	"mios"
)

// ids are the users and groups with a name, those of AOSP's
// android_filesystem_config.h that a device of base core uses. User and group
// of a name have the same number.
var ids = map[string]uint32{
	"root": 0, "daemon": 1, "bin": 2, "system": 1000, "radio": 1001, "bluetooth": 1002, "graphics": 1003, "input": 1004,
	"audio": 1005, "camera": 1006, "log": 1007, "compass": 1008, "mount": 1009, "wifi": 1010, "adb": 1011,
	"install": 1012, "media": 1013, "dhcp": 1014, "sdcard_rw": 1015, "vpn": 1016, "keystore": 1017, "usb": 1018,
	"drm": 1019, "mdnsr": 1020, "gps": 1021, "media_rw": 1023, "mtp": 1024, "nfc": 1027, "clat": 1029, "logd": 1036,
	"net_admin": 3005, "net_raw": 3004, "inet": 3003, "net_bt": 3002, "net_bt_admin": 3001, "net_bw_stats": 3006,
	"net_bw_acct": 3007, "readproc": 3009, "wakelock": 3010, "uhid": 3011, "readtracefs": 3012, "dns": 1051,
	"dns_tether": 1052, "webview_zygote": 1053, "update_engine_log": 1070, "virtualmachine": 1081, "cache": 2001,
	"diag": 2002, "shell": 2000, "everybody": 9997, "misc": 9998, "nobody": 9999,
}

// perUser and appStart are AOSP's AID_USER_OFFSET and AID_APP_START.
const (
	perUser  = 100000
	appStart = 10000
)

// LookupID returns the number of a user or group: a name of AOSP's, a number,
// or u0_a12, the twelfth app of the first user. The error wraps
// [mios.ErrNotFound].
func LookupID(name string) (uint32, error) {
	if id, ok := ids[name]; ok {
		return id, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return uint32(n), nil
	}
	if rest, ok := strings.CutPrefix(name, "u"); ok {
		user, app, ok := strings.Cut(rest, "_a")
		u, errU := strconv.ParseUint(user, 10, 8)
		a, errA := strconv.ParseUint(app, 10, 16)
		if ok && errU == nil && errA == nil && a < perUser-appStart {
			return uint32(u*perUser + appStart + a), nil
		}
	}
	return 0, fmt.Errorf("user or group %q: %w: use a name of AOSP's or a number", name, mios.ErrNotFound)
}
