//go:build !ramdisk

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"mios/api"
	"mios/api/repo"
	"mios/device/boot"
	"mios/device/fetch"
	"mios/device/ota"
	"mios/device/property"
	"mios/device/socket"
	"mios/format/payload"
	"mios/internal/atomicfile"
)

// Where the updater finds and keeps things: see docs/device.md.
const (
	otaDir     = "/data/ota"
	otaRepoDir = "/data/misc/repo/os" // installd, another process, has its own
	otaKeys    = "/system/etc/update_engine/update-payload-key.pub.pem"
	rootFile   = "/system/etc/mios/root.json"
)

// runUpdateEngine decides whether this boot is a good one, and keeps the device
// up to date.
func runUpdateEngine(ctx context.Context, args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if len(args) > 0 {
		fmt.Fprintln(os.Stderr, "usage: update_engine")
		return 2
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	debug.SetGCPercent(40) // decoders leave much behind, and the device has little
	if err := serveUpdateEngine(ctx, log); err != nil && ctx.Err() == nil {
		log.Error("update_engine", "err", err)
		return 1
	}
	return 0
}

func serveUpdateEngine(ctx context.Context, log *slog.Logger) error {
	cfg, err := updateConfig(ctx, log)
	if err != nil {
		return err
	}
	e := ota.New(*cfg)
	l, err := socket.Listen(ota.Socket, socket.Shell)
	if err != nil { // the boot must be judged nevertheless
		log.Error("nobody can ask the updater", "err", err)
		return e.Run(ctx)
	}
	go func() {
		if err := e.Serve(ctx, l); err != nil && ctx.Err() == nil {
			log.Error("nobody can ask the updater any more", "err", err)
		}
	}()
	return e.Run(ctx)
}

// updateConfig gathers what the engine needs of this device. What only an
// update needs comes later, and may be missing: the boot must be judged in any
// case, and soon.
func updateConfig(ctx context.Context, log *slog.Logger) (*ota.Config, error) {
	b, err := os.ReadFile(api.DevicePath)
	if err != nil {
		return nil, err
	}
	d, err := api.ParseDevice(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", api.DevicePath, err)
	}
	if err := atomicfile.Sweep(otaDir); err != nil {
		log.Warn("what a power cut left over stays", "err", err)
	}
	var props property.Client
	c := &ota.Config{
		Device: d, Disk: ota.BlockDisk{}, Store: ota.Dir(otaDir), Properties: props,
		Health: &ota.Health{Properties: props}, Log: log,
	}
	boots, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	c.BootID = strings.TrimSpace(string(boots))
	if c.Slot, err = props.Get(ctx, "ro.boot.slot_suffix"); err != nil {
		return nil, err
	}
	c.Properties = &announcer{props, d, c.Slot}
	c.RollbackIndex = func(location uint32) (uint64, error) {
		p, err := c.Disk.Open("rpmb")
		if err != nil {
			return 0, err
		}
		defer p.Close()
		return boot.StoredRollbackIndex(p, location)
	}
	complete := func(ctx context.Context, c *ota.Config) {
		if err := errors.Join(updateTrust(ctx, c, props), updateSource(ctx, c, props)); err != nil {
			log.Error("this device cannot be updated", "err", err)
			c.Repository = ota.Unavailable{Err: err}
		}
	}
	if slices.ContainsFunc(d.Health, func(h api.HealthCheck) bool { return h.HTTP != "" || len(h.Exec) > 0 }) {
		complete(ctx, c) // TLS wants the time right, which the repository's client knows
	} else {
		c.Complete = complete
	}
	return c, nil
}

// updateTrust sets whose updates are taken, and by which name this device asks.
func updateTrust(ctx context.Context, c *ota.Config, props property.Client) error {
	args := map[string]string{"vbmeta.digest": "", "vbmeta.hash_alg": "", "serialno": "", "region": ""}
	for name := range args {
		var err error
		if args[name], err = props.Get(ctx, "ro.boot."+name); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(otaKeys)
	if err != nil {
		return err
	}
	if c.PayloadKeys, err = payload.ParseKeys(b); err != nil {
		return fmt.Errorf("%s: %w", otaKeys, err)
	}
	booted, err := ota.ReadBooted(c.Disk, c.Slot, args["vbmeta.digest"], args["vbmeta.hash_alg"])
	if err != nil {
		return err
	}
	c.AVBKey, c.RollbackIndex = booted.Key, booted.NoOlder(c.RollbackIndex)
	if c.Region = args["region"]; c.Region != "" {
		if err := api.CheckRegion(c.Region); err != nil {
			return fmt.Errorf("ro.boot.region: %w", err)
		}
	}
	c.ID, err = ota.DeviceID(c.Store, args["serialno"])
	return err
}

// updateSource sets where updates come from.
func updateSource(ctx context.Context, c *ota.Config, props property.Client) error {
	d := c.Device
	from, err := mirrors(ctx, d, props)
	if err != nil {
		return err
	}
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return err
	}
	f := &fetch.Client{Mirrors: from, Hosts: d.Hosts, Log: c.Log, Memory: filepath.Join(otaDir, "mirror")}
	c.Fetcher = f
	var now clock
	r, err := repo.Open(repo.Config{
		Dir: otaRepoDir, Root: root, Fetcher: f, Product: d.Product,
		BuildTime: time.Unix(d.BuildTime, 0), MaxAge: time.Duration(d.MaxMetadataAge) * time.Second, Now: now.Now,
	})
	if err != nil {
		return err
	}
	timed := &timedRepository{Client: r, clock: &now, log: c.Log}
	timed.setClock()
	c.Repository = timed
	return nil
}

// runUpdateClient asks the updater.
func runUpdateClient(ctx context.Context, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := ota.ClientMain(ctx, ota.Client{}, args, os.Stdout)
	switch {
	case errors.Is(err, ota.ErrUsage):
		fmt.Fprintln(os.Stderr, err)
		return 2
	case err != nil:
		fmt.Fprintf(os.Stderr, "update_engine_client: %v\n", err)
		return 1
	}
	return 0
}
