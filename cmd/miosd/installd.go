//go:build !ramdisk

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mios/api"
	"mios/api/repo"
	"mios/device/app"
	"mios/device/app/store"
	"mios/device/fetch"
	"mios/device/logd"
	"mios/device/ota"
	"mios/device/property"
	"mios/device/sandbox"
	"mios/device/socket"
)

// appsDir is where installd keeps what it trusts of the repository; the
// updater, which is another process, has its own.
const appsDir = "/data/misc/repo/apps"

// storeDir is where the store keeps downloads, its report and what it has spent.
const storeDir = "/data/misc/store"

// runInstalld keeps packages until it is told to end.
func runInstalld(ctx context.Context, args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if len(args) > 0 {
		fmt.Fprintln(os.Stderr, "usage: installd")
		return 2
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serveInstalld(ctx, log); err != nil {
		log.Error("installd", "err", err)
		return 1
	}
	return 0
}

func serveInstalld(ctx context.Context, log *slog.Logger) error {
	b, err := os.ReadFile(api.DevicePath)
	if err != nil {
		return err
	}
	d, err := api.ParseDevice(b)
	if err != nil {
		return fmt.Errorf("%s: %w", api.DevicePath, err)
	}
	var props property.Client
	cfg := app.Config{
		Root: "/data", SDK: api.SDK, ABI: d.Arch.ABI(), Debuggable: d.Variant == "userdebug",
		Helper: []string{"/system/bin/miosd", "sandbox"},
		Env:    map[string]string{"MIOS_DEVICE_PRODUCT": d.Product, "MIOS_DEVICE_VERSION": d.Version},
		Output: appOutput(log), Log: log,
		Changed: func(pkg, state string) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := props.Set(ctx, "init.svc.app_"+pkg, state); err != nil {
				log.Warn("property", "err", err)
			}
		},
	}
	m, err := app.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer m.Wait()
	handle := store.Serve(ctx, func() (*store.Store, error) { return openStore(ctx, d, m, log) }, log)
	l, err := socket.Listen(app.Socket, socket.Shell)
	if err != nil {
		return err
	}
	if err := props.Set(ctx, "sys.mios.packages", "ready"); err != nil {
		log.Error("nobody hears that packages can be installed", "err", err)
	}
	log.Info("installd listens", "packages", len(m.List()))
	return m.Serve(ctx, l, handle)
}

// appOutput sends what programs print to the log, under the tag app_PACKAGE.
func appOutput(log *slog.Logger) func(pkg string, pid, uid int) io.Writer {
	w, err := logd.Dial("")
	if err != nil {
		log.Warn("what apps print is lost", "err", err)
		return nil
	}
	return func(pkg string, pid, uid int) io.Writer { return w.Lines("app_"+pkg, pid, uint32(uid)) }
}

// openStore opens the store of apps from the repository that the device's
// description names, or on a userdebug device the one on its command line.
func openStore(ctx context.Context, d *api.Device, m *app.Manager, log *slog.Logger) (*store.Store, error) {
	var props property.Client
	from, err := mirrors(ctx, d, props)
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(storeDir, 0o700); err != nil {
		return nil, err
	}
	meter := &fetch.Meter{
		Path: filepath.Join(storeDir, "meter.json"), Budget: d.Apps.Budget, Period: time.Duration(d.Apps.Period) * time.Second, Log: log,
	}
	f := &fetch.Client{Mirrors: from, Hosts: d.Hosts, Log: log, Meter: meter, Memory: filepath.Join(storeDir, "mirror")}
	c, err := repo.Open(repo.Config{
		Dir: appsDir, Root: root, Fetcher: f, BuildTime: time.Unix(d.BuildTime, 0), MaxAge: time.Duration(d.MaxMetadataAge) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	device, err := appDevice(ctx, d, props)
	if err != nil {
		return nil, err
	}
	return store.Open(store.Config{
		Dir: storeDir, Repository: c, Packages: m, Fetch: f, Meter: meter, Device: *device, Locales: d.Apps.Locales, Density: d.Apps.Density,
		Interval: time.Duration(d.Apps.Interval) * time.Second, Free: freeSpace, Log: log,
	})
}

// appDevice is what decides which releases of apps are for this device.
func appDevice(ctx context.Context, d *api.Device, props property.Client) (*repo.AppDevice, error) {
	a := &repo.AppDevice{
		SDK: api.SDK, ABIs: []string{d.Arch.ABI()}, Class: d.Class, Place: api.Place{Ships: d.Regions}, Track: d.Apps.Track, Features: d.Apps.Features,
	}
	var err error
	if a.Place.Region, err = props.Get(ctx, "ro.boot.region"); err != nil {
		return nil, err
	}
	if a.Place.Region != "" {
		if err := api.CheckRegion(a.Place.Region); err != nil {
			return nil, fmt.Errorf("ro.boot.region: %w", err)
		}
	}
	serial, err := props.Get(ctx, "ro.boot.serialno")
	if err != nil {
		return nil, err
	}
	a.ID, err = ota.DeviceID(ota.Dir(storeDir), serial)
	return a, err
}

// freeSpace is how many bytes the store may fill: a tenth of what is free stays.
func freeSpace() (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs("/data", &fs); err != nil {
		return 0, err
	}
	free := int64(fs.Bavail) * fs.Bsize
	return free - free/10, nil
}

// runSandbox is the helper that becomes an app's program.
func runSandbox(_ context.Context, args []string) int {
	fmt.Fprintln(os.Stderr, sandbox.Exec(args))
	return 127
}
