//go:build !ramdisk

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"mios/device/adbd"
	"mios/device/property"
)

// adbPort is where hosts connect: what adb takes by default.
const adbPort = "5555"

// shellEnv is the environment of a shell that adb starts.
var shellEnv = []string{
	"PATH=/system/bin", "HOME=/data", "SHELL=/system/bin/sh", "USER=root", "LOGNAME=root", "TMPDIR=/data/local/tmp",
	"ANDROID_ROOT=/system", "ANDROID_DATA=/data", "SSL_CERT_FILE=/system/etc/security/cacerts.pem",
}

// runAdbd serves adb until it is told to end.
func runAdbd(ctx context.Context, args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if len(args) > 0 {
		fmt.Fprintln(os.Stderr, "usage: adbd")
		return 2
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serveAdb(ctx, log); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("adbd", "err", err)
		return 1
	}
	return 0
}

func serveAdb(ctx context.Context, log *slog.Logger) error {
	var props property.Client
	p := map[string]string{"ro.debuggable": "", "ro.adb.secure": "", "ro.product.name": "", "ro.product.model": "", "ro.product.device": ""}
	for name := range p {
		v, err := props.Get(ctx, name)
		if err != nil {
			return err
		}
		p[name] = v
	}
	if p["ro.debuggable"] != "1" {
		return errors.New("this build is for users and has no adb: build the product as userdebug")
	}
	s := &adbd.Server{
		KeyFiles: []string{"/system/etc/security/adb_keys", "/data/misc/adb/adb_keys"},
		NoAuth:   p["ro.adb.secure"] == "0",
		Shell:    []string{"/system/bin/sh"},
		Env:      shellEnv,
		Product:  p["ro.product.name"], Model: p["ro.product.model"], Device: p["ro.product.device"],
		Properties: props,
		Log:        log,
	}
	l, err := net.Listen("tcp", ":"+adbPort)
	if err != nil {
		return err
	}
	log.Info("adbd listens", "address", l.Addr().String(), "authentication", !s.NoAuth)
	return s.Serve(ctx, l)
}
