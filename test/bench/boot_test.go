package bench_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/build/image"
	"mios/desk"
	"mios/emulator"
	"mios/format/cpio"
)

// BenchmarkBoot measures the time from QEMU's start to "healthy" against the
// same machine with the same kernel and an init that only powers off.
func BenchmarkBoot(b *testing.B) {
	for _, arch := range []mios.Arch{mios.AMD64, mios.ARM64} {
		b.Run(string(arch), func(b *testing.B) { benchmarkBoot(b, arch) })
	}
}

func benchmarkBoot(b *testing.B, arch mios.Arch) {
	dir := build(b, arch, "1", 0)
	initrd := poweroffInitrd(b, arch)
	var base, baseCPU, whole, wholeCPU sample
	var fastest []phase
	for range runs(b) {
		total, cpu := bootPoweroff(b, arch, dir, initrd)
		base, baseCPU = append(base, total), append(baseCPU, cpu)
		total, cpu, steps := bootHealthy(b, dir)
		whole, wholeCPU = append(whole, total), append(wholeCPU, cpu)
		if total == whole.min() {
			fastest = steps
		}
	}
	row := func(name string, s, cpu sample) []string {
		return []string{name, seconds(s.median()), seconds(s.min()), seconds(cpu.min())}
	}
	rows := [][]string{{"", "median", "min", "processor"},
		row("kernel that powers off", base, baseCPU), row("to healthy", whole, wholeCPU)}
	rows = append(rows, []string{"of the fastest:"})
	for _, p := range fastest {
		rows = append(rows, []string{"- " + p.name, "", seconds(p.took), fmt.Sprintf("%3.0f %%", 100*p.took.Seconds()/whole.min().Seconds())})
	}
	print(fmt.Sprintf("boot, %s, %d runs", arch, len(whole)), rows)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(whole.median().Seconds()/base.median().Seconds(), "ratio(median)")
	b.ReportMetric(whole.min().Seconds()/base.min().Seconds(), "ratio(min)")
}

// poweroffInitrd builds an initramfs of one program, the one in poweroff/.
func poweroffInitrd(b *testing.B, arch mios.Arch) string {
	b.Helper()
	dir := b.TempDir()
	program := filepath.Join(dir, "init")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./poweroff")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+string(arch))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build poweroff: %v\n%s", err, out)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		b.Fatal(err)
	}
	var archive bytes.Buffer
	if _, err := cpio.New(cpio.Dir("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.File("init", 0o755, data)).WriteTo(&archive); err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(dir, "initrd")
	if err := os.WriteFile(name, archive.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	return name
}

// bootPoweroff returns how long a machine runs that a device's kernel starts on
// and that its init switches off, and how much processor time QEMU takes.
func bootPoweroff(b *testing.B, arch mios.Arch, build, initrd string) (total, cpu time.Duration) {
	b.Helper()
	cmdline, err := os.ReadFile(filepath.Join(build, image.ROMCmdline))
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	disk, err := emulator.OpenDisk(filepath.Join(build, desk.DiskName), filepath.Join(dir, desk.OverlayName))
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	begin, used := time.Now(), childrenTime(b)
	m, err := emulator.Start(ctx, emulator.Config{
		Arch: string(arch), Kernel: filepath.Join(build, image.ROMKernel), Initrd: initrd,
		Cmdline: strings.TrimSpace(string(cmdline)), Disk: disk, Dir: dir,
		Forward: []emulator.Forward{{Guest: desk.ADBPort}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Stop()
	if err := m.Wait(ctx); err != nil {
		b.Fatal(err)
	}
	return time.Since(begin), childrenTime(b) - used
}

// childrenTime returns the processor time of the programs that have ended.
func childrenTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// processTime returns the processor time of a program that runs.
func processTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		b.Fatalf("/proc/%d/stat: %q", pid, stat)
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// A phase is a part of a boot.
type phase struct {
	name string
	took time.Duration
}

var (
	loaded  = regexp.MustCompile(`loader: slot _a: verified and loaded \(ms: ([^)]*)\)`)
	isUp    = regexp.MustCompile(`mios: healthy \(.*after ([0-9.]+) s\)`)
	service = "installd netd update_engine adbd"
)

// bootHealthy returns how long a new device takes until it is healthy, and with
// what. What the guests' clocks do not cover is known from when the console
// said what.
func bootHealthy(b *testing.B, build string) (total, cpu time.Duration, phases []phase) {
	b.Helper()
	seen := &stopwatch{begin: time.Now()}
	d := start(b, desk.DeviceConfig{Build: build, Dir: b.TempDir(), Console: seen})
	healthy(b, d, func() { cpu = processTime(b, d.PID()) })
	prop := func(name string) time.Duration {
		n, err := strconv.ParseInt(shell(b, d, "getprop "+name), 10, 64)
		if err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		return time.Duration(n)
	}
	firstAt, first := prop("ro.boottime.init"), prop("ro.boottime.init.first_stage")
	services := time.Duration(1<<63 - 1)
	for name := range strings.FieldsSeq(service) {
		services = min(services, prop("ro.boottime."+name))
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	toLoaded, times := seen.find(b, loaded)
	total, up := seen.find(b, isUp)
	secs, err := strconv.ParseFloat(up, 64)
	if err != nil {
		b.Fatal(err)
	}
	uptime := time.Duration(secs * float64(time.Second))
	phases = []phase{{"QEMU and firmware", toLoaded}}
	for word := range strings.SplitSeq(times, ",") {
		name, ms, _ := strings.Cut(word, ":")
		n, err := strconv.Atoi(ms)
		if err != nil {
			b.Fatalf("the loader's times %q: %v", times, err)
		}
		took := time.Duration(n) * time.Millisecond
		name = "loader: " + name
		if name == "loader: kernel" {
			name = "ROM kernel"
		}
		phases[0].took -= took
		phases = append(phases, phase{name, took})
	}
	return total, cpu, append(phases,
		phase{"kexec", total - toLoaded - uptime}, phase{"boot kernel", firstAt}, phase{"first stage", first},
		phase{"second stage until its services", services - firstAt - first}, phase{"until healthy", uptime - services})
}

// A stopwatch notes when each line of a console was complete.
type stopwatch struct {
	begin time.Time
	mu    sync.Mutex
	buf   []byte
	lines []string
	at    []time.Duration
}

func (s *stopwatch) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf, p...)
	for {
		line, rest, ok := bytes.Cut(s.buf, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		s.lines, s.at = append(s.lines, string(line)), append(s.at, time.Since(s.begin))
		s.buf = rest
	}
}

// find returns when the first line came that matches, and the match's first
// group.
func (s *stopwatch) find(b *testing.B, re *regexp.Regexp) (time.Duration, string) {
	b.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.lines {
		if m := re.FindStringSubmatch(l); m != nil {
			return s.at[i], m[1]
		}
	}
	b.Fatalf("no line of the console matches %v:\n%s", re, strings.Join(s.lines, "\n"))
	return 0, ""
}
