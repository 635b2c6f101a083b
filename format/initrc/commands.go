package initrc

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// arity is how many arguments a command takes.
type arity struct{ min, max int }

const many = math.MaxInt

// commands are the commands of AOSP's builtins.cpp that a device of base core
// has, and those that it reads and leaves out (see [Ignored]).
var commands = map[string]arity{
	"bootchart": {1, 1}, "chmod": {2, 2}, "chown": {2, 3}, "class_reset": {1, 1}, "class_restart": {1, 2},
	"class_start": {1, 1}, "class_stop": {1, 1}, "copy": {2, 2}, "copy_per_line": {2, 2}, "domainname": {1, 1},
	"enable": {1, 1}, "exec": {1, many}, "exec_background": {1, many}, "exec_start": {1, 1}, "export": {2, 2},
	"hostname": {1, 1}, "ifup": {1, 1}, "init_user0": {0, 0}, "insmod": {1, many}, "installkey": {1, 1},
	"interface_restart": {1, 1}, "interface_start": {1, 1}, "interface_stop": {1, 1}, "load_exports": {1, 1},
	"load_persist_props": {0, 0}, "load_system_props": {0, 0}, "loglevel": {1, 1}, "mark_post_data": {0, 0},
	"mkdir": {1, 6}, "mount": {3, many}, "mount_all": {0, many}, "perform_apex_config": {0, 1}, "readahead": {1, 2},
	"restart": {1, 2}, "restorecon": {1, many}, "restorecon_recursive": {1, many}, "rm": {1, 1}, "rmdir": {1, 1},
	"setprop": {2, 2}, "setrlimit": {3, 3}, "start": {1, 1}, "stop": {1, 1}, "swapon_all": {0, 1},
	"symlink": {2, 2}, "sysclktz": {1, 1}, "trigger": {1, 1}, "umount": {1, 1}, "umount_all": {0, 1},
	"update_linker_config": {0, 0}, "verity_update_state": {0, 0}, "wait": {1, 2}, "wait_for_prop": {2, 2},
	"write": {2, 2},
}

// ignored are the commands that mean nothing without SELinux, APEX, a linker
// configuration, file encryption or binder.
var ignored = map[string]bool{
	"bootchart": true, "domainname": true, "init_user0": true, "installkey": true, "interface_restart": true,
	"interface_start": true, "interface_stop": true, "load_system_props": true, "mark_post_data": true,
	"perform_apex_config": true, "readahead": true, "restorecon": true, "restorecon_recursive": true,
	"swapon_all": true, "sysclktz": true, "update_linker_config": true, "verity_update_state": true,
}

// Commands returns the names of all commands, in byte order.
func Commands() []string { return slices.Sorted(maps.Keys(commands)) }

// Ignored tells whether init reads the command and does nothing, because what
// it works on is not part of a device of base core.
func Ignored(command string) bool { return ignored[command] }

// CheckCommand tells whether init has the command and takes so many
// arguments.
func CheckCommand(c Command) error {
	a, ok := commands[c.Args[0]]
	n := len(c.Args) - 1
	switch {
	case !ok:
		return fmt.Errorf("no such command: %s", c.Args[0])
	case n < a.min && a.max == many:
		return fmt.Errorf("%s: at least %d arguments needed, %d given", c.Args[0], a.min, n)
	case n < a.min || n > a.max:
		return fmt.Errorf("%s: %d to %d arguments needed, %d given", c.Args[0], a.min, a.max, n)
	}
	return nil
}

// Check checks all commands of the script, those of onrestart included. The
// error joins [*FormatError]s.
func (s *Script) Check() error {
	var errs []error
	check := func(file string, list []Command) {
		for _, c := range list {
			if err := CheckCommand(c); err != nil {
				errs = append(errs, &FormatError{file, c.Line, err.Error()})
			}
		}
	}
	for _, a := range s.Actions {
		check(a.File, a.Commands)
	}
	for _, v := range s.Services {
		check(v.File, v.OnRestart)
	}
	return errors.Join(errs...)
}
