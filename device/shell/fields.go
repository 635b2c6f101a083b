package shell

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mios/internal/lazyregexp"
)

func sortLines(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "nruk:t:")
	if err != nil {
		return err
	}
	if o.has('k') || o.has('t') {
		return usageError("it sorts by the whole line")
	}
	var lines []string
	err = inputs(ctx, e, "sort", names, func(in input) error {
		return readLines(in, func(line string) error {
			lines = append(lines, line)
			return nil
		})
	})
	slices.SortStableFunc(lines, func(a, b string) int {
		c := strings.Compare(a, b)
		if o.has('n') {
			if x, y := leading(a), leading(b); x != y {
				c = -1
				if x > y {
					c = 1
				}
			}
		}
		if o.has('r') {
			return -c
		}
		return c
	})
	if o.has('u') {
		lines = slices.Compact(lines)
	}
	w := bufio.NewWriter(e.Stdout)
	for _, line := range lines {
		w.WriteString(line + "\n")
	}
	if werr := w.Flush(); werr != nil {
		return werr
	}
	return err
}

var number = lazyregexp.New(`^\s*-?[0-9]+(\.[0-9]+)?`)

// leading returns the number that a line starts with, or 0.
func leading(line string) float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(number.FindString(line)), 64)
	if err != nil {
		return 0
	}
	return f
}

func uniq(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "cdu")
	if err != nil {
		return err
	}
	last, n := "", 0
	show := func() error {
		if n == 0 || o.has('d') && n == 1 || o.has('u') && n > 1 {
			return nil
		}
		if o.has('c') {
			_, err := fmt.Fprintf(e.Stdout, "%7d %s\n", n, last)
			return err
		}
		_, err := fmt.Fprintln(e.Stdout, last)
		return err
	}
	err = inputs(ctx, e, "uniq", names, func(in input) error {
		return readLines(in, func(line string) error {
			if n > 0 && line == last {
				n++
				return nil
			}
			err := show()
			last, n = line, 1
			return err
		})
	})
	if err != nil {
		return err
	}
	return show()
}

func cut(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "c:f:d:s")
	if err != nil {
		return err
	}
	if o.has('c') == o.has('f') {
		return usageError("it takes one of -c and -f")
	}
	in, err := ranges(o['c'] + o['f'])
	if err != nil {
		return err
	}
	delimiter := "\t"
	if o.has('d') {
		delimiter = o['d']
	}
	return inputs(ctx, e, "cut", names, func(r input) error {
		return readLines(r, func(line string) error {
			sep, parts := "", strings.Split(line, "")
			if o.has('f') {
				if sep, parts = delimiter, strings.Split(line, delimiter); len(parts) == 1 {
					if o.has('s') {
						return nil
					}
					_, err := fmt.Fprintln(e.Stdout, line)
					return err
				}
			}
			var kept []string
			for i, p := range parts {
				if in(i + 1) {
					kept = append(kept, p)
				}
			}
			_, err := fmt.Fprintln(e.Stdout, strings.Join(kept, sep))
			return err
		})
	})
}

// ranges reads a list such as 1,3-5,7- and returns what says if it holds a number.
func ranges(list string) (func(int) bool, error) {
	type span struct{ from, to int }
	var spans []span
	for part := range strings.SplitSeq(list, ",") {
		from, to, dash := strings.Cut(part, "-")
		s := span{1, math.MaxInt}
		var err1, err2 error
		if from != "" {
			s.from, err1 = strconv.Atoi(from)
		}
		if !dash {
			s.to = s.from
		} else if to != "" {
			s.to, err2 = strconv.Atoi(to)
		}
		if err1 != nil || err2 != nil || part == "" || part == "-" || s.from < 1 {
			return nil, usageError(fmt.Sprintf("%q is not a list of numbers", list))
		}
		spans = append(spans, s)
	}
	return func(n int) bool {
		return slices.ContainsFunc(spans, func(s span) bool { return n >= s.from && n <= s.to })
	}, nil
}
