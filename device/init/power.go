package initd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"mios/device/bootrecord"
	"mios/device/property"
	"mios/format/bootctl"
	"mios/format/initrc"
)

// patience is how long services have to end before they are killed,
// actionPatience how long the shutdown actions may take, and lastPatience how
// long all of it: storage that is dying may never finish a sync.
const (
	patience       = 3 * time.Second
	actionPatience = 2 * time.Second
	lastPatience   = time.Minute
)

// A powerOrder is what sys.powerctl asks for.
type powerOrder struct {
	off    bool   // power off, else reboot
	target string // what to reboot into, or why
}

// parsePower reads a value of sys.powerctl: reboot[,TARGET] or
// shutdown[,REASON].
func parsePower(value string) (powerOrder, error) {
	verb, arg, _ := strings.Cut(value, ",")
	switch verb {
	case "reboot":
		return powerOrder{target: arg}, nil
	case "shutdown":
		return powerOrder{off: true, target: arg}, nil
	}
	return powerOrder{}, fmt.Errorf("%s %q: use reboot[,TARGET] or shutdown", property.PowerControl, value)
}

// powerControl does what a value of sys.powerctl says.
func (d *Device) powerControl(value string) {
	order, err := parsePower(value)
	if err != nil {
		d.log.Error("power control", "err", err)
		return
	}
	d.power.Do(func() { d.goDown(order, value) })
}

// goDown takes the device down: no new work, the shutdown actions, services,
// file systems, machine.
func (d *Device) goDown(order powerOrder, value string) {
	start := time.Now()
	d.log.Info("going down", "why", value)
	cmd := unix.LINUX_REBOOT_CMD_RESTART
	switch {
	case order.off:
		cmd = unix.LINUX_REBOOT_CMD_POWER_OFF
	case order.target != "":
		cmd = unix.LINUX_REBOOT_CMD_RESTART2
	}
	hangs := time.AfterFunc(d.lastPatience, func() { d.reboot(cmd, order.target) })
	defer hangs.Stop()
	if strings.HasPrefix(d.Props.Get("ro.persistent_properties.ready"), "t") {
		if err := d.Props.Set("persist.sys.boot.reason", property.Clip(value)); err != nil {
			d.log.Warn("keep the reason", "err", err)
		}
	}
	if err := d.tellLoader(order); err != nil {
		d.log.Error("tell the loader", "target", order.target, "err", err)
	}
	d.cancel()
	select {
	case <-d.idle:
	case <-time.After(actionPatience):
	}
	d.queue.drop()
	d.queue.trigger("shutdown")
	ctx, cancel := context.WithTimeout(context.Background(), actionPatience)
	d.queue.loop(ctx, false)
	cancel()
	d.services.shutdown(patience)
	d.log.Info("services have ended", "took", time.Since(start).Round(time.Millisecond))
	if d.Root == "" {
		unmountData()
	}
	d.reboot(cmd, order.target)
}

// unmountData kills what is left but init, writes everything out and unmounts
// /data.
func unmountData() {
	syscall.Kill(-1, syscall.SIGKILL)
	unix.Sync()
	if mounted("/data") {
		// Those just killed may hold files for a moment yet.
		err := until(context.Background(), time.Second, "unmount /data", func() bool { return unix.Unmount("/data", 0) == nil })
		if err != nil {
			unix.Mount("", "/data", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	}
	unix.Sync()
}

// rebootMachine is reboot(2).
func rebootMachine(cmd int, target string) {
	if cmd == unix.LINUX_REBOOT_CMD_RESTART2 {
		arg, err := unix.BytePtrFromString(target)
		if err == nil {
			unix.Syscall6(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, uintptr(cmd), uintptr(unsafe.Pointer(arg)), 0, 0)
		}
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	unix.Reboot(cmd)
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // where a machine cannot be powered off
}

// loaderCommands are the targets of a reboot that the loader acts upon, with
// the command of AOSP's bootloader message.
var loaderCommands = map[string]string{
	"bootloader": "bootonce-bootloader", "fastboot": "boot-fastboot", "recovery": "boot-recovery",
}

// tellLoader leaves a message in misc where the target is the loader's.
func (d *Device) tellLoader(order powerOrder) error {
	target, _, _ := strings.Cut(order.target, ",")
	command, ok := loaderCommands[target]
	if !ok || order.off {
		return nil
	}
	misc, err := d.misc()
	if err != nil {
		return err
	}
	defer misc.Close()
	b, err := (&bootctl.Message{Command: command}).Bytes()
	if err != nil {
		return err
	}
	if _, err := misc.WriteAt(b, bootctl.MessageOffset); err != nil {
		return err
	}
	return misc.Sync()
}

// misc opens the partition misc.
func (d *Device) misc() (*os.File, error) {
	dev, ok := d.partition("misc")
	if !ok {
		return nil, errors.New("there is no partition misc")
	}
	if d.Root != "" {
		dev = filepath.Join(d.Root, dev)
	}
	return os.OpenFile(dev, os.O_RDWR, 0)
}

// serviceFailed gives up: with power it does what the service's
// reboot_on_failure says; else the service is critical, and the slot is at
// fault unless it has proved itself.
func (d *Device) serviceFailed(s *initrc.Service, reason, power string) {
	if power == "" {
		reason = fmt.Sprintf("critical %s, for the fourth time", reason)
		if err := d.failSlot(reason); err != nil {
			d.log.Error("mark the slot", "err", err)
		}
		power = "reboot," + s.Name
	}
	d.log.Error("rebooting", "because", reason)
	if err := d.Props.Set(property.PowerControl, property.Clip(power)); err != nil {
		d.log.Error("power control", "err", err)
		d.powerControl("reboot")
	}
}

// failSlot leaves the reason in the boot record, and takes the slot that runs
// out of the loader's choice, unless it is marked successful: of such a slot
// the loader counts the boots. One that keeps failing after it was found
// healthy is given up too, if there is another one.
func (d *Device) failSlot(reason string) error {
	suffix := d.Props.Get("ro.boot.slot_suffix")
	if suffix == "" {
		return errors.New("the kernel's command line names no slot")
	}
	misc, err := d.misc()
	if err != nil {
		return err
	}
	defer misc.Close()
	b := make([]byte, bootctl.ControlSize)
	if _, err := io.ReadFull(io.NewSectionReader(misc, bootctl.ControlOffset, bootctl.ControlSize), b); err != nil {
		return err
	}
	c, err := bootctl.ParseControl(b)
	if err != nil {
		return err
	}
	i, err := c.Index(suffix)
	if err != nil {
		return err
	}
	if err := bootrecord.Add(misc, bootrecord.Refusal{Slot: suffix, Reason: reason, Time: time.Now()}); err != nil {
		return err
	}
	if c.Slots[i].Successful {
		rec, err := bootrecord.Read(misc)
		if err != nil {
			return err
		}
		other := *c
		other.Slots = slices.Clone(c.Slots)
		other.MarkUnbootable(i)
		_, hasOther := other.Choose()
		if _, again := rec.Repeated(suffix); !again || !hasOther {
			return nil
		}
	}
	c.MarkUnbootable(i)
	if b, err = c.Bytes(); err != nil {
		return err
	}
	if _, err := misc.WriteAt(b, bootctl.ControlOffset); err != nil {
		return err
	}
	return misc.Sync()
}
