package firststage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names of partitions on the disk, and where the kernel lists them.
const (
	superName = "super"
	miscName  = "misc"
	sysBlock  = "/sys/class/block"
)

// partitions holds the path of each partition's node by its GPT name.
type partitions map[string]string

// scanPartitions reads the names of all partitions that the kernel knows. If
// two disks have one of the same name, the first disk's is taken.
func scanPartitions(dir string) (partitions, error) {
	names, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	found := partitions{}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n.Name(), "uevent"))
		if err != nil {
			continue // it is gone again
		}
		var dev, part string
		for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
			key, value, _ := strings.Cut(s.Text(), "=")
			switch key {
			case "DEVNAME":
				dev = value
			case "PARTNAME":
				part = value
			}
		}
		if part != "" && dev != "" && found[part] == "" {
			found[part] = "/dev/" + dev
		}
	}
	return found, nil
}

// missing returns those of the names that are not there.
func (p partitions) missing(names []string) (missing []string) {
	for _, n := range names {
		if p[n] == "" && !slices.Contains(missing, n) {
			missing = append(missing, n)
		}
	}
	return missing
}

// waitForPartitions returns the partitions as soon as all of the names are
// there. It looks again whenever the kernel tells of a new device.
func waitForPartitions(names []string, timeout time.Duration) (partitions, error) {
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
		found, err := scanPartitions(sysBlock)
		if err != nil {
			return nil, err
		}
		missing := found.missing(names)
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

// String lists the names, sorted.
func (p partitions) String() string {
	if len(p) == 0 {
		return "no partitions"
	}
	names := make([]string, 0, len(p))
	for n := range p {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
