package firststage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mios/device/fstab"
)

// kernelMounts is what the first stage needs of the kernel, and hands on to
// the second.
var kernelMounts = []struct {
	dir, fsType, options string
	flags                uintptr
}{
	{"/dev", "devtmpfs", "mode=0755", unix.MS_NOSUID},
	{"/proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"/sys", "sysfs", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
}

// mountKernel mounts what the kernel makes, and then has a console.
func mountKernel(*stage) error {
	for _, m := range kernelMounts {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		err := unix.Mount(m.fsType, m.dir, m.fsType, m.flags, m.options)
		if err != nil && !errors.Is(err, unix.EBUSY) { // the kernel did it
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return openConsole()
}

// openConsole makes the console standard input, output and error.
func openConsole() error {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil // a device without one
	}
	defer unix.Close(fd)
	for std := range 3 {
		if err := unix.Dup3(fd, std, 0); err != nil {
			return fmt.Errorf("console: %w", err)
		}
	}
	return nil
}

// mountOn mounts the device as the entry says, read-only, below root.
func mountOn(dev, root string, m fstab.Entry) error {
	flags, data := m.MountOptions()
	if err := unix.Mount(dev, filepath.Join(root, m.MountPoint), m.Type, flags|unix.MS_RDONLY, data); err != nil {
		return fmt.Errorf("mount %s on %s as %s: %w: the partition is damaged or of another type", dev, m.MountPoint, m.Type, err)
	}
	return nil
}

// switchRoot makes the mounted system the root, with /dev, /proc and /sys, and
// frees the ramdisk's memory.
func (s *stage) switchRoot() error {
	for _, m := range kernelMounts {
		if err := unix.Mount(m.dir, newRoot+m.dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w: the system partition needs that folder", m.dir, err)
		}
	}
	readAhead(newRoot + secondary)
	old, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"chdir", func() error { return unix.Chdir(newRoot) }},
		{"move the root", func() error { return unix.Mount(".", "/", "", unix.MS_MOVE, "") }},
		{"chroot", func() error { return unix.Chroot(".") }},
		{"chdir", func() error { return unix.Chdir("/") }},
		{"free the ramdisk", func() error { return freeRamdisk(old) }},
	} {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// readAheadStep is what the kernel reads ahead at most for one call, or less.
const readAheadStep = 512 << 10

// readAhead has the kernel begin to read a file that is about to be executed.
// Page by page, as they are touched, each piece would be waited for.
func readAhead(name string) {
	f, err := os.Open(name)
	if err != nil {
		return // executing it will say so
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return
	}
	for off := int64(0); off < fi.Size(); off += readAheadStep {
		if unix.Fadvise(int(f.Fd()), off, readAheadStep, unix.FADV_WILLNEED) != nil {
			return // slower, and no more than that
		}
	}
}

// Magic numbers of the file systems that a ramdisk can be.
const (
	ramfsMagic = 0x858458f6
	tmpfsMagic = 0x01021994
)

// freeRamdisk deletes what is in the folder, if it is a ramdisk's.
func freeRamdisk(root int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(root, &fs); err != nil {
		return err
	}
	if t := uint32(fs.Type); t != ramfsMagic && t != tmpfsMagic {
		return nil // a disk: its files stay
	}
	var st unix.Stat_t
	if err := unix.Fstat(root, &st); err != nil {
		return err
	}
	return empty(root, uint64(st.Dev))
}

// empty deletes all that is in the folder and on the file system dev.
func empty(dir int, dev uint64) error {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) // with a position of its own
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "ramdisk")
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || uint64(st.Dev) != dev {
			continue
		}
		flags := 0
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			flags = unix.AT_REMOVEDIR
			sub, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			err = empty(sub, dev)
			unix.Close(sub)
			if err != nil {
				return err
			}
		}
		_ = unix.Unlinkat(dir, name, flags) // what is busy only costs memory
	}
	return nil
}
