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

	"mios"
	"mios/device/partition"
	"mios/format/initrc"
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

var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "rw": 0, "defaults": 0, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "sync": unix.MS_SYNCHRONOUS,
	"remount": unix.MS_REMOUNT, "bind": unix.MS_BIND, "rec": unix.MS_REC, "private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE,
	"shared": unix.MS_SHARED, "unbindable": unix.MS_UNBINDABLE, "lazytime": unix.MS_LAZYTIME, "dirsync": unix.MS_DIRSYNC,
}

// parseFlags divides mount options into flags and what the file system reads.
func parseFlags(words []string) (flags uintptr, data string) {
	var rest []string
	for _, w := range words {
		if f, ok := mountFlags[w]; ok {
			flags |= f
		} else if w != "" && w != "wait" {
			rest = append(rest, w)
		}
	}
	return flags, strings.Join(rest, ",")
}

// mount is TYPE DEVICE FOLDER [OPTION...]; the option wait waits for the
// device.
func (d *Device) mount(ctx context.Context, a []string) error {
	if slices.Contains(a[3:], "wait") {
		if err := d.wait(ctx, a[1:2]); err != nil {
			return err
		}
	}
	flags, data := parseFlags(a[3:])
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

// A mountEntry is a line of an fstab in AOSP's format (fs_mgr_fstab.cpp).
type mountEntry struct {
	source, target, fstype string
	options                []string
	manager                []string // fs_mgr flags
}

func (e mountEntry) has(flag string) bool { return slices.Contains(e.manager, flag) }

// parseFstab reads an fstab.
func parseFstab(b []byte) ([]mountEntry, error) {
	var list []mountEntry
	var words []string
	scan := initrc.NewScanner(b)
	for line := 1; ; {
		kind, text := scan.Next()
		if kind == initrc.Text {
			words = append(words, text)
			continue
		}
		if len(words) > 0 {
			if len(words) < 4 || len(words) > 5 {
				return nil, fmt.Errorf("fstab: line %d: %w: %d words, want DEVICE FOLDER TYPE OPTIONS FLAGS", line, mios.ErrInvalid, len(words))
			}
			e := mountEntry{source: words[0], target: words[1], fstype: words[2], options: strings.Split(words[3], ",")}
			if len(words) == 5 {
				e.manager = strings.Split(words[4], ",")
			}
			list = append(list, e)
		}
		if kind == initrc.End {
			return list, nil
		}
		words = words[:0]
		line++
	}
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
	entries, err := parseFstab(b)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	for _, e := range entries {
		if e.has("first_stage_mount") || e.has("recoveryonly") || early && e.has("latemount") || late && !e.has("latemount") {
			continue
		}
		if err := d.mountEntry(ctx, e); err != nil && !e.has("nofail") {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *Device) mountEntry(ctx context.Context, e mountEntry) error {
	dev := e.source
	if !strings.HasPrefix(dev, "/") {
		name := e.source
		if e.has("slotselect") {
			name += d.Props.Get("ro.boot.slot_suffix")
		}
		there := func() (ok bool) { dev, ok = d.partition(name); return ok }
		limit := time.Duration(0)
		if e.has("wait") {
			limit = deviceWait
		}
		if !there() {
			if err := until(ctx, limit, "partition "+name, there); err != nil {
				return err
			}
		}
	}
	flags, data := parseFlags(e.options)
	start := time.Now()
	if err := unix.Mount(dev, d.path(e.target), e.fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s (%s) on %s: %w: if it is not there as %s, make that file system anew: what is on it cannot be used",
			e.source, dev, e.target, err, e.fstype)
	}
	d.log.Info("mounted", "folder", e.target, "device", dev, "type", e.fstype, "took", time.Since(start).Round(time.Millisecond))
	return nil
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
	entries, err := parseFstab(b)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range slices.Backward(entries) {
		if !e.has("first_stage_mount") && mounted(e.target) {
			if err := unix.Unmount(e.target, 0); err != nil {
				errs = append(errs, fmt.Errorf("unmount %s: %w", e.target, err))
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
