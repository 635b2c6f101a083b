// Package rc holds the scripts in AOSP's init language that a device of base
// core has in /system/etc/init: init.rc, and one for each service of
// docs/device.md. adbd.rc is for userdebug builds alone.
package rc

import "embed"

// Files are the scripts, by their names.
//
//go:embed *.rc
var Files embed.FS
