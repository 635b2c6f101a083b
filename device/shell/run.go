package shell

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// timeout runs a command for at most some seconds.
func timeout(ctx context.Context, e *Env, args []string) error {
	if len(args) < 2 {
		return usageError("")
	}
	d, err := seconds(args[0])
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	status := runCommand(limited, e, args[1:], nil)
	if limited.Err() != nil && ctx.Err() == nil {
		return exitStatus(124)
	}
	return statusError(status)
}

func statusError(status int) error {
	if status == 0 {
		return nil
	}
	return exitStatus(status)
}

// setsid runs a command in a session of its own: no terminal and no host that
// goes away ends it.
func setsid(ctx context.Context, e *Env, args []string) error {
	if len(args) == 0 {
		return usageError("")
	}
	return statusError(runCommand(ctx, e, args, &syscall.SysProcAttr{Setsid: true}))
}

func env(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "iu:")
	if err != nil {
		return err
	}
	with := *e
	with.Vars = append([]string(nil), e.Vars...)
	if o.has('i') {
		with.Vars = nil
	}
	if name := o['u']; name != "" {
		with.Vars = without(with.Vars, name)
	}
	for len(rest) > 0 && strings.Contains(rest[0], "=") {
		name, _, _ := strings.Cut(rest[0], "=")
		with.Vars = append(without(with.Vars, name), rest[0])
		rest = rest[1:]
	}
	if len(rest) > 0 {
		return statusError(runCommand(ctx, &with, rest, nil))
	}
	for _, v := range with.Vars {
		if _, err := fmt.Fprintln(e.Stdout, v); err != nil {
			return err
		}
	}
	return nil
}

func without(vars []string, name string) []string {
	var kept []string
	for _, v := range vars {
		if !strings.HasPrefix(v, name+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}

func printenv(ctx context.Context, e *Env, args []string) error {
	if len(args) == 0 {
		return env(ctx, e, nil)
	}
	return each(e, "printenv", args, func(name string) error {
		v, ok := e.Lookup(name)
		if !ok {
			return exitStatus(1)
		}
		_, err := fmt.Fprintln(e.Stdout, v)
		return err
	})
}

// seconds reads a time: a number of seconds, or with a unit s, m, h, d.
func seconds(s string) (time.Duration, error) {
	unit := time.Second
	for suffix, u := range map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = n, u
			break
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0) || f > 1e9 {
		return 0, usageError(fmt.Sprintf("%q is not a time in seconds", s))
	}
	return time.Duration(f * float64(unit)), nil
}

// meminfo returns /proc/meminfo in bytes.
func meminfo() (map[string]uint64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	m := map[string]uint64{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseUint(strings.Fields(value + " 0")[0], 10, 54)
		m[name] = n << 10
	}
	return m, nil
}

func free(ctx context.Context, e *Env, args []string) error {
	o, _, err := parseOptions(args, "bkmh")
	if err != nil {
		return err
	}
	m, err := meminfo()
	if err != nil {
		return err
	}
	show := func(n uint64) string {
		switch {
		case o.has('h'):
			return human(n)
		case o.has('b'):
			return strconv.FormatUint(n, 10)
		case o.has('m'):
			return strconv.FormatUint(n>>20, 10)
		}
		return strconv.FormatUint(n>>10, 10)
	}
	cache := m["Buffers"] + m["Cached"] + m["SReclaimable"]
	used := m["MemTotal"] - min(m["MemTotal"], m["MemFree"]+cache)
	fmt.Fprintf(e.Stdout, "%-6s %12s %12s %12s %12s %12s %12s\n", "", "total", "used", "free", "shared", "buff/cache", "available")
	fmt.Fprintf(e.Stdout, "%-6s %12s %12s %12s %12s %12s %12s\n", "Mem:", show(m["MemTotal"]), show(used), show(m["MemFree"]), show(m["Shmem"]), show(cache), show(m["MemAvailable"]))
	_, err = fmt.Fprintf(e.Stdout, "%-6s %12s %12s %12s\n", "Swap:", show(m["SwapTotal"]), show(m["SwapTotal"]-m["SwapFree"]), show(m["SwapFree"]))
	return err
}

func uptime(ctx context.Context, e *Env, args []string) error {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(strings.Fields(string(b) + " 0")[0], 64)
	if err != nil {
		return err
	}
	up := time.Duration(f * float64(time.Second)).Truncate(time.Second)
	_, err = fmt.Fprintf(e.Stdout, " %s up %v, load average: %s\n", time.Now().Format("15:04:05"), up, strings.Join(strings.Fields(string(load) + " - - -")[:3], ", "))
	return err
}
