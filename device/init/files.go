package initd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mios"
	"mios/device/kmod"
	"mios/internal/atomicfile"
)

// path returns where a path of the device is.
func (d *Device) path(p string) string {
	if d.Root == "" {
		return p
	}
	return filepath.Join(d.Root, p)
}

func parseMode(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o7777 {
		return 0, fmt.Errorf("mode %q: %w: use an octal number", s, mios.ErrInvalid)
	}
	return uint32(n), nil
}

func (d *Device) chmod(_ context.Context, a []string) error {
	mode, err := parseMode(a[0])
	if err != nil {
		return err
	}
	return unix.Fchmodat(unix.AT_FDCWD, d.path(a[1]), mode, 0)
}

// chown is OWNER [GROUP] PATH.
func (d *Device) chown(_ context.Context, a []string) error {
	uid, err := LookupID(a[0])
	if err != nil {
		return err
	}
	gid := -1
	if len(a) == 3 {
		g, err := LookupID(a[1])
		if err != nil {
			return err
		}
		gid = int(g)
	}
	return os.Lchown(d.path(a[len(a)-1]), int(uid), gid)
}

// mkdir is PATH [MODE [OWNER [GROUP]]] and words of file encryption, which
// are ignored. A folder that is there gets mode and owner, if they are named.
func (d *Device) mkdir(ctx context.Context, a []string) error {
	path := d.path(a[0])
	var words []string
	for _, w := range a[1:] {
		if !strings.Contains(w, "=") {
			words = append(words, w)
		}
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if len(words) > 1 {
		owner := append(append([]string{}, words[1:]...), a[0])
		if err := d.chown(ctx, owner); err != nil {
			return err
		}
	}
	if len(words) > 0 {
		return d.chmod(ctx, []string{words[0], a[0]})
	}
	return nil
}

// rm removes a file or an empty folder.
func (d *Device) rm(_ context.Context, a []string) error { return os.Remove(d.path(a[0])) }

// symlink is TARGET PATH; a link that is there and points there already is
// no error.
func (d *Device) symlink(_ context.Context, a []string) error {
	err := os.Symlink(a[0], d.path(a[1]))
	if errors.Is(err, fs.ErrExist) {
		if have, readErr := os.Readlink(d.path(a[1])); readErr == nil && have == a[0] {
			return nil
		}
	}
	return err
}

// write is PATH TEXT: it makes or replaces a file's contents, also where the
// file stands for a setting of the kernel's.
func (d *Device) write(_ context.Context, a []string) error {
	f, err := os.OpenFile(d.path(a[0]), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(a[1])
	return errors.Join(err, f.Close())
}

// copy is FROM TO.
func (d *Device) copy(_ context.Context, a []string) error {
	f, err := os.Open(d.path(a[0]))
	if err != nil {
		return err
	}
	defer f.Close()
	return atomicfile.Write(d.path(a[1]), f, 0o644)
}

func (d *Device) hostname(_ context.Context, a []string) error {
	if d.Root != "" {
		return os.WriteFile(d.path("/proc/sys/kernel/hostname"), []byte(a[0]), 0o644)
	}
	return unix.Sethostname([]byte(a[0]))
}

// ifup brings a network interface up.
func (d *Device) ifup(_ context.Context, a []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(a[0])
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("ifup %s: %w", a[0], err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("ifup %s: %w", a[0], err)
	}
	return nil
}

// insmod is [-f] PATH [PARAMETER...]. A path that ends in modules.load names a
// list: see [kmod.LoadAll].
func (d *Device) insmod(_ context.Context, a []string) error {
	if a[0] == "-f" && len(a) > 1 {
		a = a[1:]
	}
	path := d.path(a[0])
	if filepath.Base(path) == kmod.ListName {
		return kmod.LoadAll(filepath.Dir(path))
	}
	return kmod.Load(path, strings.Join(a[1:], " "))
}
