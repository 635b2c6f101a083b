package emulator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"mios/emulator"
	"mios/format/cpio"
	"mios/internal/debian/debiantest"
)

// bootTime bounds a boot under emulation on a busy machine.
const bootTime = 3 * time.Minute

// rom makes the files of a ROM: Debian's kernel and the test's guest.
func rom(t *testing.T, arch string) (kernel, initrd string) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots QEMU")
	}
	dir := t.TempDir()
	init := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", init, "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	program, err := os.ReadFile(init)
	if err != nil {
		t.Fatal(err)
	}
	k := debiantest.Kernel(t, arch)
	entries := []cpio.Entry{
		{Name: "dev", Mode: cpio.TypeDir | 0o755},
		{Name: "proc", Mode: cpio.TypeDir | 0o755},
		{Name: "dev/console", Mode: cpio.TypeChar | 0o600, RdevMajor: 5, RdevMinor: 1},
		{Name: "init", Mode: cpio.TypeRegular | 0o755, Data: program},
		{Name: "modules", Mode: cpio.TypeDir | 0o755},
	}
	modules, err := k.Modules("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng")
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range modules {
		entries = append(entries, cpio.Entry{Name: fmt.Sprintf("modules/%02d-%s.ko", i, m.Name), Mode: cpio.TypeRegular | 0o644, Data: m.Data})
	}
	var b bytes.Buffer
	if _, err := cpio.New(entries...).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	vmlinux, err := k.VMLinux()
	if err != nil {
		t.Fatal(err)
	}
	kernel, initrd = filepath.Join(dir, "kernel"), filepath.Join(dir, "initrd")
	if err := errors.Join(os.WriteFile(kernel, vmlinux, 0o644), os.WriteFile(initrd, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	return kernel, initrd
}

// newDisk makes an empty disk of 64 MiB.
func newDisk(t *testing.T) *emulator.Disk {
	t.Helper()
	base := filepath.Join(t.TempDir(), "base.img")
	if err := os.WriteFile(base, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(base, 64<<20); err != nil {
		t.Fatal(err)
	}
	d, err := emulator.OpenDisk(base, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// guest is a machine whose guest is told what to do.
type guest struct {
	*testing.T
	*emulator.Machine
	ctx context.Context
}

func start(t *testing.T, c emulator.Config) guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTime)
	t.Cleanup(cancel)
	c.Dir, c.Cmdline = t.TempDir(), "panic=-1 quiet test=1"
	m, err := emulator.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Stop() })
	return guest{t, m, ctx}
}

func (g guest) expect(line string) string {
	g.Helper()
	found, err := g.WaitFor(g.ctx, regexp.MustCompile(line))
	if err != nil {
		g.Fatal(err)
	}
	return found
}

// tell types a command and waits until the guest has done it.
func (g guest) tell(command, want string) {
	g.Helper()
	if err := g.Type(command + "\n"); err != nil {
		g.Fatal(err)
	}
	g.expect(want)
}

func TestMachine(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			kernel, initrd := rom(t, arch)
			d := newDisk(t)
			host, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer host.Close()
			var console bytes.Buffer
			pcap := filepath.Join(t.TempDir(), "net.pcap")
			g := start(t, emulator.Config{Arch: arch, Kernel: kernel, Initrd: initrd, Disk: d,
				Forward: []emulator.Forward{{Guest: 5555}}, Capture: pcap, Console: &console,
				Clock: time.Date(2031, 4, 5, 6, 7, 8, 0, time.UTC)})
			g.expect("^guest " + arch + ": .*test=1")
			g.expect("^ready")
			g.tell("random", "^random: done")
			g.tell("clock", "^clock 2031-04-05T06:")
			g.tell("listen 5555", "^listen: done")
			if got := dial(t, g.Port(5555)); got != "guest\n" {
				t.Errorf("the forwarded port says %q", got)
			}
			g.tell(fmt.Sprintf("dial 10.0.2.2:%d", host.Addr().(*net.TCPAddr).Port), "^dial: done")
			g.tell("sync 8 2 0x55", "^sync: done")

			if err := g.Type("reboot\n"); err != nil {
				t.Fatal(err)
			}
			g.expect("^ready")
			if n := g.Resets(); n < 1 {
				t.Errorf("Resets = %d after a reboot", n)
			}
			if err := g.Type("poweroff\n"); err != nil {
				t.Fatal(err)
			}
			if err := g.Wait(g.ctx); err != nil {
				t.Errorf("Wait = %v after a power-off", err)
			}
			if _, err := g.PowerCut(1); !errors.Is(err, emulator.ErrEnded) {
				t.Errorf("PowerCut after the end = %v, want ErrEnded", err)
			}
			if _, err := g.WaitFor(g.ctx, regexp.MustCompile("never")); !errors.Is(err, emulator.ErrEnded) {
				t.Errorf("WaitFor after the end = %v, want ErrEnded", err)
			}
			checkFiles(t, g, console.Bytes(), pcap)
			checkSectors(t, d, 8, 2, 0x55)
		})
	}
}

func checkFiles(t *testing.T, g guest, console []byte, pcap string) {
	t.Helper()
	if b, err := os.ReadFile(g.ConsoleFile()); err != nil || !bytes.Equal(b, console) || len(b) == 0 {
		t.Errorf("console file: %d bytes, %v; listener got %d", len(b), err, len(console))
	}
	if fi, err := os.Stat(pcap); err != nil || fi.Size() < 100 {
		t.Errorf("capture: %v, %v", fi, err)
	}
}

func dial(t *testing.T, port int) string {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// checkSectors wants n sectors to hold the byte b.
func checkSectors(t *testing.T, d *emulator.Disk, sector, n int64, b byte) {
	t.Helper()
	got := make([]byte, n*emulator.Sector)
	if _, err := d.ReadAt(got, sector*emulator.Sector); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.Repeat([]byte{b}, len(got))) {
		t.Errorf("sector %d: want %d sectors of %#x", sector, n, b)
	}
}

// TestPowerCut: what a guest synced outlives a power cut, what it did not may
// be lost, and the machine starts again on the disk.
func TestPowerCut(t *testing.T) {
	kernel, initrd := rom(t, "amd64")
	d := newDisk(t)
	var all emulator.Damage
	const rounds = 2
	for i := range rounds {
		g := start(t, emulator.Config{Arch: "amd64", Kernel: kernel, Initrd: initrd, Disk: d, Restrict: true})
		g.expect("^ready")
		g.tell(fmt.Sprintf("sync %d 16 0x11", i*16), "^sync: done")
		for j := range 32 {
			g.tell(fmt.Sprintf("write %d 8 0x22", 1024+(i*32+j)*8), "^write: done")
		}
		g.tell("dial 10.0.2.2:1", "^dial: .*(timeout|unreachable|refused)") // restricted
		dmg, err := g.PowerCut(uint64(i + 7))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: %v", i+7, dmg)
		all.Kept, all.Dropped, all.Torn = all.Kept+dmg.Kept, all.Dropped+dmg.Dropped, all.Torn+dmg.Torn
		checkSectors(t, d, int64(i*16), 16, 0x11)
	}
	if all.Kept+all.Dropped+all.Torn != rounds*32 || all.Dropped == 0 || all.Torn == 0 || all.Kept == 0 {
		t.Errorf("%v; want %d, some of each", all, rounds*32)
	}
	checkSectors(t, d, 0, rounds*16, 0x11)

	// A flush that is held up until the power is cut has flushed nothing.
	held := make(chan int, 1)
	d.Watch(func(a emulator.Access) {
		if a.Op == emulator.Flush && a.Unflushed > 0 {
			held <- a.Unflushed
			<-a.PowerOff
		}
	})
	g := start(t, emulator.Config{Arch: "amd64", Kernel: kernel, Initrd: initrd, Disk: d, Restrict: true})
	g.expect("^ready")
	if err := g.Type("sync 4096 64 0x33\n"); err != nil {
		t.Fatal(err)
	}
	var n int
	select {
	case n = <-held:
	case <-g.ctx.Done():
		t.Fatal("the guest does not flush")
	}
	dmg, err := g.PowerCut(1)
	if err != nil {
		t.Fatal(err)
	}
	if lost := dmg.Kept + dmg.Dropped + dmg.Torn; lost != n {
		t.Errorf("cut before a flush of %d writes: %v", n, dmg)
	}
	d.Watch(nil)
	checkSectors(t, d, 0, rounds*16, 0x11)
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "kernel")
	if err := os.WriteFile(image, []byte("not a kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	for _, test := range []struct {
		name string
		c    emulator.Config
		want string
	}{
		{"architecture", emulator.Config{Arch: "mips"}, `architecture "mips"`},
		{"folder", emulator.Config{Arch: "amd64", Kernel: image}, "no folder"},
		{"kernel", emulator.Config{Arch: "amd64", Dir: dir, Kernel: dir + "/none"}, "none: no such file"},
		{"port", emulator.Config{Arch: "amd64", Dir: dir, Kernel: image, Forward: []emulator.Forward{{Host: taken, Guest: 1}}}, "the port is taken"},
		{"QEMU", emulator.Config{Arch: "amd64", Dir: dir, Kernel: image, Memory: -1}, "QEMU ended by itself.*-m"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := emulator.Start(t.Context(), test.c)
			if err == nil {
				m.Stop()
				t.Fatal("Start succeeded")
			}
			if !regexp.MustCompile("(?s)" + test.want).MatchString(err.Error()) {
				t.Errorf("Start = %v, want %s", err, test.want)
			}
		})
	}
}
