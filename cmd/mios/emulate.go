package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mios"
	"mios/build/image"
	"mios/desk"
	"mios/emulator"
	"mios/internal/progress"
	"mios/key"
)

var emulate = command{"emulate", "[flags] PRODUCT|DIR", "run a product's build in QEMU\n" +
	"It runs until it powers off or Ctrl-C. DIR is a build's folder; of a PRODUCT the newest build below out/ is taken.", runEmulate}

// emulateOptions are the flags of emulate.
type emulateOptions struct {
	arch, variant, dir, adbKey, repository string
	adbPort                                int
	forward                                []emulator.Forward
	wipe, restrict, console                bool
}

func runEmulate(ctx context.Context, e env, args []string) error {
	set := flags(e)
	var o emulateOptions
	set.StringVar(&o.arch, "arch", "", "`architecture` of the build to take: amd64 or arm64 (default: any)")
	set.StringVar(&o.variant, "variant", "", "`variant` of the build to take: user or userdebug (default: any)")
	set.StringVar(&o.dir, "dir", "", "`folder` for what the device writes (default: out/emulator/PRODUCT-ARCH)")
	set.StringVar(&o.adbKey, "adb-key", defaultADBKey(), "`file` of the private key that is authorised on the device, for the adb command that is printed")
	set.StringVar(&o.repository, "repository", "", "`address` that replaces the product's repository; userdebug only")
	set.IntVar(&o.adbPort, "adb-port", 0, "`port` of 127.0.0.1 that leads to adbd (default: a free one)")
	set.Func("forward", "`HOST:GUEST`, a TCP port of 127.0.0.1 that leads to the device's; may be repeated", o.addForward)
	set.BoolVar(&o.wipe, "wipe", false, "start with the disk as it left the factory")
	set.BoolVar(&o.restrict, "restrict", false, "the device reaches no network")
	set.BoolVar(&o.console, "console", false, "show the serial console")
	if err := parse(set, args, 1, 1); err != nil {
		return err
	}
	build, m, err := findBuild(set.Arg(0), "out", o.arch, o.variant)
	if err != nil {
		return err
	}
	if o.dir == "" {
		o.dir = filepath.Join("out", "emulator", fmt.Sprintf("%s-%s", m.Product, m.Arch))
	}
	return o.run(ctx, e, build, m)
}

// addForward reads HOST:GUEST.
func (o *emulateOptions) addForward(s string) error {
	host, guest, _ := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(host, 10, 16)
	g, err2 := strconv.ParseUint(guest, 10, 16)
	if err1 != nil || err2 != nil || g == 0 {
		return errors.New("want HOST:GUEST, two port numbers")
	}
	o.forward = append(o.forward, emulator.Forward{Host: int(h), Guest: int(g)})
	return nil
}

// run starts the device, says where it is, and waits for its end.
func (o *emulateOptions) run(ctx context.Context, e env, build string, m *image.Manifest) error {
	cfg := desk.DeviceConfig{Build: build, Dir: o.dir, ADBKey: o.adbKey, ADBHost: o.adbPort,
		Forward: o.forward, Repository: o.repository, Restrict: o.restrict}
	if o.console {
		cfg.Console = e.stdout
	}
	if o.wipe {
		if err := os.Remove(filepath.Join(o.dir, desk.OverlayName)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	story := progress.New(e.stdout)
	var d *desk.Device
	err := story.Step(ctx, fmt.Sprintf("start %s %s for %s (%s)", m.Product, m.Version, m.Arch, m.Variant), func(ctx context.Context, t *progress.Task) (err error) {
		d, err = desk.StartDevice(context.WithoutCancel(ctx), cfg)
		return err
	})
	if err != nil {
		return err
	}
	defer d.Close()
	story.Say("console: %s", d.ConsoleFile())
	if m.Variant == image.Userdebug {
		story.Say("adb:     export %s; adb connect %s", d.ADB.Environment(), d.ADB.Serial)
	}
	for _, f := range o.forward {
		story.Say("port:    127.0.0.1:%d leads to the device's port %d", d.Port(f.Guest), f.Guest)
	}
	story.Say("Ctrl-C ends it.")
	if err := d.Wait(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// defaultADBKey is the development key of the desk or of the folder of keys here,
// if there is one, else the user's.
func defaultADBKey() string {
	for _, dir := range []string{filepath.Join("out", "keys"), "keys"} {
		name := filepath.Join(dir, key.ADB+".pem")
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join("keys", key.ADB+".pem")
	}
	return filepath.Join(home, ".android", "adbkey")
}

// findBuild returns the folder of a build, which name is, or the newest build of
// the product that name is, below out.
func findBuild(name, out, arch, variant string) (dir string, m *image.Manifest, err error) {
	if m, err := image.ReadManifest(name); err == nil {
		return name, m, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", nil, err
	}
	type build struct {
		dir string
		m   *image.Manifest
	}
	var all []build
	for _, depth := range []string{"*", "*/*", "*/*/*"} {
		files, err := filepath.Glob(filepath.Join(out, depth, image.BuildFile))
		if err != nil {
			return "", nil, err
		}
		for _, f := range files {
			m, err := image.ReadManifest(filepath.Dir(f))
			if err == nil && m.Product == name && (arch == "" || string(m.Arch) == arch) && (variant == "" || m.Variant == variant) {
				all = append(all, build{filepath.Dir(f), m})
			}
		}
	}
	if len(all) == 0 {
		return "", nil, fmt.Errorf("%s: %w: neither a build's folder nor a product with a build below %s/: make one with mios build", name, mios.ErrNotFound, out)
	}
	newest := slices.MaxFunc(all, func(a, b build) int { return cmp.Compare(a.m.BuildTime, b.m.BuildTime) })
	return newest.dir, newest.m, nil
}
