//go:build linux

// Package lockdown lets a process give up, for good, what it does not need to
// compute: files, network, other processes, privileges, memory and time without
// bound. What it has open it keeps.
//
// It is for a process that parses what strangers made and then ends.
package lockdown

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits are what a process may use from now on.
type Limits struct {
	Memory int64         // bytes beyond what it has mapped now; 0: any
	CPU    time.Duration // all threads together, rounded up to seconds; 0: any
	Files  int           // descriptors below this number stay open, others are closed; at least 3
}

// A Layer is one of the walls around the process.
type Layer string

// The layers.
const (
	Rlimits  Layer = "rlimits"  // memory, time, no file written, no core
	User     Layer = "user"     // not root: nobody's uid, no group, no capability
	Landlock Layer = "landlock" // no file by its name, no TCP port
	Seccomp  Layer = "seccomp"  // only system calls that computing needs
)

// nobody is the uid and gid that have nothing.
const nobody = 65534

// spareFiles is how many descriptors the Go runtime may open for itself.
const spareFiles = 16

// Enter puts all threads of the process behind all layers that the kernel has,
// and says behind which. The error is of a layer that the kernel has and that
// does not hold; the process should end then.
//
// Landlock needs Linux 5.13, and a program without cgo: it holds for one thread,
// and only without cgo are all threads known. Where it is missing Seccomp lets
// nothing be opened either.
func Enter(l Limits) ([]Layer, error) {
	if err := closeFiles(max(l.Files, 3)); err != nil {
		return nil, fmt.Errorf("close descriptors: %w", err)
	}
	var holds []Layer
	for _, layer := range []struct {
		name  Layer
		enter func(Limits) (bool, error)
	}{
		{Rlimits, setLimits}, {User, dropUser}, {Landlock, landlock}, {Seccomp, seccomp},
	} {
		ok, err := layer.enter(l)
		if err != nil {
			return holds, fmt.Errorf("%s: %w", layer.name, err)
		}
		if ok {
			holds = append(holds, layer.name)
		}
	}
	return holds, nil
}

// closeFiles closes the descriptors from first on that came with the process:
// those that exec passed on. What the Go runtime has opened since then, exec
// would close.
func closeFiles(first int) error {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range list {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < first {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

// setLimits bounds what the process uses. The collector starts to work hard
// before the kernel refuses memory.
func setLimits(l Limits) (bool, error) {
	limits := map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_MEMLOCK: 0,
		unix.RLIMIT_NOFILE: uint64(max(l.Files, 3) + spareFiles),
	}
	if l.Memory > 0 {
		mapped, err := mappedBytes()
		if err != nil {
			return false, err
		}
		debug.SetMemoryLimit(l.Memory / 4 * 3)
		limits[unix.RLIMIT_AS] = mapped + uint64(l.Memory)
	}
	if l.CPU > 0 {
		limits[unix.RLIMIT_CPU] = uint64((l.CPU + time.Second - 1) / time.Second)
	}
	for what, n := range limits {
		var old syscall.Rlimit
		if err := syscall.Getrlimit(what, &old); err != nil {
			return false, err
		}
		n = min(n, old.Max)
		if err := syscall.Setrlimit(what, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return false, fmt.Errorf("limit %d: %w", what, err)
		}
	}
	return true, nil
}

// mappedBytes is how much address space the process has, of which the Go
// runtime reserves far more than it uses.
func mappedBytes() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var pages uint64
	if _, err := fmt.Sscan(strings.Fields(string(b) + " -")[0], &pages); err != nil {
		return 0, fmt.Errorf("/proc/self/statm: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil
}

// dropUser makes of root, and with it of all capabilities, nobody. Where nobody
// has no number, in a user namespace of one user, it stays: that root is none.
func dropUser(Limits) (bool, error) {
	if os.Geteuid() != 0 && os.Getuid() != 0 {
		return true, unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	err := syscall.Setgroups(nil)
	if err == nil {
		err = syscall.Setresgid(nobody, nobody, nobody)
	}
	if err == nil {
		err = syscall.Setresuid(nobody, nobody, nobody)
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		return false, nil
	}
	return err == nil, err
}
