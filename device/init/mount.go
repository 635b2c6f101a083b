package initd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mios/device/fstab"
	"mios/device/partition"
	"mios/format/ext4"
)

// baseMounts are what must be there before anything else.
var baseMounts = []struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}{
	{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"cgroup2", cgroupDir, "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "nsdelegate"},
}

// mountBase mounts what the first stage has not.
func mountBase() error {
	var errs []error
	for i, m := range baseMounts {
		if i > 0 && mounted(m.target) {
			continue
		}
		os.Mkdir(m.target, 0o755) // where it cannot be made it is there, or mount says so
		err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data)
		if err != nil && !errors.Is(err, unix.EBUSY) {
			errs = append(errs, fmt.Errorf("mount %s: %w", m.target, err))
		}
	}
	return errors.Join(errs...)
}

// mounted tells whether something is mounted on the folder.
func mounted(target string) bool {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if w := strings.Fields(lines.Text()); len(w) > 4 && w[4] == target {
			return true
		}
	}
	return false
}

// mount is TYPE DEVICE FOLDER [OPTION...]; the option wait waits for the
// device.
func (d *Device) mount(ctx context.Context, a []string) error {
	if slices.Contains(a[3:], "wait") {
		if err := d.wait(ctx, a[1:2]); err != nil {
			return err
		}
	}
	flags, data := fstab.MountFlags(slices.DeleteFunc(slices.Clone(a[3:]), func(w string) bool { return w == "wait" }))
	if err := unix.Mount(a[1], d.path(a[2]), a[0], flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", a[1], a[2], err)
	}
	return nil
}

func (d *Device) umount(_ context.Context, a []string) error {
	if err := unix.Unmount(d.path(a[0]), 0); err != nil {
		return fmt.Errorf("unmount %s: %w", a[0], err)
	}
	return nil
}

// deviceWait is how long mount_all waits for a device that has the flag wait.
const deviceWait = 20 * time.Second

// mountAll mounts the entries of an fstab that the first stage did not:
// [PATH] [--early|--late].
func (d *Device) mountAll(ctx context.Context, a []string) error {
	path, late, early := "/system/etc/fstab.mios", false, false
	for _, w := range a {
		switch w {
		case "--late":
			late = true
		case "--early":
			early = true
		default:
			path = w
		}
	}
	b, err := os.ReadFile(d.path(path))
	if err != nil {
		return err
	}
	entries, err := fstab.Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	for _, e := range entries {
		if e.FirstStageMount || e.Has("recoveryonly") || early && e.Has("latemount") || late && !e.Has("latemount") {
			continue
		}
		if err := d.mountEntry(ctx, e); err != nil && !e.Has("nofail") {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *Device) mountEntry(ctx context.Context, e fstab.Entry) error {
	dev := e.Source
	if !strings.HasPrefix(dev, "/") {
		name := e.Partition(d.Props.Get("ro.boot.slot_suffix"))
		there := func() (ok bool) { dev, ok = d.partition(name); return ok }
		limit := time.Duration(0)
		if e.Has("wait") {
			limit = deviceWait
		}
		if !there() {
			if err := until(ctx, limit, "partition "+name, there); err != nil {
				return err
			}
		}
	}
	flags, data := e.MountOptions()
	start := time.Now()
	err := unix.Mount(dev, d.path(e.MountPoint), e.Type, flags, data)
	if errors.Is(err, unix.EBADMSG) && e.Type == "ext4" && flags&unix.MS_RDONLY == 0 {
		if err = mend(dev); err == nil {
			d.log.Warn("a power cut had torn the superblock, which is mended", "device", dev)
			err = unix.Mount(dev, d.path(e.MountPoint), e.Type, flags, data)
		}
	}
	if err != nil {
		return fmt.Errorf("mount %s (%s) on %s: %w: if it is not there as %s, make that file system anew: what is on it cannot be used",
			e.Source, dev, e.MountPoint, err, e.Type)
	}
	d.log.Info("mounted", "folder", e.MountPoint, "device", dev, "type", e.Type, "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// mend repairs a superblock that a power cut has torn.
func mend(dev string) error {
	f, err := os.OpenFile(dev, os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		return err
	}
	return errors.Join(ext4.MendTorn(f), f.Sync(), f.Close())
}

// umountAll unmounts what mountAll mounted.
func (d *Device) umountAll(_ context.Context, a []string) error {
	path := "/system/etc/fstab.mios"
	if len(a) > 0 {
		path = a[0]
	}
	b, err := os.ReadFile(d.path(path))
	if err != nil {
		return err
	}
	entries, err := fstab.Parse(b)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range slices.Backward(entries) {
		if !e.FirstStageMount && mounted(e.MountPoint) {
			if err := unix.Unmount(e.MountPoint, 0); err != nil {
				errs = append(errs, fmt.Errorf("unmount %s: %w", e.MountPoint, err))
			}
		}
	}
	return errors.Join(errs...)
}

// partition returns the node of the GPT partition with the name.
func (d *Device) partition(name string) (string, bool) {
	dev, ok := d.partitions()[name]
	return dev, ok
}

// partitions returns the nodes of all GPT partitions by name.
func (d *Device) partitions() partition.Nodes {
	list, err := partition.Scan(d.path(partition.Sys), "/dev")
	if err != nil {
		d.log.Error("partitions", "err", err)
	}
	return list
}

// linkPartitions makes /dev/block/by-name, AOSP's names of partitions.
func (d *Device) linkPartitions() error {
	dir := d.path("/dev/block/by-name")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for name, dev := range d.partitions() {
		if strings.Contains(name, "/") {
			continue // whoever wrote that table meant no link
		}
		link := filepath.Join(dir, name)
		os.Remove(link)
		errs = append(errs, os.Symlink(dev, link))
	}
	return errors.Join(errs...)
}
