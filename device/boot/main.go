package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// KeyFile is where the ROM's initramfs holds the AVB public key. An initramfs
// without it is not the loader's.
const KeyFile = "/avb_pkmd.bin"

const (
	modulesDir = "/lib/modules"
	// diskTimeout is how long the disk may take to appear after the modules
	// are loaded; diskPoll is how often it is looked for.
	diskTimeout = 10 * time.Second
	diskPoll    = 5 * time.Millisecond
)

// A Machine is what [Main] needs beside files. All fields must be set.
type Machine struct {
	// Modules loads the kernel modules that the list in a folder names.
	Modules func(dir string) error
	// Load makes a kernel ready, Exec starts it and returns only on an error.
	Load func(kernel, ramdisk []byte, cmdline string) error
	Exec func() error
}

// Main is the loader as PID 1 of the ROM's initramfs. It does not return: if
// nothing can be booted it says so and stays, or powers off if the kernel's
// command line has mios.on_no_slot=poweroff.
func Main(m Machine) {
	debug.SetGCPercent(-1) // it allocates one boot image, and ends
	mountErr := mountAll()
	hugePages()
	c := openConsole()
	cmdline, err := os.ReadFile("/proc/cmdline")
	err = errors.Join(mountErr, err)
	if err == nil {
		err = m.run(string(cmdline), c)
	}
	c.log(err.Error())
	if value(string(cmdline), "mios.on_no_slot") == "poweroff" {
		c.log("powering off")
		unix.Sync()
		err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		c.log(fmt.Sprintf("power off: %v", err))
	}
	c.log("staying here; switch the device off to try again")
	for {
		unix.Pause()
	}
}

// run returns only if nothing could be booted.
func (m Machine) run(cmdline string, c *console) error {
	times := NewTimes(sinceBoot)
	key, err := os.ReadFile(KeyFile)
	if err != nil {
		return err
	}
	if err := m.Modules(modulesDir); err != nil {
		c.log(err.Error()) // the disk may be there nevertheless
	}
	times.Mark("modules")
	disk, err := waitDisk("/sys/class/block", "/dev", diskTimeout, c.log)
	if err != nil {
		return err
	}
	times.Mark("disk")
	l := &Loader{Disk: disk, Key: key, Cmdline: cmdline, Log: c.log, Load: m.Load, Now: time.Now, Times: times}
	if err := l.Boot(); err != nil {
		return err
	}
	return m.Exec()
}

func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// mountAll mounts what the loader and kexec read.
func mountAll() error {
	for _, m := range []struct{ fs, dir string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		err := unix.Mount(m.fs, m.dir, m.fs, unix.MS_NOSUID|unix.MS_NOEXEC, "")
		if err != nil && !errors.Is(err, unix.EBUSY) { // the kernel may have mounted /dev itself
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return nil
}

// hugePages has the kernel give memory in large pages where it can: a boot image
// touches thousands of small ones, and a processor stops for each. Without them
// the loader is slower, and no more than that.
func hugePages() {
	os.WriteFile("/sys/kernel/mm/transparent_hugepage/enabled", []byte("always"), 0)
}

// waitDisk waits for a block device that sys lists, and that has a partition
// table with misc in it.
func waitDisk(sys, dev string, timeout time.Duration, log func(string)) (Disk, error) {
	seen := map[string]error{}
	for end := time.Now().Add(timeout); ; time.Sleep(diskPoll) {
		names, err := os.ReadDir(sys)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			name := n.Name()
			if _, ok := seen[name]; ok || isPartition(filepath.Join(sys, name)) {
				continue
			}
			d, err := probe(filepath.Join(dev, name), log)
			if errors.Is(err, os.ErrNotExist) {
				continue // its node comes a moment later
			}
			if err == nil {
				return d, nil
			}
			seen[name] = err
		}
		if time.Now().After(end) {
			return nil, noDisk(timeout, seen)
		}
	}
}

func isPartition(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "partition"))
	return err == nil
}

// probe opens a disk if it is the device's.
func probe(path string, log func(string)) (Disk, error) {
	f, err := openBlockDevice(path)
	if err != nil {
		return nil, err
	}
	d, err := openFile(f, log)
	if err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

func openFile(f *blockDevice, log func(string)) (Disk, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	d, note, err := OpenDisk(f, size)
	if err != nil {
		return nil, err
	}
	if note != nil {
		log(note.Error())
	}
	_, err = d.Partition("misc")
	return d, err
}

func noDisk(timeout time.Duration, seen map[string]error) error {
	var lines []string
	for name, err := range seen {
		lines = append(lines, fmt.Sprintf("%s: %v", name, err))
	}
	slices.Sort(lines)
	if len(lines) == 0 {
		lines = []string{"there is no disk at all"}
	}
	return fmt.Errorf("no disk with a partition misc within %v (%s): attach the device's disk, or write its image anew", timeout, strings.Join(lines, "; "))
}

// console is where a person reads what the loader says: /dev/console, and the
// kernel's log.
type console struct{ tty, kmsg io.Writer }

func openConsole() *console {
	c := &console{io.Discard, io.Discard}
	if f, err := os.OpenFile("/dev/console", os.O_WRONLY|unix.O_NOCTTY, 0); err == nil {
		c.tty = f
	}
	if f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		c.kmsg = f
	}
	return c
}

// log says a line. In the kernel's log it is of the level "info", so that a
// quiet console shows it once.
func (c *console) log(line string) {
	for l := range strings.Lines(line) {
		l = strings.TrimSpace(l)
		fmt.Fprintf(c.tty, "loader: %s\n", l)
		fmt.Fprintf(c.kmsg, "<6>loader: %s\n", l)
	}
}
