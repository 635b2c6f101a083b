//go:build !ramdisk

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

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
		fmt.Fprintf(f, "%s (%s %s, slot %s)\n", what, a.device.Product, a.device.Version, a.slot)
		f.Close()
	}
	return err
}
