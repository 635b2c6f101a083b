package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountFlags are the options that are no data for the file system.
var mountFlags = map[string]uintptr{"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC, "noatime": unix.MS_NOATIME,
	"remount": unix.MS_REMOUNT, "bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC, "sync": unix.MS_SYNCHRONOUS, "move": unix.MS_MOVE, "rw": 0, "defaults": 0}

func mount(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "t:o:rw")
	if err != nil {
		return err
	}
	if len(args) == 0 {
		mounts, err := mountTable()
		for _, m := range mounts {
			fmt.Fprintf(e.Stdout, "%s on %s type %s (%s)\n", m.device, m.dir, m.kind, m.options)
		}
		return err
	}
	if len(rest) == 1 && strings.Contains(o['o'], "remount") {
		rest = []string{"none", rest[0]}
	}
	if len(rest) != 2 {
		return usageError("")
	}
	var flags uintptr
	var data []string
	for opt := range strings.SplitSeq(o['o'], ",") {
		if f, ok := mountFlags[opt]; ok {
			flags |= f
		} else if opt != "" {
			data = append(data, opt)
		}
	}
	if o.has('r') {
		flags |= unix.MS_RDONLY
	}
	dir := e.Path(rest[1])
	kinds := []string{o['t']}
	if !o.has('t') && flags&(unix.MS_BIND|unix.MS_REMOUNT|unix.MS_MOVE) == 0 {
		kinds = []string{"ext4", "erofs", "vfat"}
	}
	for _, kind := range kinds {
		err = unix.Mount(rest[0], dir, kind, flags, strings.Join(data, ","))
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENODEV) {
			break
		}
	}
	return pathError("mount "+rest[0]+" on", rest[1], err)
}

// A mountEntry is a line of /proc/self/mounts.
type mountEntry struct{ device, dir, kind, options string }

func mountTable() ([]mountEntry, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var list []mountEntry
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 4 {
			list = append(list, mountEntry{unescape.Replace(f[0]), unescape.Replace(f[1]), f[2], f[3]})
		}
	}
	return list, nil
}

func umount(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "lf")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usageError("")
	}
	flags := 0
	if o.has('l') {
		flags |= unix.MNT_DETACH
	}
	if o.has('f') {
		flags |= unix.MNT_FORCE
	}
	return each(e, "umount", names, func(name string) error {
		return pathError("umount", name, unix.Unmount(e.Path(name), flags))
	})
}

func df(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "hkaP")
	if err != nil {
		return err
	}
	mounts, err := mountTable()
	if err != nil {
		return err
	}
	w := bufio.NewWriter(e.Stdout)
	defer w.Flush()
	show := func(kib uint64) string {
		if o.has('h') {
			return human(kib << 10)
		}
		return strconv.FormatUint(kib, 10)
	}
	unit := "1K-blocks"
	if o.has('h') {
		unit = "Size"
	}
	fmt.Fprintf(w, "%-20s %12s %12s %12s %4s %s\n", "Filesystem", unit, "Used", "Available", "Use%", "Mounted on")
	line := func(m mountEntry, path string) error {
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil {
			return pathError("statfs", path, err)
		}
		if st.Blocks == 0 && len(names) == 0 && !o.has('a') {
			return nil
		}
		size := uint64(st.Frsize)
		kib := func(blocks uint64) uint64 { return blocks * size / 1024 }
		used, percent := st.Blocks-st.Bfree, uint64(0)
		if total := used + st.Bavail; total > 0 {
			percent = (used*100 + total - 1) / total
		}
		_, err := fmt.Fprintf(w, "%-20s %12s %12s %12s %3d%% %s\n", m.device, show(kib(st.Blocks)), show(kib(used)), show(kib(st.Bavail)), percent, m.dir)
		return err
	}
	if len(names) == 0 {
		for _, m := range mounts {
			line(m, m.dir) // one that cannot be asked is left out
		}
		return nil
	}
	return each(e, "df", names, func(name string) error { return line(mountOf(mounts, e.Path(name)), e.Path(name)) })
}

// mountOf returns the mount that a path is on: the last one of the longest
// folder that contains it.
func mountOf(mounts []mountEntry, path string) mountEntry {
	best := mountEntry{device: "-", dir: "-"}
	for _, m := range mounts {
		if (path == m.dir || strings.HasPrefix(path, strings.TrimRight(m.dir, "/")+"/")) && (len(m.dir) >= len(best.dir) || best.device == "-") {
			best = m
		}
	}
	return best
}
