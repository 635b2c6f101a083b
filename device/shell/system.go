package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func systemCommands() []Command {
	return []Command{
		{"uname", "[-asnrvmo]", uname},
		{"id", "[-ugG] [-n]", id},
		{"whoami", "", func(ctx context.Context, e *Env, args []string) error { return id(ctx, e, []string{"-un"}) }},
		{"hostname", "[NAME]", hostname},
		{"date", "[-u] [-d @SECONDS] [-s TIME] [+FORMAT]", date},
		{"sleep", "SECONDS...", sleep},
		{"usleep", "MICROSECONDS", usleep},
		{"sync", "[FILE]...", syncAll},
		{"mount", "[-t TYPE] [-o OPTIONS] [DEVICE DIR]", mount},
		{"umount", "[-lf] DIR...", umount},
		{"df", "[-hk] [FILE]...", df},
		{"dmesg", "[-Cc] [-n LINES]", dmesg},
		{"lsmod", "", lsmod},
		{"nproc", "", nproc},
		{"stty", "[size | -a | rows N | cols N | [-]MODE | raw | sane]...", stty},
		{"clear", "", func(ctx context.Context, e *Env, args []string) error {
			_, err := fmt.Fprint(e.Stdout, "\x1b[H\x1b[J")
			return err
		}},
	}
}

func uname(ctx context.Context, e *Env, args []string) error {
	o, _, err := parseOptions(args, "asnrvmo")
	if err != nil {
		return err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	var parts []string
	for _, f := range []struct {
		flag  byte
		value string
	}{
		{'s', unix.ByteSliceToString(u.Sysname[:])}, {'n', unix.ByteSliceToString(u.Nodename[:])}, {'r', unix.ByteSliceToString(u.Release[:])},
		{'v', unix.ByteSliceToString(u.Version[:])}, {'m', unix.ByteSliceToString(u.Machine[:])}, {'o', "miOS"},
	} {
		if o.has(f.flag) || o.has('a') || len(o) == 0 && f.flag == 's' {
			parts = append(parts, f.value)
		}
	}
	_, err = fmt.Fprintln(e.Stdout, strings.Join(parts, " "))
	return err
}

func id(ctx context.Context, e *Env, args []string) error {
	o, _, err := parseOptions(args, "ugGn")
	if err != nil {
		return err
	}
	show := func(id int) string {
		if o.has('n') {
			return userName(uint32(id))
		}
		return strconv.Itoa(id)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	if !slices.Contains(groups, os.Getegid()) {
		groups = append([]int{os.Getegid()}, groups...)
	}
	var line string
	switch {
	case o.has('u'):
		line = show(os.Geteuid())
	case o.has('g'):
		line = show(os.Getegid())
	default:
		var list []string
		for _, g := range groups {
			if o.has('G') {
				list = append(list, show(g))
			} else {
				list = append(list, fmt.Sprintf("%d(%s)", g, userName(uint32(g))))
			}
		}
		if o.has('G') {
			line = strings.Join(list, " ")
			break
		}
		line = fmt.Sprintf("uid=%d(%s) gid=%d(%s) groups=%s", os.Geteuid(), userName(uint32(os.Geteuid())), os.Getegid(), userName(uint32(os.Getegid())), strings.Join(list, ","))
	}
	_, err = fmt.Fprintln(e.Stdout, line)
	return err
}

func hostname(ctx context.Context, e *Env, args []string) error {
	if len(args) > 0 {
		return unix.Sethostname([]byte(args[0]))
	}
	name, err := os.Hostname()
	if err == nil {
		_, err = fmt.Fprintln(e.Stdout, name)
	}
	return err
}

func date(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "ud:s:D:")
	if err != nil {
		return err
	}
	t := time.Now()
	for _, c := range []byte("ds") {
		if !o.has(c) {
			continue
		}
		if t, err = parseTime(o[c]); err != nil {
			return err
		}
	}
	if o.has('s') {
		tv := unix.NsecToTimeval(t.UnixNano())
		if err := unix.Settimeofday(&tv); err != nil {
			return fmt.Errorf("set the clock: %w", err)
		}
	}
	if o.has('u') {
		t = t.UTC()
	}
	format := "%a %b %e %H:%M:%S %Z %Y"
	if len(rest) > 0 {
		var ok bool
		if format, ok = strings.CutPrefix(rest[0], "+"); !ok {
			return usageError("set the clock with -s")
		}
	}
	_, err = fmt.Fprintln(e.Stdout, strftime(format, t))
	return err
}

func parseTime(s string) (time.Time, error) {
	if n, ok := strings.CutPrefix(s, "@"); ok {
		sec, err := strconv.ParseInt(n, 10, 64)
		if err == nil {
			return time.Unix(sec, 0), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError(fmt.Sprintf("%q is no time: write @SECONDS or YYYY-MM-DD hh:mm:ss", s))
}

// strftime formats t as C does.
func strftime(format string, t time.Time) string {
	layouts := map[byte]string{'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'j': "002", 'm': "01", 'M': "04",
		'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'N': ".000000000",
		'c': "Mon Jan _2 15:04:05 2006"}
	var s strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			s.WriteByte(format[i])
			continue
		}
		i++
		switch c := format[i]; {
		case c == 's':
			fmt.Fprint(&s, t.Unix())
		case c == 'N':
			fmt.Fprintf(&s, "%09d", t.Nanosecond())
		case c == 'n':
			s.WriteByte('\n')
		case c == 't':
			s.WriteByte('\t')
		case layouts[c] != "":
			s.WriteString(t.Format(layouts[c]))
		case c == '%':
			s.WriteByte('%')
		default:
			s.WriteString("%" + string(c))
		}
	}
	return s.String()
}

func sleep(ctx context.Context, e *Env, args []string) error {
	if len(args) == 0 {
		return usageError("")
	}
	var sum time.Duration
	for _, arg := range args {
		d, err := seconds(arg)
		if err != nil {
			return err
		}
		sum += d
	}
	return pause(ctx, sum)
}

func usleep(ctx context.Context, e *Env, args []string) error {
	if len(args) != 1 {
		return usageError("")
	}
	n, err := strconv.ParseUint(args[0], 10, 40)
	if err != nil {
		return usageError(err.Error())
	}
	return pause(ctx, time.Duration(n)*time.Microsecond)
}

func syncAll(ctx context.Context, e *Env, args []string) error {
	if len(args) == 0 {
		unix.Sync()
		return nil
	}
	return each(e, "sync", args, func(name string) error {
		f, err := os.Open(e.Path(name))
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

func dmesg(ctx context.Context, e *Env, args []string) error {
	o, _, err := parseOptions(args, "Ccrn:")
	if err != nil {
		return err
	}
	if o.has('C') {
		_, err := unix.Klogctl(unix.SYSLOG_ACTION_CLEAR, nil)
		return pathError("clear", "kernel log", err)
	}
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil {
		return pathError("read", "kernel log", err)
	}
	buf := make([]byte, size)
	action := unix.SYSLOG_ACTION_READ_ALL
	if o.has('c') {
		action = unix.SYSLOG_ACTION_READ_CLEAR
	}
	n, err := unix.Klogctl(action, buf)
	if err != nil {
		return pathError("read", "kernel log", err)
	}
	w := bufio.NewWriter(e.Stdout)
	for line := range strings.Lines(string(buf[:n])) {
		if at := strings.IndexByte(line, '>'); !o.has('r') && strings.HasPrefix(line, "<") && at > 0 {
			line = line[at+1:]
		}
		w.WriteString(line)
	}
	return w.Flush()
}

func lsmod(ctx context.Context, e *Env, args []string) error {
	b, err := os.ReadFile("/proc/modules")
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "%-24s %10s  %s\n", "Module", "Size", "Used by")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 4 {
			fmt.Fprintf(e.Stdout, "%-24s %10s  %s %s\n", f[0], f[1], f[2], strings.Trim(f[3], ",-"))
		}
	}
	return nil
}

func nproc(ctx context.Context, e *Env, args []string) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.Stdout, set.Count())
	return err
}
