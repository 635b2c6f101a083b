package shell

import (
	"fmt"
	"strconv"
	"strings"
)

// options are a command's flags: single letters, as POSIX has them.
type options map[byte]string

func (o options) has(c byte) bool { _, ok := o[c]; return ok }

// number returns an option's value as a number, or other where it is not given.
func (o options) number(c byte, other int64) (int64, error) {
	v, ok := o[c]
	if !ok {
		return other, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, usageError(fmt.Sprintf("-%c: %q is not a number", c, v))
	}
	return n, nil
}

// parseOptions splits arguments into flags and the rest. spec is getopt's:
// letters, a colon after those that take a value. What looks like a negative
// number is no flag unless the digit is one.
func parseOptions(args []string, spec string) (options, []string, error) {
	o := options{}
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			return o, args[1:], nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			break
		}
		args = args[1:]
		for i := 1; i < len(arg); i++ {
			c := arg[i]
			at := strings.IndexByte(spec, c)
			if at < 0 || c == ':' || c == '-' {
				return nil, nil, usageError("unknown option " + arg)
			}
			if at+1 == len(spec) || spec[at+1] != ':' {
				o[c] = ""
				continue
			}
			value := arg[i+1:]
			if value == "" {
				if len(args) == 0 {
					return nil, nil, usageError(fmt.Sprintf("-%c: needs a value", c))
				}
				value, args = args[0], args[1:]
			}
			o[c] = value
			break
		}
	}
	return o, args, nil
}

// parseSize reads a number of bytes with a suffix: c 1, w 2, b 512, k or K
// 1024, M, G.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	if s != "" {
		switch s[len(s)-1] {
		case 'c':
			s = s[:len(s)-1]
		case 'w':
			unit, s = 2, s[:len(s)-1]
		case 'b':
			unit, s = 512, s[:len(s)-1]
		case 'k', 'K':
			unit, s = 1<<10, s[:len(s)-1]
		case 'M':
			unit, s = 1<<20, s[:len(s)-1]
		case 'G':
			unit, s = 1<<30, s[:len(s)-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, usageError(fmt.Sprintf("%q is not a size", s))
	}
	return n * unit, nil
}

// human writes a number of bytes in three digits and a unit of 1024.
func human(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10)
	}
	f, unit := float64(n), 0
	for f >= 1024 && unit < 6 {
		f, unit = f/1024, unit+1
	}
	if f < 10 {
		return fmt.Sprintf("%.1f%c", f, " KMGTPE"[unit])
	}
	return fmt.Sprintf("%.0f%c", f, " KMGTPE"[unit])
}
