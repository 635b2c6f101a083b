//go:build ramdisk

package main

import (
	"context"

	"mios/device/firststage"
)

// firstStage is the first stage of init, /init of the boot ramdisk.
var firstStage = applet{"init", func(context.Context, []string) int { return firststage.Main() }}
