package image

import "embed"

// core holds what every device of base core has in its system image: init/ is
// /system/etc/init, scripts in AOSP's init language. adbd.rc is for userdebug
// builds alone.
//
//go:embed core
var core embed.FS
