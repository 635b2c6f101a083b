// Package initd is the second stage of init, PID 1 of a device: it mounts what
// is left to mount, keeps properties and the log, runs the actions of the
// scripts in /system/etc/init and the services that they define, reaps what
// has ended, and reboots. It follows AOSP's system/core/init.
package initd

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mios/device/logd"
	"mios/device/property"
	"mios/format/initrc"
)

// A Device is what init runs. Make it with [New].
type Device struct {
	// Root comes before every path of the device; "" but in tests.
	Root  string
	Ring  *logd.Ring
	Props *property.Store

	log      *slog.Logger
	queue    *queue
	services *manager
	loaded   map[string]bool // scripts
	execs    atomic.Int64

	envMu sync.Mutex
	env   []string

	// reboot ends the machine: it does not return but in tests.
	reboot func(cmd int, target string)
	power  sync.Once
	// lastPatience is how long going down may take.
	lastPatience time.Duration
	ctx          context.Context // of the actions; ends when the device goes down
	cancel       context.CancelFunc
	idle         chan struct{} // closed when the actions' loop has ended
}

// ringSize is the log's, in bytes.
const ringSize = 1 << 20

// propertyTypes are the types of properties that others rely on.
var propertyTypes = []property.Type{
	{Name: "net.online", Type: "bool"},
	{Name: "sys.boot_completed", Type: "bool"},
	{Name: "ro.debuggable", Type: "bool"},
	{Name: "init.svc.", Prefix: true, Type: "enum running stopped restarting stopping"},
	{Name: "ro.boottime.", Prefix: true, Type: "uint"},
}

// New returns a device with no services yet. As PID 1 it reaps all children.
func New(root string, pid1 bool) *Device {
	d := &Device{
		Root: root, Ring: logd.NewRing(ringSize), Props: &property.Store{Types: propertyTypes}, loaded: make(map[string]bool),
		env: []string{"PATH=/system/bin", "HOME=/"}, idle: make(chan struct{}), reboot: rebootMachine, lastPatience: lastPatience,
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.log = slog.New(newHandler(d.Ring, nil))
	d.queue = &queue{log: d.log, get: d.Props.Get, run: d.runCommand}
	d.services = &manager{
		spawn:  &spawner{reaper: newReaper(pid1), ring: d.Ring, root: root},
		log:    d.log,
		expand: func(s string) (string, error) { return expand(s, d.Props.Get) },
		env:    d.environment,
		set: func(name, value string) {
			if err := d.Props.Set(name, value); err != nil && !isBoottime(name) {
				d.log.Error("property", "err", err)
			}
		},
		onRestart: d.onRestart,
		fatal:     d.serviceFailed,
		booted:    func() bool { return d.Props.Get("sys.boot_completed") == "1" },
		uptime:    uptime,
	}
	d.Props.Changed = func(name, value string) {
		if name == property.PowerControl {
			go d.powerControl(value)
		}
		d.queue.changed(name, value)
	}
	return d
}

// isBoottime tells whether the name is of those that a service's second start
// cannot set again.
func isBoottime(name string) bool {
	return len(name) > len("ro.boottime.") && name[:len("ro.boottime.")] == "ro.boottime."
}

// setLog makes init log to the kernel too.
func (d *Device) setLog(log *slog.Logger) {
	d.log, d.queue.log, d.services.log = log, log, log
}

func (d *Device) environment() []string {
	d.envMu.Lock()
	defer d.envMu.Unlock()
	return slices.Clone(d.env)
}

// onRestart runs a service's onrestart commands.
func (d *Device) onRestart(s *initrc.Service) {
	for _, c := range s.OnRestart {
		if err := d.runCommand(d.ctx, c); err != nil {
			d.log.Error("onrestart", "service", s.Name, "command", c.String(), "err", err)
		}
	}
}

// Control does what setting ctl.VERB to name asks for.
func (d *Device) Control(verb, name string) error {
	switch verb {
	case "start":
		return d.services.start(name)
	case "stop":
		return d.services.stop(name)
	case "restart":
		return d.services.restart(name, false)
	}
	return fmt.Errorf("ctl.%s: there are start, stop and restart", verb)
}

// uptime returns the time since the kernel started, sleep included.
func uptime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
