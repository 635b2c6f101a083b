package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mios/device/bootrecord"
	"mios/device/logd"
	"mios/device/property"
)

// deviceCommands talk to the other parts of the device.
func deviceCommands() []Command {
	return []Command{
		{"getprop", "[NAME [DEFAULT]]", getprop},
		{"setprop", "NAME VALUE", setprop},
		{"waitforprop", "NAME [VALUE]", waitforprop},
		{"start", "[SERVICE]...", control("start")},
		{"stop", "[SERVICE]...", control("stop")},
		{"reboot", "[-p] [TARGET]", power("reboot")},
		{"shutdown", "", power("shutdown")},
		{"poweroff", "", power("shutdown")},
		{"log", "[-p PRIORITY] [-t TAG] [MESSAGE]...", log},
		{"bootrecord", "[MISC]", bootRecord},
		{"bugreport", "", bugreport},
		{"bugreportz", "[-v | -p]", bugreportz},
	}
}

// socket is where a service listens; ANDROID_SOCKET_DIR takes the place of
// /dev/socket, as in AOSP.
func socket(e *Env, name string) string {
	return e.Path(e.Getenv("ANDROID_SOCKET_DIR", "/dev/socket") + "/" + name)
}

func properties(e *Env) property.Client { return property.Client{Path: socket(e, "property_service")} }

func getprop(ctx context.Context, e *Env, args []string) error {
	if len(args) > 2 {
		return usageError("")
	}
	if len(args) > 0 {
		v, err := properties(e).Get(ctx, args[0])
		if err != nil {
			return err
		}
		if v == "" && len(args) == 2 {
			v = args[1]
		}
		_, err = fmt.Fprintln(e.Stdout, v)
		return err
	}
	list, err := properties(e).List(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		if _, err := fmt.Fprintf(e.Stdout, "[%s]: [%s]\n", p.Name, p.Value); err != nil {
			return err
		}
	}
	return nil
}

func setprop(ctx context.Context, e *Env, args []string) error {
	if len(args) != 2 {
		return usageError("")
	}
	return properties(e).Set(ctx, args[0], args[1])
}

func waitforprop(ctx context.Context, e *Env, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return usageError("")
	}
	_, err := properties(e).Wait(ctx, args[0], strings.Join(args[1:], ""))
	return err
}

// control starts or stops services through init: ctl.start, ctl.stop.
func control(verb string) func(context.Context, *Env, []string) error {
	return func(ctx context.Context, e *Env, args []string) error {
		if len(args) == 0 {
			return usageError("")
		}
		return each(e, verb, args, func(name string) error { return properties(e).Set(ctx, "ctl."+verb, name) })
	}
}

// power asks init to reboot or shut down, and waits for it. Who asks for
// anything that it does not know, such as --help, keeps their device running.
func power(verb string) func(context.Context, *Env, []string) error {
	return func(ctx context.Context, e *Env, args []string) error {
		value := verb
		for i, arg := range args {
			switch {
			case arg == "-p":
				value = "shutdown"
			case strings.HasPrefix(arg, "-") || verb != "reboot":
				return usageError("there is no " + arg)
			case i < len(args)-1:
				return usageError("unexpected " + args[i+1])
			default:
				value += "," + arg
			}
		}
		return properties(e).Set(ctx, "sys.powerctl", value)
	}
}

// log writes to the system's log, as liblog does.
func log(ctx context.Context, e *Env, args []string) error {
	o, words, err := parseOptions(args, "p:t:")
	if err != nil {
		return err
	}
	entry := logd.Entry{ID: logd.Main, Priority: logd.Info, Tag: "log", Message: strings.Join(words, " ")}
	if o.has('t') {
		entry.Tag = o['t']
	}
	if o.has('p') {
		at := strings.Index("vdiwef", strings.ToLower(o['p']))
		if at < 0 || len(o['p']) != 1 {
			return usageError("-p: one of v d i w e f")
		}
		entry.Priority = logd.Verbose + logd.Priority(at)
	}
	if len(words) == 0 {
		b, err := io.ReadAll(io.LimitReader(e.Stdin, logd.MaxMessage))
		if err != nil {
			return err
		}
		entry.Message = strings.TrimRight(string(b), "\n")
	}
	w, err := logd.Dial(socket(e, "logdw"))
	if err != nil {
		return fmt.Errorf("system log: %w", err)
	}
	return errors.Join(w.Write(entry), w.Close())
}

// bootRecord prints why slots were refused, as the loader and init wrote it
// into misc.
func bootRecord(ctx context.Context, e *Env, args []string) error {
	if len(args) > 1 {
		return usageError("")
	}
	f, err := os.Open(e.Path(append(args, "/dev/block/by-name/misc")[0]))
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := bootrecord.Read(f)
	if err != nil {
		return err
	}
	out := json.NewEncoder(e.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(r)
}
