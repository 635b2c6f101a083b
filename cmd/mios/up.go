package main

import (
	"context"
	"path/filepath"
	"runtime"

	"mios"
	"mios/desk"
)

var up = command{"up", "[flags]", "show the whole thing on this desk, from keys to an updated device\n" +
	"Makes keys, builds and publishes two releases and an app, boots a device in QEMU, lets it install the app\n" +
	"and update itself; then stays up until Ctrl-C.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		arch := "amd64"
		if runtime.GOARCH == "arm64" {
			arch = "arm64"
		}
		u := desk.Up{Out: e.stdout}
		name := fs.String("product", "iot", "`product`: a definition's file, or a name below products/")
		fs.StringVar(&arch, "arch", arch, "`architecture`: amd64 or arm64")
		fs.StringVar(&u.Dir, "out", "out", "`folder` for all state")
		fs.StringVar(&u.App, "app", filepath.Join("examples", "hello"), "`folder` of the example app")
		fs.StringVar(&u.Addr, "addr", "127.0.0.1:8480", "`address` to serve the repository at; a taken port is replaced by a free one")
		fs.IntVar(&u.ADBPort, "adb-port", 5555, "`port` of 127.0.0.1 for adb; a taken one is replaced")
		fs.IntVar(&u.AppPort, "app-port", 8080, "`port` of 127.0.0.1 for the app's page; a taken one is replaced")
		fs.BoolVar(&u.Once, "once", false, "end with the story")
		if err := parse(fs, args, 0, 0); err != nil {
			return err
		}
		u.Arch = mios.Arch(arch)
		var err error
		if u.Product, err = findProduct(*name); err != nil {
			return err
		}
		return u.Run(ctx)
	}}
