package initrc

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Infinity is Linux's RLIM_INFINITY.
const Infinity = math.MaxUint64

// resources are Linux's names of what can be limited, by number.
var resources = []string{"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
	"sigpending", "msgqueue", "nice", "rtprio", "rttime"}

// An Rlimit is a limit of setrlimit(2): the resource's number on Linux, the
// soft and the hard limit, of which -1 and unlimited are [Infinity].
type Rlimit struct {
	Resource int
	Cur, Max uint64
}

// ParseRlimit reads RESOURCE SOFT HARD as AOSP's rlimit_parser.cpp does: the
// resource is a number, a name such as cpu, or a name behind RLIM_ or RLIMIT_.
func ParseRlimit(resource, soft, hard string) (Rlimit, error) {
	var l Rlimit
	n, err := strconv.Atoi(resource)
	switch {
	case err == nil && n < 0:
		return l, fmt.Errorf("resource '%d' below the minimum resource value '0'", n)
	case err == nil && n >= len(resources):
		return l, fmt.Errorf("resource '%d' over the maximum resource value '%d'", n, len(resources))
	case err != nil:
		name, ok := strings.CutPrefix(resource, "RLIM_")
		if !ok {
			name, ok = strings.CutPrefix(resource, "RLIMIT_")
		}
		if ok {
			name = strings.ToLower(name)
		}
		if n = slices.Index(resources, name); n < 0 {
			return l, fmt.Errorf("could not parse resource '%s'", resource)
		}
	}
	l.Resource = n
	if l.Cur, err = parseLimit(soft); err != nil {
		return l, fmt.Errorf("could not parse soft limit '%s'", soft)
	}
	if l.Max, err = parseLimit(hard); err != nil {
		return l, fmt.Errorf("could not parse hard limit '%s'", hard)
	}
	return l, nil
}

func parseLimit(s string) (uint64, error) {
	if s == "-1" || s == "unlimited" {
		return Infinity, nil
	}
	return strconv.ParseUint(s, 10, 64)
}
