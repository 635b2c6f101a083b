// Package emulator runs a device in QEMU: with a disk that loses what was not
// flushed when its power is cut, a network whose ports are forwarded, and a
// console that can be waited on.
package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"mios/internal/tool"
)

// Config is what a machine is started with.
type Config struct {
	Arch    string // "amd64" or "arm64"
	Kernel  string // file of the ROM's kernel: bzImage, ELF vmlinux (PVH) or Image
	Initrd  string // file of the ROM's initramfs; may be empty
	Cmdline string // the ROM's command line; console= is added if it has none

	Disk   *Disk // the first virtio disk, /dev/vda; nil: the machine has none
	Memory int   // MiB; 0: 512
	CPUs   int   // 0: 2
	NoKVM  bool  // emulates the processor even where the host's could be used

	// Forward leads TCP ports of this host's 127.0.0.1 to ports of the guest. A
	// host port of 0 takes a free one; Machine.Port tells which.
	Forward []Forward
	// Restrict keeps the guest from reaching anything: only what comes in by a
	// forwarded port is answered. Without it the guest reaches what this host
	// reaches, and this host itself at 10.0.2.2.
	Restrict bool
	Capture  string // file that gets all of the guest's packets, as pcap; may be empty

	Clock    time.Time // what the guest's clock starts at; zero: the host's
	Watchdog bool      // adds an i6300esb that resets the machine

	Dir     string    // folder for console.log and qemu.log, made when it is not there
	Console io.Writer // gets what the console says as well; may be nil
}

// Forward is a pair of TCP ports.
type Forward struct{ Host, Guest int }

// ErrPortTaken says that a host port to forward is in use.
var ErrPortTaken = errors.New("the port is taken")

// startTime bounds how long QEMU may take until it answers.
const startTime = 60 * time.Second

// endTime bounds how long QEMU may take to end after it has refused to start.
const endTime = 2 * time.Second

// Look returns the path of the QEMU that emulates an architecture, "amd64" or
// "arm64", or an error that says what to install.
func Look(architecture string) (string, error) {
	a, ok := arches[architecture]
	if !ok {
		return "", fmt.Errorf("emulator: architecture %q: want amd64 or arm64", architecture)
	}
	program, err := tool.Look(a.program)
	if err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	return program, nil
}

// Start starts a machine. It runs until Stop, PowerCut, its own power-off or
// the end of ctx, which is a Stop.
func Start(ctx context.Context, c Config) (*Machine, error) {
	program, err := Look(c.Arch)
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	m, err := launch(program, arches[c.Arch], c)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	if err := m.connect(ctx); err != nil {
		select {
		case <-m.done: // QEMU refused something: it ends by itself
		case <-time.After(endTime):
			m.kill(nil)
			<-m.done
		}
		if m.err != nil {
			err = m.err // what QEMU said is more
		}
		return nil, fmt.Errorf("emulator: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { m.kill(nil) })
	go func() { <-m.done; stop() }()
	return m, nil
}

// check finds what QEMU would say less clearly.
func (c *Config) check() error {
	if c.Dir == "" {
		return errors.New("no folder given")
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	files := []string{c.Kernel}
	if c.Initrd != "" {
		files = append(files, c.Initrd)
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return err
		}
	}
	for _, f := range c.Forward {
		if f.Host == 0 {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", f.Host))
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("127.0.0.1:%d: %w: end what uses it, or take another port", f.Host, ErrPortTaken)
		}
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}
