//go:build linux

package lockdown

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What each version of Landlock's interface can forbid (Linux,
// include/uapi/linux/landlock.h): the first so many rights on files, TCP from
// version 4 on, abstract sockets and signals from version 6 on.
var (
	landlockFiles = [...]int{0, 13, 14, 15, 15, 16}
	landlockNet   = uint64(unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP)
	landlockScope = uint64(1<<0 | 1<<1)
)

// ruleset is struct landlock_ruleset_attr.
type ruleset struct{ files, net, scoped uint64 }

// landlock forbids all that Landlock can, without an exception.
func landlock(Limits) (bool, error) {
	version, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return false, nil // an older kernel, or one that was started without it
	}
	attr := ruleset{files: 1<<landlockFiles[min(int(version), len(landlockFiles)-1)] - 1}
	size := unsafe.Sizeof(attr.files)
	if version >= 4 {
		attr.net, size = landlockNet, size+unsafe.Sizeof(attr.net)
	}
	if version >= 6 {
		attr.scoped, size = landlockScope, size+unsafe.Sizeof(attr.scoped)
	}
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if e != 0 {
		return false, fmt.Errorf("create a ruleset: %w", e)
	}
	defer unix.Close(int(fd))
	for _, call := range [][3]uintptr{
		{unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1},
		{unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0},
	} {
		if _, _, e := syscall.AllThreadsSyscall6(call[0], call[1], call[2], 0, 0, 0, 0); errors.Is(e, syscall.ENOTSUP) {
			return false, nil
		} else if e != 0 {
			return false, fmt.Errorf("system call %d: %w", call[0], e)
		}
	}
	return true, nil
}
