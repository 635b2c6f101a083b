//go:build !ramdisk

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"mios/api"
	"mios/api/repo"
	"mios/device/app"
	"mios/device/fetch"
	"mios/device/logd"
	"mios/device/property"
	"mios/device/sandbox"
	"mios/device/socket"
)

// appsDir is where installd keeps what it trusts of the repository; the
// updater, which is another process, has its own.
const appsDir = "/data/misc/repo/apps"

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
	if cfg.Source, err = appSource(ctx, d, props, log); err != nil {
		log.Warn("apps come from files alone", "err", err)
	}
	m, err := app.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer m.Wait()
	l, err := socket.Listen(app.Socket, socket.Shell)
	if err != nil {
		return err
	}
	if err := props.Set(ctx, "sys.mios.packages", "ready"); err != nil {
		log.Error("nobody hears that packages can be installed", "err", err)
	}
	log.Info("installd listens", "packages", len(m.List()))
	return m.Serve(ctx, l)
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

// appSource is the repository that the device's description names, or on a
// userdebug device the one on its command line.
func appSource(ctx context.Context, d *api.Device, props property.Client, log *slog.Logger) (app.Source, error) {
	from, err := mirrors(ctx, d, props)
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return nil, err
	}
	f := &fetch.Client{Mirrors: from, Hosts: d.Hosts, Log: log}
	c, err := repo.Open(repo.Config{
		Dir: appsDir, Root: root, Fetcher: f, BuildTime: time.Unix(d.BuildTime, 0), MaxAge: time.Duration(d.MaxMetadataAge) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return &app.RepoSource{Repository: c, Fetcher: f}, nil
}

// runSandbox is the helper that becomes an app's program.
func runSandbox(_ context.Context, args []string) int {
	fmt.Fprintln(os.Stderr, sandbox.Exec(args))
	return 127
}
