package logd

import (
	"bytes"
	"strconv"
	"strings"
)

// Lines is an [io.Writer] that calls Emit for each line, without its end. A
// line that is longer than [MaxMessage] comes in parts. It is not for use by
// several goroutines.
type Lines struct {
	Emit func(line string)
	part []byte
}

// Write implements [io.Writer]; it never returns an error.
func (l *Lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		text, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			rest = nil
		}
		for len(l.part)+len(text) > MaxMessage {
			fit := MaxMessage - len(l.part)
			l.emit(append(l.part, text[:fit]...))
			text = text[fit:]
		}
		l.part = append(l.part, text...)
		if whole {
			l.emit(l.part)
		}
		b = rest
	}
	return n, nil
}

// Flush emits what has come since the last end of a line.
func (l *Lines) Flush() {
	if len(l.part) > 0 {
		l.emit(l.part)
	}
}

func (l *Lines) emit(line []byte) {
	l.part = l.part[:0]
	if line = bytes.TrimRight(line, "\r"); len(line) > 0 {
		l.Emit(string(line))
	}
}

// ParseLine makes a priority and a message of a line that a service wrote.
// It knows the text that log/slog writes, with and without a handler of its
// own, and Go's panics; any other line is of priority [Info].
func ParseLine(line string) (Priority, string) {
	if rest, ok := strings.CutPrefix(line, "time="); ok {
		if _, rest, ok = strings.Cut(rest, " "); ok {
			if p, msg, ok := slogText(rest); ok {
				return p, msg
			}
		}
	}
	if p, msg, ok := slogText(line); ok {
		return p, msg
	}
	if rest := trimStamp(line); rest != line {
		word, msg, _ := strings.Cut(rest, " ")
		if p, ok := level(word); ok {
			return p, msg
		}
		return Info, rest
	}
	if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
		return Fatal, line
	}
	return Info, line
}

// slogText reads level=LEVEL msg=MESSAGE and attributes.
func slogText(line string) (Priority, string, bool) {
	rest, ok := strings.CutPrefix(line, "level=")
	if !ok {
		return 0, "", false
	}
	word, rest, _ := strings.Cut(rest, " ")
	p, ok := level(word)
	if !ok {
		return 0, "", false
	}
	quoted, ok := strings.CutPrefix(rest, "msg=")
	if !ok {
		return p, rest, true
	}
	if q, err := strconv.QuotedPrefix(quoted); err == nil {
		if msg, err := strconv.Unquote(q); err == nil {
			return p, msg + quoted[len(q):], true
		}
	}
	return p, quoted, true
}

// level reads slog's name of a level, such as INFO or WARN+2.
func level(word string) (Priority, bool) {
	base, more := word, 0
	if i := strings.IndexAny(word, "+-"); i > 0 {
		n, err := strconv.Atoi(word[i:])
		if err != nil {
			return 0, false
		}
		base, more = word[:i], n
	}
	switch base {
	case "DEBUG":
		if more < 0 {
			return Verbose, true
		}
		return Debug, true
	case "INFO":
		return Info, true
	case "WARN":
		return Warn, true
	case "ERROR":
		if more >= 4 {
			return Fatal, true
		}
		return Error, true
	}
	return 0, false
}

// trimStamp takes away what package log puts before a line:
// 2009/11/10 23:00:00, perhaps with microseconds.
func trimStamp(line string) string {
	const form = "0000/00/00 00:00:00"
	if len(line) <= len(form) {
		return line
	}
	for i := range len(form) {
		digit := '0' <= line[i] && line[i] <= '9'
		if form[i] == '0' && !digit || form[i] != '0' && line[i] != form[i] {
			return line
		}
	}
	rest := strings.TrimLeft(line[len(form):], ".0123456789")
	return strings.TrimPrefix(rest, " ")
}
