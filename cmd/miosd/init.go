//go:build !ramdisk

package main

import (
	"context"
	"fmt"
	"os"

	initd "mios/device/init"
)

// runInit is PID 1 once the system partition is mounted.
func runInit(_ context.Context, args []string) int {
	if os.Getpid() != 1 || len(args) > 1 || len(args) == 1 && args[0] != "second_stage" {
		fmt.Fprintln(os.Stderr, "usage: init second_stage   (as process 1; to reboot, use: setprop sys.powerctl reboot)")
		return 2
	}
	initd.SecondStage()
	return 1
}
