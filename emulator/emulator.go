// Package emulator runs a device in QEMU: with a disk that loses what was not
// flushed when its power is cut, a network whose ports are forwarded, and a
// console that can be waited on.
package emulator

import (
	"context"
	"errors"
	"io"
	"regexp"
	"time"
)

// Config is what a machine is started with.
type Config struct {
	Arch    string // "amd64" or "arm64"
	Kernel  string // file of the ROM's kernel: bzImage, ELF vmlinux (PVH) or Image
	Initrd  string // file of the ROM's initramfs
	Cmdline string // the ROM's command line; console= is added for the architecture

	Disk   *Disk // nil: the machine has none
	Memory int   // MiB; 0: 512
	CPUs   int   // 0: 1

	// Forward maps host ports to ports of the guest. A host port of 0 takes a
	// free one; Machine.Port tells which.
	Forward  []Forward
	Restrict bool // the guest reaches no host but this one's forwarded ports and GuestServers
	// GuestServers makes a TCP server of this host reachable at 10.0.2.100:Guest
	// even when Restrict is set.
	GuestServers []Forward

	Clock    time.Time // what the guest's clock starts at; zero: the host's
	Watchdog bool      // adds an i6300esb that resets the machine

	Dir     string    // folder for console.log, the sockets and QEMU's messages; empty: a temporary one
	Console io.Writer // gets what the console says as well; may be nil
}

// Forward is a pair of TCP ports.
type Forward struct{ Host, Guest int }

// Machine is a running device.
type Machine struct{}

// Start starts a machine. It runs until Stop, PowerCut, its own power-off or
// the end of ctx.
func Start(ctx context.Context, c Config) (*Machine, error) { return nil, errors.ErrUnsupported }

// Port returns the port of 127.0.0.1 that leads to the guest's TCP port.
func (m *Machine) Port(guest int) int { return 0 }

// ConsoleFile returns the file that all consoles' output goes to.
func (m *Machine) ConsoleFile() string { return "" }

// WaitFor waits until a console line matches and returns that line. It looks
// at what came after the last line that a WaitFor returned, so that calls in
// sequence find lines in sequence. It ends with an error, which holds the
// console's last lines, when the machine stops or ctx ends.
func (m *Machine) WaitFor(ctx context.Context, line *regexp.Regexp) (string, error) {
	return "", errors.ErrUnsupported
}

// Type writes to the guest's console.
func (m *Machine) Type(s string) error { return errors.ErrUnsupported }

// Reset pulls the reset line: memory is lost, the disk's cache is not.
func (m *Machine) Reset() error { return errors.ErrUnsupported }

// PowerCut stops the machine as a cut of its power does: what was not flushed
// is kept, dropped or torn, sector by sector, as the seed says. The disk can be
// used again when it returns.
func (m *Machine) PowerCut(seed uint64) (Damage, error) { return Damage{}, errors.ErrUnsupported }

// Damage says what a power cut did to the sectors (512 bytes) that were written and not flushed.
type Damage struct{ Kept, Dropped, Torn int }

// Stop ends the machine at once; what it wrote is kept, flushed or not.
func (m *Machine) Stop() error { return errors.ErrUnsupported }

// Wait waits for the machine's end. A guest that powered off is no error.
func (m *Machine) Wait(ctx context.Context) error { return errors.ErrUnsupported }

// Done is closed when the machine has ended.
func (m *Machine) Done() <-chan struct{} { return nil }
