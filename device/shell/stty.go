package shell

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// stty shows and changes the terminal at its standard input: its size, and the
// modes that scripts need.
func stty(ctx context.Context, e *Env, args []string) error {
	f, ok := e.Stdin.(*os.File)
	if !ok || !isTerminal(f) {
		return fmt.Errorf("standard input is not a terminal")
	}
	fd := int(f.Fd())
	if len(args) == 0 {
		args = []string{"-a"}
	}
	for i := 0; i < len(args); i++ {
		var err error
		switch a := args[i]; a {
		case "size", "-a":
			err = showTerminal(e, fd, a == "-a")
		case "rows", "cols":
			if i++; i == len(args) {
				return usageError(a + ": needs a number")
			}
			err = resizeTerminal(fd, a, args[i])
		default:
			err = changeTerminal(fd, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func showTerminal(e *Env, fd int, all bool) error {
	w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return err
	}
	if !all {
		_, err = fmt.Fprintln(e.Stdout, w.Row, w.Col)
		return err
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "rows %d; columns %d;", w.Row, w.Col)
	for _, m := range terminalModes {
		sign := "-"
		if *m.field(t)&m.bits != 0 {
			sign = ""
		}
		fmt.Fprintf(e.Stdout, " %s%s", sign, m.name)
	}
	_, err = fmt.Fprintln(e.Stdout)
	return err
}

func resizeTerminal(fd int, what, value string) error {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return usageError(fmt.Sprintf("%s: %q is not a number up to 65535", what, value))
	}
	w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return err
	}
	if what == "rows" {
		w.Row = uint16(n)
	} else {
		w.Col = uint16(n)
	}
	return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, w)
}

// terminalModes are POSIX's names of flags.
var terminalModes = []struct {
	name  string
	bits  uint32
	field func(*unix.Termios) *uint32
}{
	{"echo", unix.ECHO, localModes}, {"icanon", unix.ICANON, localModes}, {"isig", unix.ISIG, localModes}, {"iexten", unix.IEXTEN, localModes},
	{"icrnl", unix.ICRNL, inputModes}, {"ixon", unix.IXON, inputModes},
	{"opost", unix.OPOST, outputModes}, {"onlcr", unix.ONLCR, outputModes},
}

func localModes(t *unix.Termios) *uint32  { return &t.Lflag }
func inputModes(t *unix.Termios) *uint32  { return &t.Iflag }
func outputModes(t *unix.Termios) *uint32 { return &t.Oflag }

// changeTerminal sets a mode, clears it with "-" before its name, or with raw
// and sane all of them.
func changeTerminal(fd int, arg string) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	known := false
	for _, m := range terminalModes {
		if arg == m.name || arg == "sane" || arg == "-raw" {
			*m.field(t) |= m.bits
			known = true
		}
		if arg == "-"+m.name || arg == "raw" {
			*m.field(t) &^= m.bits
			known = true
		}
	}
	if !known {
		return usageError("unknown mode " + arg)
	}
	return unix.IoctlSetTermios(fd, unix.TCSETSW, t)
}
