package logd

import (
	"fmt"
	"strings"
)

// A Format is one of logcat's, as liblog's logprint.cpp writes them.
type Format struct {
	name  string
	stamp string // layout of the time
	utc   bool
	epoch bool
}

// ParseFormat reads the argument of -v: brief, process, tag, thread, raw, time,
// threadtime or long, and modifiers behind commas: usec, year, UTC, epoch.
func ParseFormat(s string) (Format, error) {
	f := Format{name: "threadtime", stamp: "01-02 15:04:05.000"}
	micros, year := false, false
	for w := range strings.SplitSeq(s, ",") {
		switch w {
		case "brief", "process", "tag", "thread", "raw", "time", "threadtime", "long":
			f.name = w
		case "usec":
			micros = true
		case "year":
			year = true
		case "UTC", "utc":
			f.utc = true
		case "epoch":
			f.epoch = true
		default:
			return f, fmt.Errorf("format %q: use brief, process, tag, thread, raw, time, threadtime or long", w)
		}
	}
	if year {
		f.stamp = "2006-" + f.stamp
	}
	if micros {
		f.stamp += "000"
	}
	return f, nil
}

// Entry returns the entry's lines, each with its newline.
func (f Format) Entry(e Entry) string {
	if f.name == "long" {
		return fmt.Sprintf("[ %s %5d:%5d %s/%-8s ]\n%s\n\n", f.time(e), e.PID, e.TID, e.Priority, e.Tag, e.Message)
	}
	before, after := f.around(e)
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(e.Message, "\n"), "\n") {
		b.WriteString(before)
		b.WriteString(line)
		b.WriteString(after)
		b.WriteByte('\n')
	}
	return b.String()
}

// around returns what stands before and after each line.
func (f Format) around(e Entry) (before, after string) {
	switch f.name {
	case "brief":
		return fmt.Sprintf("%s/%-8s(%5d): ", e.Priority, e.Tag, e.PID), ""
	case "process":
		return fmt.Sprintf("%s(%5d) ", e.Priority, e.PID), "  (" + e.Tag + ")"
	case "tag":
		return fmt.Sprintf("%s/%-8s: ", e.Priority, e.Tag), ""
	case "thread":
		return fmt.Sprintf("%s(%5d:%5d) ", e.Priority, e.PID, e.TID), ""
	case "raw":
		return "", ""
	case "time":
		return fmt.Sprintf("%s %s/%-8s(%5d): ", f.time(e), e.Priority, e.Tag, e.PID), ""
	}
	return fmt.Sprintf("%s %5d %5d %s %-8s: ", f.time(e), e.PID, e.TID, e.Priority, e.Tag), ""
}

func (f Format) time(e Entry) string {
	t := e.Time
	if f.epoch {
		return fmt.Sprintf("%10d.%03d", t.Unix(), t.Nanosecond()/1e6)
	}
	if f.utc {
		t = t.UTC()
	}
	return t.Format(f.stamp)
}

// A Filter decides by tag and priority, by AOSP's filter specifications.
// The zero value lets all through.
type Filter struct {
	tags map[string]Priority
	all  Priority
}

// ParseFilter reads specifications such as netd:I *:W. A tag alone means
// tag:V; what no specification names is shown, or, if silent is set, is not.
func ParseFilter(specs []string, silent bool) (Filter, error) {
	f := Filter{tags: make(map[string]Priority)}
	if silent {
		f.all = Silent
	}
	for _, s := range specs {
		tag, letter, ok := strings.Cut(s, ":")
		p := Verbose
		if ok {
			i := strings.Index(letters, strings.ToUpper(letter))
			if len(letter) != 1 || i < int(Verbose) {
				return f, fmt.Errorf("filter %q: use TAG:PRIORITY with a priority of V, D, I, W, E, F or S", s)
			}
			p = Priority(i)
		}
		switch tag {
		case "":
			return f, fmt.Errorf("filter %q: no tag before the colon", s)
		case "*":
			f.all = p
		default:
			f.tags[tag] = p
		}
	}
	return f, nil
}

// Match tells whether the entry is shown.
func (f Filter) Match(e Entry) bool {
	p, ok := f.tags[e.Tag]
	if !ok {
		p = f.all
	}
	return e.Priority >= p
}
