//go:build !ramdisk

package main

import (
	"context"
	"fmt"

	"mios/api"
	"mios/device/property"
)

// mirrors returns the addresses of the device's repository: those of its
// description, or on a userdebug device the one on its command line.
func mirrors(ctx context.Context, d *api.Device, props property.Client) ([]string, error) {
	if d.Variant == "userdebug" {
		if v, err := props.Get(ctx, "ro.boot.mios.repository"); err == nil && v != "" {
			return []string{v}, nil
		}
	}
	if len(d.Repository) == 0 {
		return nil, fmt.Errorf("%s names no repository", api.DevicePath)
	}
	return d.Repository, nil
}
