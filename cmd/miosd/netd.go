//go:build !ramdisk

package main

import (
	"context"
	"log/slog"
	"os"

	netd "mios/device/net"
	"mios/device/property"
)

// runNetd keeps the device on its network.
func runNetd(ctx context.Context, _ []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	props := property.Client{}
	host, err := os.Hostname()
	if err != nil {
		log.Warn("host name", "err", err)
	}
	d := &netd.Daemon{
		Kernel: netd.Netlink{}, DHCP: &netd.DHCP{Host: host}, Set: props.Set, Resolv: "/run/resolv.conf", Log: log,
	}
	log.Error("netd ends", "err", d.Run(ctx))
	return 1
}
