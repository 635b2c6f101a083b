package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"mios"
	"mios/build/image"
	"mios/emulator"
	"mios/format/gpt"
)

// ADBPort is where adbd listens on a device.
const ADBPort = 5555

// A DeviceConfig says which device to start.
type DeviceConfig struct {
	Build string // folder of the build
	// Dir keeps what the device has written, its console and QEMU's sockets.
	Dir        string
	Repository string // address that replaces the product's; userdebug only
	ADBKey     string // file of the private key that adb shows
	ADBHost    int    // host port for adb, 0 for a free one
	Forward    []emulator.Forward
	Cmdline    string // added to the ROM's command line
	Clock      time.Time
	Restrict   bool
	Console    io.Writer
	Capture    string // file for all packets of the device, in the pcap format
}

// A Device is an emulated device of a build, with its adb.
type Device struct {
	*emulator.Machine
	Disk *emulator.Disk
	ADB  *ADB

	cfg      DeviceConfig
	manifest *image.Manifest
}

// DiskName is the factory-new disk in a build's folder, made when it is needed.
const DiskName = "disk.img"

// OverlayName is what the device has written over it, in DeviceConfig.Dir.
const OverlayName = "disk.overlay"

// StartDevice boots a build. The device goes on with the disk in cfg.Dir, or
// is new from the factory if there is none.
func StartDevice(ctx context.Context, cfg DeviceConfig) (*Device, error) {
	m, err := image.ReadManifest(cfg.Build)
	if err != nil {
		return nil, err
	}
	if _, err := emulator.Look(string(m.Arch)); err != nil {
		return nil, err
	}
	base := filepath.Join(cfg.Build, DiskName)
	if _, err := os.Stat(base); errors.Is(err, os.ErrNotExist) {
		if err := writable(cfg.Build); err != nil {
			return nil, err
		}
		if err := image.WriteDisk(ctx, cfg.Build, base); err != nil {
			return nil, err
		}
	}
	if err := writable(cfg.Dir); err != nil {
		return nil, err
	}
	disk, err := emulator.OpenDisk(base, filepath.Join(cfg.Dir, OverlayName))
	if err != nil {
		return nil, err
	}
	d := &Device{Disk: disk, cfg: cfg, manifest: m}
	if err := d.Start(ctx); err != nil {
		disk.Close()
		return nil, err
	}
	return d, nil
}

// Manifest returns the manifest of the build that the device left the factory
// with.
func (d *Device) Manifest() *image.Manifest { return d.manifest }

// Start starts a device that has been stopped or whose power was cut.
func (d *Device) Start(ctx context.Context) error {
	cmdline, err := os.ReadFile(filepath.Join(d.cfg.Build, image.ROMCmdline))
	if err != nil {
		return err
	}
	words := []string{string(bytes.TrimSpace(cmdline))}
	if d.cfg.Repository != "" {
		words = append(words, "androidboot.mios.repository="+d.cfg.Repository)
	}
	words = append(words, d.cfg.Cmdline)
	d.Machine, err = emulator.Start(ctx, emulator.Config{
		Arch:     string(d.manifest.Arch),
		Kernel:   filepath.Join(d.cfg.Build, image.ROMKernel),
		Initrd:   filepath.Join(d.cfg.Build, image.ROMRamdisk),
		Cmdline:  strings.TrimSpace(strings.Join(words, " ")),
		Disk:     d.Disk,
		Forward:  append([]emulator.Forward{{Host: d.cfg.ADBHost, Guest: ADBPort}}, d.cfg.Forward...),
		Restrict: d.cfg.Restrict,
		Clock:    d.cfg.Clock,
		Dir:      d.cfg.Dir,
		Console:  d.cfg.Console,
		Capture:  d.cfg.Capture,
	})
	if err != nil {
		return err
	}
	if d.ADB != nil {
		d.ADB.Close()
	}
	d.ADB, err = NewADB(fmt.Sprintf("127.0.0.1:%d", d.Port(ADBPort)), d.cfg.ADBKey, d.cfg.Dir)
	if err != nil {
		d.Machine.Stop()
	}
	return err
}

// Close ends the device; its disk stays.
func (d *Device) Close() error {
	if d.ADB != nil {
		d.ADB.Close()
	}
	return errors.Join(d.Machine.Stop(), d.Disk.Close())
}

// health matches the whole line: a wait sees it grow.
const health = `mios: (healthy|health check failed).*after [0-9.]+ s\)`

// Healthy waits until the device says on its console that its boot is good,
// and returns that line. A boot that is not good is an error.
func (d *Device) Healthy(ctx context.Context) (string, error) {
	line, err := d.WaitFor(ctx, regexp.MustCompile(health))
	if err != nil {
		return "", err
	}
	if !strings.Contains(line, "mios: healthy") {
		return "", errors.New(line)
	}
	return line, nil
}

// Partition returns where a GPT partition begins on the device's disk and how
// large it is, in bytes.
func (d *Device) Partition(name string) (off, size int64, err error) {
	t, _, err := gpt.Read(d.Disk, d.Disk.Size())
	if err != nil {
		return 0, 0, err
	}
	p, ok := t.Find(name)
	if !ok {
		return 0, 0, fmt.Errorf("partition %q: %w", name, mios.ErrNotFound)
	}
	return p.Offset(), p.Size(), nil
}
