package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	newRoot   = "/tmp" // covered while the new root is built
	tmpSize   = "size=64m,mode=1777"
	rootSize  = "size=1m,mode=0755"
	plain     = unix.MS_NOSUID | unix.MS_NODEV
	plainData = plain | unix.MS_NOEXEC
)

// A view is one folder or device that the program sees under its own name.
type view struct {
	path     string
	flags    uintptr
	optional bool // a desk's machine may lack it
	fd       int
}

// views lists what there is beside /proc and /tmp.
func views(s *Spec) []view {
	v := []view{
		{path: "/system", flags: plain | unix.MS_RDONLY, optional: true},
		{path: s.AppDir, flags: plain | unix.MS_RDONLY},
		{path: s.DataDir, flags: plainData},
	}
	if s.Network { // resolv.conf
		v = append(v, view{path: "/run", flags: plainData | unix.MS_RDONLY, optional: true})
	}
	for _, d := range []string{"null", "zero", "full", "random", "urandom"} {
		v = append(v, view{path: "/dev/" + d, flags: unix.MS_NOSUID | unix.MS_NOEXEC})
	}
	return v
}

// links are names that programs expect.
var links = [][2]string{
	{"/bin", "system/bin"}, {"/etc", "system/etc"}, {"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "fd/0"}, {"/dev/stdout", "fd/1"}, {"/dev/stderr", "fd/2"},
}

// mounts replaces what the process sees by a root of its own.
func mounts(s *Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	list := views(s)
	for i := range list { // before newRoot covers what is below it
		fd, err := unix.Open(list[i].path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil && !(list[i].optional && errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("open %s: %w", list[i].path, err)
		}
		list[i].fd = fd
	}
	if err := unix.Mount("tmpfs", newRoot, "tmpfs", plain, rootSize); err != nil {
		return fmt.Errorf("mount a new root: %w", err)
	}
	for _, v := range list {
		if v.fd < 0 {
			continue
		}
		if err := bind(v); err != nil {
			return fmt.Errorf("bind %s: %w", v.path, err)
		}
	}
	if err := special(); err != nil {
		return err
	}
	for _, l := range links {
		if err := os.Symlink(l[1], newRoot+l[0]); err != nil {
			return err
		}
	}
	return enter(s.DataDir)
}

// bind shows what v's descriptor is open on below the new root.
func bind(v view) error {
	var st unix.Stat_t
	if err := unix.Fstat(v.fd, &st); err != nil {
		return err
	}
	target := newRoot + v.path
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	} else {
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, nil, 0o644); err != nil {
			return err
		}
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", v.fd), target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|v.flags, ""); err != nil {
		return err
	}
	return unix.Close(v.fd)
}

// special mounts what is not the device's own: /proc of the new process
// namespace, and an empty /tmp.
func special() error {
	for _, m := range []struct {
		path, kind, data string
		flags            uintptr
	}{
		{"/proc", "proc", "", plainData},
		{"/tmp", "tmpfs", tmpSize, plainData},
	} {
		if err := os.MkdirAll(newRoot+m.path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, newRoot+m.path, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.path, err)
		}
	}
	return nil
}

// enter makes the new root the only one, read-only, and goes to dir in it.
func enter(dir string) error {
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	// The old root ends up over the new one, and is taken away from there.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|plain, ""); err != nil {
		return fmt.Errorf("make / read-only: %w", err)
	}
	return unix.Chdir(dir)
}
