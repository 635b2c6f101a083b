package emulator

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mios/internal/lazyregexp"
)

// Descriptors that QEMU inherits: sockets need no names, and end with us.
const (
	fdConsole = 3 + iota
	fdQMP
	fdDisk
)

// arch is what differs between architectures.
type arch struct {
	program string
	goarch  string
	machine []string
	console string // the kernel's name of the first serial line
}

var arches = map[string]arch{
	"amd64": {"qemu-system-x86_64", "amd64", []string{"-machine", "q35"}, "ttyS0"},
	"arm64": {"qemu-system-aarch64", "arm64", []string{"-machine", "virt"}, "ttyAMA0"},
}

// canKVM says whether guests of the architecture may run on this machine's own
// processor. On amd64 the device alone proves nothing: there are kernels that
// have it, for guests of their own kind, on processors that cannot virtualise.
func canKVM(goarch string) bool {
	if goarch != runtime.GOARCH {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	if goarch != "amd64" {
		return true
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && virtualises.Match(info)
}

// virtualises matches the flags of Intel's and AMD's extensions.
var virtualises = lazyregexp.New(`(?m)^flags\s*:.* (vmx|svm)( |$)`)

// arguments returns QEMU's arguments.
func (c *Config) arguments(a arch) []string {
	args := append([]string{"-nodefaults", "-no-user-config", "-display", "none"}, a.machine...)
	// tb-size is the memory for translated code, in MiB. It holds what one kernel
	// and the device's programs run. When it is full, QEMU drops all of it at
	// once, which costs less than to drop the loader's kernel piece by piece as
	// its memory is written to; and QEMU touches less memory.
	switch {
	case !c.NoKVM && canKVM(a.goarch):
		args = append(args, "-accel", "kvm", "-cpu", "max")
	case a.goarch == "arm64":
		args = append(args, "-accel", "tcg,tb-size=48", "-cpu", "cortex-a72") // max spends its time on pointer authentication
	default:
		// TCG runs "rep stosb" and "rep movsb" byte by byte, so a kernel that
		// believes in them clears and copies pages several times slower; five
		// levels of page tables cost too.
		args = append(args, "-accel", "tcg,tb-size=64", "-cpu", "max,erms=off,fsrm=off,la57=off")
	}
	cmdline := c.Cmdline
	if !strings.Contains(cmdline, "console=") {
		cmdline = strings.TrimSpace("console=" + a.console + " " + cmdline)
	}
	args = append(args,
		"-m", strconv.Itoa(orDefault(c.Memory, 512)), "-smp", strconv.Itoa(orDefault(c.CPUs, 2)),
		"-kernel", c.Kernel, "-append", cmdline,
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", fdConsole), "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", fdQMP), "-mon", "chardev=qmp,mode=control",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
		"-netdev", c.netdev(), "-device", "virtio-net-pci,netdev=net,romfile=")
	if c.Initrd != "" {
		args = append(args, "-initrd", c.Initrd)
	}
	if c.Disk != nil {
		args = append(args,
			"-blockdev", fmt.Sprintf("driver=nbd,node-name=disk,server.type=fd,server.str=%d,discard=unmap", fdDisk),
			"-device", "virtio-blk-pci,drive=disk,write-cache=on,serial=mios")
	}
	if !c.Clock.IsZero() {
		args = append(args, "-rtc", "base="+c.Clock.UTC().Format(time.DateOnly+"T"+time.TimeOnly))
	}
	if c.Watchdog {
		args = append(args, "-device", "i6300esb", "-action", "watchdog=reset")
	}
	if c.Capture != "" {
		args = append(args, "-object", "filter-dump,id=capture,netdev=net,file="+commas(c.Capture))
	}
	return args
}

// netdev returns the user network with its forwarded ports. A host port of 0
// makes QEMU choose one, which Start asks for afterwards.
func (c *Config) netdev() string {
	s := "user,id=net"
	if c.Restrict {
		s += ",restrict=on"
	}
	for _, f := range c.Forward {
		s += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", f.Host, f.Guest)
	}
	return s
}

// commas escapes a value of QEMU's option lists.
func commas(s string) string { return strings.ReplaceAll(s, ",", ",,") }

func orDefault(n, d int) int {
	if n == 0 {
		return d
	}
	return n
}

// socketpair returns our end and QEMU's end of a connection.
func socketpair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return c, theirs, nil
}

// forwardedPorts reads what the monitor's "info usernet" says, lines like
//
//	TCP[HOST_FORWARD]  12       127.0.0.1 40437       10.0.2.15  5555     0     0
//
// and returns host ports by guest ports.
func forwardedPorts(text string) map[int]int {
	ports := make(map[int]int)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "TCP[HOST_FORWARD]" {
			continue
		}
		host, err1 := strconv.Atoi(f[3])
		guest, err2 := strconv.Atoi(f[5])
		if err1 == nil && err2 == nil {
			ports[guest] = host
		}
	}
	return ports
}
