package initrc

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An option is a line below service: how many arguments it takes, and what it
// does to the service. Without a function it is kept among the ignored.
type option struct {
	min, max int
	set      func(s *Service, args []string) error
}

// options are those of AOSP's service_parser.cpp.
var options = map[string]option{
	"capabilities": {0, many, (*Service).setCapabilities},
	"class":        {1, many, func(s *Service, a []string) error { s.Classes = a; return nil }},
	"console":      {0, 1, (*Service).setConsole},
	"critical":     {0, 2, (*Service).setCritical},
	"disabled":     {0, 0, func(s *Service, _ []string) error { s.Disabled = true; return nil }},
	"file":         {2, 2, (*Service).addFile},
	"gentle_kill":  {0, 0, func(s *Service, _ []string) error { s.GentleKill = true; return nil }},
	"group":        {1, 13, func(s *Service, a []string) error { s.Group, s.Supplementary = a[0], a[1:]; return nil }},
	"namespace":    {1, 2, (*Service).addNamespaces},
	"oneshot":      {0, 0, func(s *Service, _ []string) error { s.Oneshot = true; return nil }},
	"onrestart":    {1, many, nil}, // kept by (*Service).option, which knows the line
	"oom_score_adjust": {1, 1, func(s *Service, a []string) error {
		n, err := within(a[0], -1000, 1000)
		if err == nil {
			s.OOMScoreAdjust = &n
		}
		return err
	}},
	"override":          {0, 0, func(s *Service, _ []string) error { s.Override = true; return nil }},
	"priority":          {1, 1, func(s *Service, a []string) error { return number(&s.Priority, a[0], -20, 19) }},
	"reboot_on_failure": {1, 1, (*Service).setRebootOnFailure},
	"restart_period":    {1, 1, func(s *Service, a []string) error { return seconds(&s.RestartPeriod, a[0]) }},
	"rlimit":            {3, 3, (*Service).addRlimit},
	"setenv":            {2, 2, (*Service).addEnv},
	"shutdown":          {1, 1, (*Service).setShutdown},
	"socket":            {3, 6, (*Service).addSocket},
	"stdio_to_kmsg":     {0, 0, func(s *Service, _ []string) error { s.StdioToKmsg = true; return nil }},
	"timeout_period":    {1, 1, func(s *Service, a []string) error { return seconds(&s.TimeoutPeriod, a[0]) }},
	"user":              {1, 1, func(s *Service, a []string) error { s.User = a[0]; return nil }},
	"writepid":          {1, many, func(s *Service, a []string) error { s.WritePID = append(s.WritePID, a...); return nil }},

	"enter_namespace":            {2, 2, nil},
	"interface":                  {2, 2, nil},
	"ioprio":                     {2, 2, nil},
	"keycodes":                   {1, many, nil},
	"memcg.limit_in_bytes":       {1, 1, nil},
	"memcg.limit_percent":        {1, 1, nil},
	"memcg.limit_property":       {1, 1, nil},
	"memcg.soft_limit_in_bytes":  {1, 1, nil},
	"memcg.swappiness":           {1, 1, nil},
	"seclabel":                   {1, 1, nil},
	"shared_kallsyms":            {0, 0, nil},
	"sigstop":                    {0, 0, nil},
	"task_profiles":              {1, many, nil},
	"updatable":                  {0, 0, nil},
	"vendor_extension_namespace": {1, many, nil},
}

// capabilities are Linux's, by number.
var capabilities = []string{"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE"}

// Capability returns the number of a capability that is named in upper case
// without CAP_, or -1.
func Capability(name string) int { return slices.Index(capabilities, name) }

// option applies a line to the service.
func (s *Service) option(c Command) error {
	name, args := c.Args[0], c.Args[1:]
	o, ok := options[name]
	if !ok {
		return errors.New("no such option of a service")
	}
	if len(args) < o.min || len(args) > o.max {
		if o.max == many {
			return fmt.Errorf("at least %d arguments needed, %d given", o.min, len(args))
		}
		return fmt.Errorf("%d to %d arguments needed, %d given", o.min, o.max, len(args))
	}
	switch {
	case name == "onrestart":
		s.OnRestart = append(s.OnRestart, Command{args, c.Line})
	case o.set == nil:
		s.Ignored = append(s.Ignored, c)
	default:
		if err := o.set(s, args); err != nil {
			return err
		}
	}
	s.Options = append(s.Options, c)
	return nil
}

func (s *Service) setCapabilities(args []string) error {
	var list []string
	for _, a := range args {
		name := strings.TrimPrefix(strings.ToUpper(a), "CAP_")
		if Capability(name) < 0 {
			return fmt.Errorf("no such capability: %s", a)
		}
		list = append(list, name)
	}
	s.Capabilities, s.HasCapabilities = list, true
	return nil
}

func (s *Service) setConsole(args []string) error {
	s.Console, s.HasConsole = "console", true
	if len(args) == 1 {
		if strings.Contains(args[0], "..") {
			return fmt.Errorf("%q is not a name below /dev", args[0])
		}
		s.Console = strings.TrimPrefix(args[0], "/dev/")
	}
	return nil
}

func (s *Service) setCritical(args []string) error {
	window, target := s.CriticalWindow, s.CriticalTarget
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		switch {
		case key == "window":
			n, err := within(value, 0, 1<<20)
			if err != nil {
				return err
			}
			window = time.Duration(n) * time.Minute
		case key == "target" && value != "":
			target = value
		default:
			return fmt.Errorf("%q is neither window=MINUTES nor target=NAME", a)
		}
	}
	s.Critical, s.CriticalWindow, s.CriticalTarget = true, window, target
	return nil
}

func (s *Service) addFile(args []string) error {
	if !slices.Contains([]string{"r", "w", "rw"}, args[1]) {
		return fmt.Errorf("mode %q: use r, w or rw", args[1])
	}
	if !strings.HasPrefix(args[0], "/") || strings.Contains(args[0], "..") {
		return fmt.Errorf("%q is not an absolute path", args[0])
	}
	s.Files = append(s.Files, File{args[0], args[1]})
	return nil
}

func (s *Service) addNamespaces(args []string) error {
	for _, a := range args {
		if !slices.Contains([]string{"pid", "mnt", "net", "uts"}, a) {
			return fmt.Errorf("%q: use pid, mnt, net or uts", a)
		}
	}
	s.Namespaces = append(s.Namespaces, args...)
	return nil
}

func (s *Service) setRebootOnFailure(args []string) error {
	if !strings.HasPrefix(args[0], "reboot") && !strings.HasPrefix(args[0], "shutdown") {
		return fmt.Errorf("%q: use reboot or shutdown, as for sys.powerctl", args[0])
	}
	s.RebootOnFailure = args[0]
	return nil
}

func (s *Service) addRlimit(args []string) error {
	l, err := ParseRlimit(args[0], args[1], args[2])
	if err == nil {
		s.Rlimits = append(s.Rlimits, l)
	}
	return err
}

func (s *Service) addEnv(args []string) error {
	if args[0] == "" || strings.Contains(args[0], "=") {
		return fmt.Errorf("%q is not the name of a variable", args[0])
	}
	s.Env = append(s.Env, Variable{args[0], args[1]})
	return nil
}

func (s *Service) setShutdown(args []string) error {
	if args[0] != "critical" {
		return fmt.Errorf("%q: only critical is known", args[0])
	}
	s.ShutdownLast = true
	return nil
}

// addSocket reads NAME TYPE MODE [USER [GROUP [SECLABEL]]], where the type may
// have +passcred and +listen behind it.
func (s *Service) addSocket(args []string) error {
	k := Socket{Name: args[0]}
	if k.Name == "" || strings.ContainsAny(k.Name, "/=") || strings.HasPrefix(k.Name, ".") {
		return fmt.Errorf("%q is not the name of a socket", k.Name)
	}
	words := strings.Split(args[1], "+")
	k.Type = words[0]
	if !slices.Contains([]string{"stream", "dgram", "seqpacket"}, k.Type) {
		return fmt.Errorf("type %q: use stream, dgram or seqpacket", k.Type)
	}
	for _, w := range words[1:] {
		switch w {
		case "passcred":
			k.Passcred = true
		case "listen":
			k.Listen = true
		default:
			return fmt.Errorf("%q: only passcred and listen may follow the type", w)
		}
	}
	mode, err := strconv.ParseUint(args[2], 8, 32)
	if err != nil || mode > 0o777 {
		return fmt.Errorf("mode %q: use an octal number up to 777", args[2])
	}
	k.Mode = fs.FileMode(mode)
	if len(args) > 3 {
		k.User = args[3]
	}
	if len(args) > 4 {
		k.Group = args[4]
	}
	if slices.ContainsFunc(s.Sockets, func(o Socket) bool { return o.Name == k.Name }) {
		return fmt.Errorf("several sockets called %s", k.Name)
	}
	s.Sockets = append(s.Sockets, k)
	return nil
}

// within reads a number between two bounds, both included.
func within(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q: use a number from %d to %d", s, low, high)
	}
	return n, nil
}

// number sets n to a number between two bounds.
func number(n *int, s string, low, high int) error {
	v, err := within(s, low, high)
	if err == nil {
		*n = v
	}
	return err
}

// seconds sets d to a positive number of seconds.
func seconds(d *time.Duration, s string) error {
	n, err := within(s, 1, 1<<30)
	if err == nil {
		*d = time.Duration(n) * time.Second
	}
	return err
}
