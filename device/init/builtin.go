package initd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/format/initrc"
)

// execPrefix begins the names of services that stand for one command exec.
const execPrefix = "exec "

// A builtin does a command; the arguments are expanded and as many as
// [initrc.CheckCommand] wants.
type builtin func(d *Device, ctx context.Context, args []string) error

// builtins are the commands that do something. A test holds them against
// those that package initrc knows.
var builtins = map[string]builtin{
	"chmod": (*Device).chmod, "chown": (*Device).chown, "copy": (*Device).copy, "copy_per_line": (*Device).copy,
	"export": (*Device).export, "hostname": (*Device).hostname, "ifup": (*Device).ifup, "insmod": (*Device).insmod,
	"load_exports": (*Device).loadExports, "loglevel": (*Device).loglevel, "mkdir": (*Device).mkdir,
	"mount": (*Device).mount, "mount_all": (*Device).mountAll, "rm": (*Device).rm, "rmdir": (*Device).rm,
	"setprop": (*Device).setprop, "setrlimit": (*Device).setrlimit, "symlink": (*Device).symlink,
	"umount": (*Device).umount, "umount_all": (*Device).umountAll, "wait": (*Device).wait,
	"wait_for_prop": (*Device).waitForProp, "write": (*Device).write,
	"load_persist_props": func(d *Device, _ context.Context, _ []string) error {
		err := d.Props.OpenPersistent(d.path("/data/property/persistent_properties"))
		return errors.Join(err, d.Props.Set("ro.persistent_properties.ready", "true"))
	},
	"trigger": func(d *Device, _ context.Context, a []string) error { d.queue.trigger(a[0]); return nil },

	"class_start":     func(d *Device, _ context.Context, a []string) error { return d.services.classStart(a[0]) },
	"class_stop":      func(d *Device, _ context.Context, a []string) error { d.services.classStop(a[0], false); return nil },
	"class_reset":     func(d *Device, _ context.Context, a []string) error { d.services.classStop(a[0], true); return nil },
	"class_restart":   (*Device).classRestart,
	"enable":          func(d *Device, _ context.Context, a []string) error { return d.services.enable(a[0]) },
	"start":           func(d *Device, _ context.Context, a []string) error { return d.services.start(a[0]) },
	"stop":            func(d *Device, _ context.Context, a []string) error { return d.services.stop(a[0]) },
	"restart":         (*Device).restart,
	"exec":            func(d *Device, ctx context.Context, a []string) error { return d.exec(ctx, a, true) },
	"exec_background": func(d *Device, ctx context.Context, a []string) error { return d.exec(ctx, a, false) },
	"exec_start":      (*Device).execStart,
}

// runCommand does a command of a script.
func (d *Device) runCommand(ctx context.Context, c initrc.Command) error {
	if err := initrc.CheckCommand(c); err != nil {
		return err
	}
	if initrc.Ignored(c.Args[0]) {
		d.log.Debug("command is ignored", "command", c.String())
		return nil
	}
	args := make([]string, len(c.Args)-1)
	for i, a := range c.Args[1:] {
		var err error
		if args[i], err = expand(a, d.Props.Get); err != nil {
			return err
		}
	}
	return builtins[c.Args[0]](d, ctx, args)
}

func (d *Device) setprop(_ context.Context, a []string) error {
	if verb, ok := strings.CutPrefix(a[0], "ctl."); ok {
		return d.Control(verb, a[1])
	}
	return d.Props.Set(a[0], a[1])
}

func (d *Device) waitForProp(ctx context.Context, a []string) error {
	_, err := d.Props.Wait(ctx, a[0], a[1])
	return err
}

// wait waits for a file, PATH [SECONDS], 5 as in AOSP.
func (d *Device) wait(ctx context.Context, a []string) error {
	limit := 5 * time.Second
	if len(a) == 2 {
		n, err := strconv.ParseUint(a[1], 10, 16)
		if err != nil {
			return fmt.Errorf("wait %s: %w: %q is not a number of seconds", a[0], mios.ErrInvalid, a[1])
		}
		limit = time.Duration(n) * time.Second
	}
	return until(ctx, limit, "wait "+a[0], func() bool { return fileExists(d.path(a[0])) })
}

// until returns once there holds, which it asks every 10 ms, as AOSP does.
func until(ctx context.Context, limit time.Duration, what string, there func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not there after %v", what, limit)
		}
	}
	return nil
}

// export sets a variable of all services that start later.
func (d *Device) export(_ context.Context, a []string) error {
	d.envMu.Lock()
	defer d.envMu.Unlock()
	prefix := a[0] + "="
	env := slices.DeleteFunc(slices.Clone(d.env), func(v string) bool { return strings.HasPrefix(v, prefix) })
	d.env = append(env, prefix+a[1])
	return nil
}

// loadExports reads lines export NAME VALUE.
func (d *Device) loadExports(ctx context.Context, a []string) error {
	b, err := os.ReadFile(d.path(a[0]))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "export" {
			d.export(ctx, f[1:])
		}
	}
	return nil
}

func (d *Device) classRestart(_ context.Context, a []string) error {
	enabled := a[0] == "--only-enabled"
	name := a[len(a)-1]
	var errs []error
	for _, s := range d.services.class(name) {
		d.services.mu.Lock()
		off := s.off
		d.services.mu.Unlock()
		if !off || !enabled && len(a) == 1 && !s.def.Disabled {
			errs = append(errs, d.services.restart(s.def.Name, false))
		}
	}
	return errors.Join(errs...)
}

func (d *Device) restart(_ context.Context, a []string) error {
	if len(a) == 2 && a[0] != "--only-if-running" {
		return fmt.Errorf("restart: %w: %q: only --only-if-running may stand before the name", mios.ErrInvalid, a[0])
	}
	return d.services.restart(a[len(a)-1], len(a) == 2)
}

// execStart starts a service and waits until it has ended.
func (d *Device) execStart(ctx context.Context, a []string) error {
	if err := d.services.start(a[0]); err != nil {
		return err
	}
	return d.ended(ctx, a[0])
}

// ended waits for a service and tells whether it ended well.
func (d *Device) ended(ctx context.Context, name string) error {
	ws, err := d.services.wait(ctx, name)
	if err == nil && !clean(ws) {
		err = fmt.Errorf("%s %s", name, describe(ws))
	}
	return err
}

// exec runs [SECLABEL [USER [GROUP...]]] [--] PROGRAM [ARGUMENT...].
func (d *Device) exec(ctx context.Context, a []string, wait bool) error {
	def := &initrc.Service{User: "root", Oneshot: true}
	if i := slices.Index(a, "--"); i >= 0 {
		who := a[:i]
		a = a[i+1:]
		if len(who) > 1 {
			def.User = who[1]
		}
		if len(who) > 2 {
			def.Group, def.Supplementary = who[2], who[3:]
		}
	}
	if len(a) == 0 {
		return fmt.Errorf("exec: %w: no program behind --", mios.ErrInvalid)
	}
	// The arguments are expanded already, and the manager will do it again.
	for _, arg := range a {
		def.Args = append(def.Args, strings.ReplaceAll(arg, "$", "$$"))
	}
	def.Name = fmt.Sprintf("%s%d (%s)", execPrefix, d.execs.Add(1), a[0])
	if err := d.services.add(def); err != nil {
		return err
	}
	run := func() error {
		defer d.services.forget(def.Name)
		if err := d.services.start(def.Name); err != nil {
			return err
		}
		return d.ended(ctx, def.Name)
	}
	if wait {
		return run()
	}
	go func() {
		if err := run(); err != nil && ctx.Err() == nil {
			d.log.Error("exec_background", "err", err)
		}
	}()
	return nil
}

func (d *Device) setrlimit(_ context.Context, a []string) error {
	l, err := initrc.ParseRlimit(a[0], a[1], a[2])
	if err != nil {
		return err
	}
	return unix.Setrlimit(l.Resource, &unix.Rlimit{Cur: l.Cur, Max: l.Max})
}

// loglevel sets which of init's lines the console shows: 0 to 7, as the
// kernel's.
func (d *Device) loglevel(_ context.Context, a []string) error {
	n, err := strconv.Atoi(a[0])
	if err != nil || n < 0 || n > 7 {
		return fmt.Errorf("loglevel: %w: use a number from 0 to 7", mios.ErrInvalid)
	}
	return os.WriteFile(d.path("/proc/sys/kernel/printk"), []byte(a[0]), 0)
}
