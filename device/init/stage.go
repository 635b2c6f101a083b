package initd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mios/device/logd"
	"mios/device/property"
)

// firstStageStarted is the variable in which the first stage leaves when it
// began, in nanoseconds since the kernel started, as in AOSP.
const firstStageStarted = "FIRST_STAGE_STARTED_AT"

// SecondStage is PID 1. It never returns: where it cannot go on, the machine
// reboots.
func SecondStage() {
	began := uptime()
	d := New("", true)
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "init: %v\n%s", r, debug.Stack())
			unix.Sync()
			rebootMachine(unix.LINUX_REBOOT_CMD_RESTART, "")
		}
	}()
	ignoreSignals()
	d.prepare(began)
	if err := d.serve(); err != nil {
		d.log.Error("sockets", "err", err) // a device without them cannot be healthy: the updater takes it back
	}
	if err := d.load("/system/etc/init"); err != nil {
		for line := range strings.Lines(err.Error()) {
			d.log.Error("script", "err", strings.TrimSpace(line))
		}
	}
	go d.expectJudge(d.ctx, judgeTime)
	d.run()
	select {} // the device goes down elsewhere
}

// ignoreSignals takes signals without doing anything. They are not set to
// "ignore", because services would inherit that.
func ignoreSignals() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)
	go func() {
		for range c {
		}
	}()
	unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
}

// prepare makes the ground on which scripts run.
func (d *Device) prepare(began time.Duration) {
	syscall.Umask(0o022)
	mountErr := mountBase()
	os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on"), 0)
	if kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		d.setLog(slog.New(newHandler(d.Ring, kmsg)))
	}
	d.log.Info("second stage", "after", began.Round(time.Millisecond))
	if mountErr != nil {
		d.log.Error("base mounts", "err", mountErr)
	}
	d.adoptConsole()
	if os.Mkdir(cgroupDir+"/system", 0o755) == nil {
		d.services.spawn.cgroups = true
	}
	for _, err := range []error{os.MkdirAll("/dev/socket", 0o755), d.linkPartitions()} {
		if err != nil {
			d.log.Error("prepare", "err", err)
		}
	}
	d.properties(began)
	if err := raiseClock(d.Props.Get("ro.build.date.utc")); err != nil {
		d.log.Error("clock", "err", err)
	}
	go d.readKernel(began)
}

// adoptConsole gives init standard input, output and errors, so that a panic
// is seen and no other file gets their numbers.
func (d *Device) adoptConsole() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		d.log.Error("prepare", "err", err)
		return
	}
	unix.Dup3(int(null.Fd()), 0, 0)
	unix.Dup3(int(null.Fd()), 1, 0)
	null.Close()
	errs, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		d.log.Error("prepare", "err", err)
		return
	}
	unix.Dup3(int(errs.Fd()), 2, 0)
	errs.Close()
}

// readKernel puts the kernel's lines into the log. Init's own are there
// already.
func (d *Device) readKernel(began time.Duration) {
	err := d.Ring.ReadKernel(context.Background(), "/dev/kmsg", func(tag string, since time.Duration) bool {
		return tag == "init" && since >= began
	})
	d.log.Error("kernel log", "err", err)
}

// properties sets what is known before any script runs.
func (d *Device) properties(began time.Duration) {
	set := func(name, value string) {
		if err := d.Props.Set(name, value); err != nil {
			d.log.Error("property", "err", err)
		}
	}
	if cmdline, err := os.ReadFile(d.path("/proc/cmdline")); err != nil {
		d.log.Error("command line", "err", err)
	} else {
		for _, p := range bootProperties(string(cmdline)) {
			set(p.Name, p.Value)
		}
	}
	for _, p := range [][3]string{
		{"ro.boot.serialno", "ro.serialno", ""}, {"ro.boot.mode", "ro.bootmode", "unknown"},
		{"ro.boot.bootloader", "ro.bootloader", "unknown"}, {"ro.boot.hardware", "ro.hardware", "mios"},
		{"ro.boot.revision", "ro.revision", "0"},
	} {
		value := d.Props.Get(p[0])
		if value == "" {
			value = p[2]
		}
		if value != "" {
			set(p[1], value)
		}
	}
	if f, err := os.Open(d.path("/system/build.prop")); err != nil {
		d.log.Error("build properties", "err", err)
	} else {
		if err := d.Props.Load(f); err != nil {
			d.log.Error("build.prop", "err", err)
		}
		f.Close()
	}
	first, err := strconv.ParseInt(os.Getenv(firstStageStarted), 10, 64)
	if err != nil || first > began.Nanoseconds() {
		first = began.Nanoseconds()
	}
	set("ro.boottime.init", fmt.Sprint(first))
	set("ro.boottime.init.first_stage", fmt.Sprint(began.Nanoseconds()-first))
}

// bootProperties returns the properties ro.boot.NAME that androidboot.NAME=VALUE
// of a kernel's command line stand for. Of a name that is there twice the
// first counts.
func bootProperties(cmdline string) []property.Property {
	var list []property.Property
	seen := make(map[string]bool)
	for _, w := range splitCmdline(cmdline) {
		name, value, ok := strings.Cut(w, "=")
		name, isBoot := strings.CutPrefix(name, "androidboot.")
		if !ok || !isBoot || name == "" || seen[name] {
			continue
		}
		seen[name] = true
		list = append(list, property.Property{Name: "ro.boot." + name, Value: value})
	}
	return list
}

// splitCmdline divides a kernel's command line; blanks inside double quotes
// do not divide it.
func splitCmdline(s string) []string {
	var words []string
	var word strings.Builder
	quoted := false
	for _, c := range strings.TrimSpace(s) + " " {
		switch {
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\n' || c == '\t') && !quoted:
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
		default:
			word.WriteRune(c)
		}
	}
	if word.Len() > 0 {
		words = append(words, word.String())
	}
	return words
}

// raiseClock sets the clock to the build's time, in seconds since 1970, if it
// is behind.
func raiseClock(built string) error {
	if built == "" {
		return nil
	}
	n, err := strconv.ParseInt(built, 10, 64)
	if err != nil {
		return fmt.Errorf("ro.build.date.utc: %w", err)
	}
	if time.Now().Unix() >= n {
		return nil
	}
	ts := unix.NsecToTimespec(n * int64(time.Second))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock to the build's time: %w", err)
	}
	return nil
}

// serve opens init's sockets, properties and the log's two, and serves them
// for as long as init runs.
func (d *Device) serve() error {
	ctx := context.Background()
	props := d.path(property.Socket)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: props, Net: "unix"})
	if err != nil {
		return err
	}
	readers, err := logd.ListenReaders(d.path(logd.ReadSocket))
	if err != nil {
		return err
	}
	writers, err := logd.ListenWriters(d.path(logd.WriteSocket))
	if err != nil {
		return err
	}
	server := &property.Server{Store: d.Props, Log: d.log, Control: d.Control}
	for name, serve := range map[string]func() error{
		"property service": func() error { return server.Serve(ctx, listener) },
		"log readers":      func() error { return d.Ring.ServeReaders(ctx, readers) },
		"log writers":      func() error { return d.Ring.ServeWriters(ctx, writers) },
	} {
		go func() { d.log.Error("socket is no longer served", "socket", name, "err", serve()) }()
	}
	return errors.Join(os.Chmod(props, 0o666), os.Chmod(d.path(logd.ReadSocket), 0o666), os.Chmod(d.path(logd.WriteSocket), 0o222))
}

// run runs the actions, from early-init on, until the device goes down.
func (d *Device) run() {
	defer close(d.idle)
	for _, t := range []string{"early-init", "init", "late-init"} {
		d.queue.trigger(t)
	}
	d.queue.push(event{}) // from here on properties trigger actions
	d.queue.loop(d.ctx, true)
}
