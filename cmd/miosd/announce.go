//go:build !ramdisk

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mios/api"
	"mios/device/property"
)

// An announcer sets properties, and says on the console how the boot went: on
// a desk that is where a person, or a test, looks.
type announcer struct {
	property.Client
	device *api.Device
	slot   string
}

// Set implements ota.Properties.
func (a *announcer) Set(ctx context.Context, name, value string) error {
	err := a.Client.Set(ctx, name, value)
	if name != "sys.mios.health" || value == "checking" {
		return err
	}
	what := "mios: healthy"
	if reason, failed := strings.CutPrefix(value, "failed: "); failed {
		what = "mios: health check failed: " + reason
	}
	if f, err := os.OpenFile("/dev/console", os.O_WRONLY, 0); err == nil {
		fmt.Fprintf(f, "%s (%s %s, slot %s, after %.2f s)\n", what, a.device.Product, a.device.Version, a.slot, sinceBoot().Seconds())
		f.Close()
	}
	return err
}

// sinceBoot returns the time since the kernel started.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
