package shell

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func processCommands() []Command {
	return []Command{
		{"ps", "[-Aefo] [-p PID]", ps},
		{"kill", "[-SIGNAL] PID... | -l", kill},
		{"pidof", "NAME...", pidof},
		{"pgrep", "[-f] PATTERN", pgrep},
		{"top", "[-b] [-n COUNT] [-d SECONDS] [-m LINES]", top},
		{"free", "[-bkmh]", free},
		{"uptime", "", uptime},
		{"timeout", "SECONDS COMMAND [ARGUMENT]...", timeout},
		{"nohup", "COMMAND [ARGUMENT]...", setsid},
		{"setsid", "COMMAND [ARGUMENT]...", setsid},
		{"env", "[-i] [NAME=VALUE]... [COMMAND [ARGUMENT]...]", env},
		{"printenv", "[NAME]...", printenv},
	}
}

// A proc is a process, as /proc/PID tells.
type proc struct {
	pid, ppid   int
	uid         uint32
	state       byte
	ticks       uint64 // of CPU: user and system, USER_HZ
	virt, rss   uint64 // bytes
	start       uint64 // ticks after the kernel's start
	name, args  string
	nice, count int // threads
}

const userHz = 100 // the kernel's USER_HZ on all architectures of Android

// readProc returns a process. It fails when that is gone.
func readProc(pid int) (proc, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return proc{}, err
	}
	// The name is in parentheses and may hold any of them.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return proc{}, fmt.Errorf("%s/stat: no name", dir)
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 22 {
		return proc{}, fmt.Errorf("%s/stat: %d fields", dir, len(f))
	}
	n := func(i int) uint64 { v, _ := strconv.ParseInt(f[i], 10, 64); return uint64(v) }
	p := proc{pid: pid, name: string(b[open+1 : end]), state: f[0][0], ppid: int(n(1)), ticks: n(11) + n(12), nice: int(n(16)), count: int(n(17)),
		start: n(19), virt: n(20), rss: n(21) * uint64(os.Getpagesize())}
	if fi, err := os.Stat(dir); err == nil {
		p.uid = fi.Sys().(*syscall.Stat_t).Uid
	}
	if b, err := os.ReadFile(dir + "/cmdline"); err == nil {
		p.args = strings.TrimSpace(string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
	}
	if p.args == "" {
		p.args = "[" + p.name + "]"
	}
	return p, nil
}

// procs returns all processes, by number.
func procs() ([]proc, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []proc
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil {
			continue
		}
		if p, err := readProc(pid); err == nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b proc) int { return cmp.Compare(a.pid, b.pid) })
	return list, nil
}

func ps(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "Aeflwo:p:")
	if err != nil {
		return err
	}
	if len(rest) > 0 && rest[0] != "aux" {
		return usageError("")
	}
	columns := []string{"user", "pid", "ppid", "vsz", "rss", "s", "name"}
	if o.has('f') {
		columns = []string{"user", "pid", "ppid", "time", "rss", "s", "args"}
	}
	if o.has('o') {
		columns = strings.FieldsFunc(strings.ToLower(o['o']), func(r rune) bool { return r == ',' || r == ' ' })
	}
	list, err := procs()
	if err != nil {
		return err
	}
	if o.has('p') {
		want := strings.Split(o['p'], ",")
		list = slices.DeleteFunc(list, func(p proc) bool { return !slices.Contains(want, strconv.Itoa(p.pid)) })
		if len(list) == 0 {
			return exitStatus(1)
		}
	}
	return printProcs(e, columns, list)
}

// procColumns are what ps can show: the title's width, negative for left.
var procColumns = map[string]struct {
	title string
	width int
	value func(p proc) string
}{
	"user":    {"USER", -10, func(p proc) string { return userName(p.uid) }},
	"uid":     {"UID", 6, func(p proc) string { return fmt.Sprint(p.uid) }},
	"pid":     {"PID", 6, func(p proc) string { return fmt.Sprint(p.pid) }},
	"ppid":    {"PPID", 6, func(p proc) string { return fmt.Sprint(p.ppid) }},
	"vsz":     {"VSZ", 9, func(p proc) string { return fmt.Sprint(p.virt >> 10) }},
	"rss":     {"RSS", 7, func(p proc) string { return fmt.Sprint(p.rss >> 10) }},
	"s":       {"S", 1, func(p proc) string { return string(p.state) }},
	"stat":    {"STAT", 4, func(p proc) string { return string(p.state) }},
	"ni":      {"NI", 3, func(p proc) string { return fmt.Sprint(p.nice) }},
	"nlwp":    {"NLWP", 4, func(p proc) string { return fmt.Sprint(p.count) }},
	"time":    {"TIME", 8, func(p proc) string { return clock(time.Duration(p.ticks) * time.Second / userHz) }},
	"name":    {"NAME", 0, func(p proc) string { return procName(p) }},
	"comm":    {"COMMAND", 0, func(p proc) string { return p.name }},
	"args":    {"CMD", 0, func(p proc) string { return p.args }},
	"cmd":     {"CMD", 0, func(p proc) string { return p.args }},
	"cmdline": {"CMDLINE", 0, func(p proc) string { return p.args }},
}

// procName is the program's name, with its first argument where it is miosd
// that is called by its own.
func procName(p proc) string {
	name, rest, _ := strings.Cut(p.args, " ")
	if !strings.HasPrefix(name, "[") {
		name = path.Base(name)
	}
	if name == "miosd" {
		applet, _, _ := strings.Cut(rest, " ")
		name += " " + applet
	}
	return name
}

func clock(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

func printProcs(e *Env, columns []string, list []proc) error {
	w := bufio.NewWriter(e.Stdout)
	line := func(value func(column string) string) {
		for i, c := range columns {
			if i > 0 {
				w.WriteByte(' ')
			}
			width := procColumns[c].width
			if i == len(columns)-1 && width < 0 {
				width = 0
			}
			fmt.Fprintf(w, "%*s", width, value(c))
		}
		w.WriteByte('\n')
	}
	for i, c := range columns {
		name, title, titled := strings.Cut(c, "=")
		col, ok := procColumns[name]
		if !ok {
			return usageError("no column " + name)
		}
		columns[i] = name
		if titled && title == "" && len(columns) == 1 { // -o pid=
			for _, p := range list {
				fmt.Fprintln(w, col.value(p))
			}
			return w.Flush()
		}
	}
	line(func(c string) string { return procColumns[c].title })
	for _, p := range list {
		line(func(c string) string { return procColumns[c].value(p) })
	}
	return w.Flush()
}

func kill(ctx context.Context, e *Env, args []string) error {
	sig := syscall.SIGTERM
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		name := args[0][1:]
		args = args[1:]
		switch {
		case name == "l":
			for i := 1; i < 32; i++ {
				fmt.Fprintf(e.Stdout, "%2d %s\n", i, strings.TrimPrefix(unix.SignalName(syscall.Signal(i)), "SIG"))
			}
			return nil
		case name == "s" && len(args) > 0:
			name, args = args[0], args[1:]
		case name == "-":
			name = "TERM"
		}
		if n, err := strconv.ParseUint(name, 10, 7); err == nil && n <= 64 {
			sig = syscall.Signal(n)
		} else if sig = unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); sig == 0 {
			return usageError("no signal " + name)
		}
	}
	if len(args) == 0 {
		return usageError("")
	}
	return each(e, "kill", args, func(arg string) error {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return fmt.Errorf("%q is not a process number", arg)
		}
		return pathError("kill", arg, syscall.Kill(pid, sig))
	})
}

func pidof(ctx context.Context, e *Env, args []string) error {
	return matching(e, func(p proc) bool {
		return slices.Contains(args, procName(p)) || slices.Contains(args, p.name) || slices.Contains(args, strings.TrimPrefix(procName(p), "miosd "))
	}, " ")
}

func pgrep(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "fl")
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError("")
	}
	re, err := compilePattern(options{'E': ""}, rest[0])
	if err != nil {
		return err
	}
	return matching(e, func(p proc) bool {
		if o.has('f') {
			return re.MatchString(p.args)
		}
		return re.MatchString(procName(p))
	}, "\n")
}

// matching prints the numbers of the processes that match but our own.
func matching(e *Env, match func(proc) bool, between string) error {
	list, err := procs()
	if err != nil {
		return err
	}
	var pids []string
	for _, p := range list {
		if p.pid != os.Getpid() && match(p) {
			pids = append(pids, strconv.Itoa(p.pid))
		}
	}
	if len(pids) == 0 {
		return exitStatus(1)
	}
	_, err = fmt.Fprintln(e.Stdout, strings.Join(pids, between))
	return err
}

func top(ctx context.Context, e *Env, args []string) error {
	o, _, err := parseOptions(args, "bn:d:m:qs:")
	if err != nil {
		return err
	}
	terminal, _ := e.Stdout.(*os.File)
	interactive := !o.has('b') && terminal != nil && term.IsTerminal(int(terminal.Fd()))
	count, err1 := o.number('n', map[bool]int64{true: 1 << 62, false: 1}[interactive])
	seconds, err2 := o.number('d', 3)
	most, err3 := o.number('m', 1<<31)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var before map[int]uint64
	last := time.Now()
	if !interactive { // the first figures span a moment, not the time since boot
		before, _ = ticks()
		if err := pause(ctx, time.Second/2); err != nil {
			return err
		}
	}
	for n := int64(0); n < count; n++ {
		if n > 0 {
			if err := pause(ctx, time.Duration(max(seconds, 1))*time.Second); err != nil {
				return err
			}
		}
		lines := most
		if interactive {
			if _, h, err := term.GetSize(int(terminal.Fd())); err == nil {
				lines = min(most, int64(max(h-5, 1)))
			}
			fmt.Fprint(e.Stdout, "\x1b[H\x1b[J")
		}
		now := time.Now()
		if before, err = topScreen(e, before, now.Sub(last), lines); err != nil {
			return err
		}
		last = now
	}
	return nil
}

func ticks() (map[int]uint64, []proc) {
	list, err := procs()
	if err != nil {
		return nil, nil
	}
	m := make(map[int]uint64, len(list))
	for _, p := range list {
		m[p.pid] = p.ticks
	}
	return m, list
}

// topScreen prints one screen and returns the ticks that the next one is
// relative to.
func topScreen(e *Env, before map[int]uint64, span time.Duration, lines int64) (map[int]uint64, error) {
	now, list := ticks()
	used := func(p proc) uint64 {
		if was, ok := before[p.pid]; ok && was <= p.ticks {
			return p.ticks - was
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b proc) int { return cmp.Or(cmp.Compare(used(b), used(a)), cmp.Compare(b.rss, a.rss)) })
	mem, err := meminfo()
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriter(e.Stdout)
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(w, "Tasks: %d total, load %s\n", len(list), strings.Join(strings.Fields(string(load))[:min(3, len(strings.Fields(string(load))))], " "))
	fmt.Fprintf(w, "Mem: %s total, %s free, %s available, %s cached\n\n", human(mem["MemTotal"]), human(mem["MemFree"]), human(mem["MemAvailable"]), human(mem["Cached"]))
	fmt.Fprintf(w, "%6s %-10s %6s %6s %s %5s %9s %s\n", "PID", "USER", "VIRT", "RES", "S", "%CPU", "TIME", "ARGS")
	for i, p := range list {
		if int64(i) >= lines {
			break
		}
		cpu := float64(used(p)) * 100 / userHz / max(span.Seconds(), 0.01)
		fmt.Fprintf(w, "%6d %-10s %6s %6s %c %5.1f %9s %s\n", p.pid, userName(p.uid), human(p.virt), human(p.rss), p.state, cpu,
			clock(time.Duration(p.ticks)*time.Second/userHz), cutTo(p.args, 80))
	}
	return now, w.Flush()
}

func cutTo(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
