package firststage

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mios/device/partition"
)

// Names of partitions on the disk.
const (
	superName = "super"
	miscName  = "misc"
)

// waitForPartitions returns the partitions as soon as all of the names are
// there. It looks again whenever the kernel tells of a new device.
func waitForPartitions(names []string, timeout time.Duration) (partition.Nodes, error) {
	events, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("uevents: %w", err)
	}
	defer unix.Close(events)
	if err := unix.Bind(events, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return nil, fmt.Errorf("uevents: %w", err)
	}
	deadline := time.Now().Add(timeout)
	for {
		found, err := partition.Scan(partition.Sys, "/dev")
		if err != nil {
			return nil, err
		}
		missing := found.Missing(names)
		if len(missing) == 0 {
			return found, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return found, &refusal{missing[0], fmt.Errorf("not there after %v; the disk has %s", timeout, found)}
		}
		if err := awaitEvent(events, left); err != nil {
			return nil, fmt.Errorf("uevents: %w", err)
		}
	}
}

// awaitEvent returns when the socket has something to read, and has read it,
// or after the timeout.
func awaitEvent(socket int, timeout time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(timeout.Milliseconds())+1)
	if n == 0 || errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return err
	}
	_, _, err = unix.Recvfrom(socket, make([]byte, 8<<10), unix.MSG_DONTWAIT)
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) { // some were lost: look again anyway
		return nil
	}
	return err
}
