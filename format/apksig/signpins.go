package apksig

import (
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Entries with which a package asks the platform to keep parts of it in memory
// (AOSP tools/apksig, Hints): patterns of entries' names, and what signing makes
// of them, the places of these entries.
const (
	pinsName    = "assets/com.android.hints.pins.txt"
	pinListName = "pinlist.meta"
	maxPins     = 1 << 20
)

// A pin is a pattern of names, and which bytes of such an entry are meant.
type pin struct {
	name         *regexp.Regexp
	offset, size int64
}

// parsePins reads lines of a pattern and, perhaps, of a start and an end.
func parsePins(b []byte) ([]pin, error) {
	var pins []pin
	for i, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Split(strings.TrimRight(line, " "), " ")
		p := pin{size: math.MaxInt64}
		if len(fields) != 1 && len(fields) != 3 {
			return nil, fmt.Errorf("line %d: want a pattern, or a pattern, a start and an end", i+1)
		}
		var err error
		if p.name, err = regexp.Compile("^(?:" + fields[0] + ")$"); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if len(fields) == 3 {
			start, err1 := strconv.ParseInt(fields[1], 10, 64)
			end, err2 := strconv.ParseInt(fields[2], 10, 64)
			if err1 != nil || err2 != nil || start < 0 || end < start {
				return nil, fmt.Errorf("line %d: from %q to %q: want two numbers of bytes", i+1, fields[1], fields[2])
			}
			p.offset, p.size = start, end-start
		}
		pins = append(pins, p)
	}
	return pins, nil
}

// A pinList gathers the places that pins mean.
type pinList struct {
	pins []pin
	b    []byte
}

func (l *pinList) place(start, end int64) {
	clamp := func(n int64) uint32 { return uint32(max(0, min(n, math.MaxInt32))) }
	l.b = binary.BigEndian.AppendUint32(l.b, clamp(start))
	l.b = binary.BigEndian.AppendUint32(l.b, clamp(end-start))
}

// add adds what is meant of the entry whose header is at header and whose data
// goes from data to end.
func (l *pinList) add(name string, header, data, end int64) {
	matched := false
	for _, p := range l.pins {
		if !p.name.MatchString(name) || end-data < p.offset {
			continue
		}
		matched = true
		start := data + p.offset
		l.place(start, start+min(end-start, p.size))
	}
	if matched {
		l.place(header, data)
	}
}
