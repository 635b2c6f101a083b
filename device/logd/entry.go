// Package logd is the system's log: a ring of bounded size that init holds,
// the server that gives it out and takes entries from other processes, the
// clients of both, and logcat's formats and filters. What goes over the
// sockets is what AOSP's logd and liblog send (log/log_read.h,
// private/android_logger.h).
package logd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"mios"
)

// The sockets, as in AOSP: readers connect to one (seqpacket), writers send
// to the other (datagrams).
const (
	ReadSocket  = "/dev/socket/logdr"
	WriteSocket = "/dev/socket/logdw"
)

// MaxMessage is the most bytes of an entry's message; longer ones are cut.
const MaxMessage = 4000

// maxTag is the most bytes of a tag.
const maxTag = 60

// A Priority is Android's, from Verbose to Fatal.
type Priority uint8

// The priorities.
const (
	Verbose Priority = iota + 2
	Debug
	Info
	Warn
	Error
	Fatal
	Silent // in filters only
)

const letters = "??VDIWEFS"

// String returns the letter that logcat shows.
func (p Priority) String() string {
	if int(p) >= len(letters) {
		return "?"
	}
	return letters[p : p+1]
}

// An ID is one of AOSP's log buffers. Here all are in one ring, in order.
type ID uint8

// The buffers that are in use: services and apps, init, the kernel.
const (
	Main   ID = 0
	System ID = 3
	Crash  ID = 4
	Kernel ID = 7
)

var idNames = []string{"main", "radio", "events", "system", "crash", "stats", "security", "kernel"}

// String returns the buffer's name.
func (id ID) String() string {
	if int(id) >= len(idNames) {
		return fmt.Sprintf("log %d", uint8(id))
	}
	return idNames[id]
}

// ParseID returns the buffer with the name.
func ParseID(name string) (ID, bool) {
	for i, n := range idNames {
		if n == name {
			return ID(i), true
		}
	}
	return 0, false
}

// An Entry is one line, or several that belong together.
type Entry struct {
	Time     time.Time
	PID, TID int
	UID      uint32
	ID       ID
	Priority Priority
	Tag      string
	Message  string
}

// headerSize is that of AOSP's logger_entry; a writer's header is shorter.
const (
	headerSize      = 28
	writeHeaderSize = 11
)

// appendPayload writes priority, tag and message.
func (e *Entry) appendPayload(b []byte) []byte {
	b = append(b, byte(e.Priority))
	b = append(b, clip(e.Tag, maxTag)...)
	b = append(b, 0)
	b = append(b, clip(e.Message, MaxMessage)...)
	return append(b, 0)
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return s
}

// append writes the entry as struct logger_entry with its payload.
func (e *Entry) append(b []byte) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = le.AppendUint16(b, 0) // of the payload, below
	b = le.AppendUint16(b, headerSize)
	b = le.AppendUint32(b, uint32(e.PID))
	b = le.AppendUint32(b, uint32(e.TID))
	b = le.AppendUint32(b, uint32(e.Time.Unix()))
	b = le.AppendUint32(b, uint32(e.Time.Nanosecond()))
	b = le.AppendUint32(b, uint32(e.ID))
	b = le.AppendUint32(b, e.UID)
	b = e.appendPayload(b)
	le.PutUint16(b[start:], uint16(len(b)-start-headerSize))
	return b
}

// parseEntry is the inverse of append, for one whole packet.
func parseEntry(b []byte) (Entry, error) {
	le := binary.LittleEndian
	if len(b) < headerSize {
		return Entry{}, fmt.Errorf("log entry: %w: %d bytes", mios.ErrInvalid, len(b))
	}
	size, header := int(le.Uint16(b)), int(le.Uint16(b[2:]))
	if header < headerSize || header+size != len(b) {
		return Entry{}, fmt.Errorf("log entry: %w: header of %d and payload of %d bytes in a packet of %d", mios.ErrInvalid,
			header, size, len(b))
	}
	e := Entry{
		PID:  int(int32(le.Uint32(b[4:]))),
		TID:  int(int32(le.Uint32(b[8:]))),
		Time: time.Unix(int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:]))),
		ID:   ID(le.Uint32(b[20:])),
		UID:  le.Uint32(b[24:]),
	}
	return e, e.parsePayload(b[header:])
}

// parsePayload reads priority, tag and message.
func (e *Entry) parsePayload(b []byte) error {
	if len(b) < 2 {
		return fmt.Errorf("log entry: %w: payload of %d bytes", mios.ErrInvalid, len(b))
	}
	tag, msg, ok := bytes.Cut(b[1:], []byte{0})
	if !ok || len(tag) > maxTag {
		return fmt.Errorf("log entry: %w: tag without an end", mios.ErrInvalid)
	}
	e.Priority = Priority(b[0])
	e.Tag = string(tag)
	e.Message = clip(string(bytes.TrimRight(msg, "\x00\n")), MaxMessage)
	return nil
}

// appendWrite writes the entry as a writer sends it.
func (e *Entry) appendWrite(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, byte(e.ID))
	b = le.AppendUint16(b, uint16(e.TID))
	b = le.AppendUint32(b, uint32(e.Time.Unix()))
	b = le.AppendUint32(b, uint32(e.Time.Nanosecond()))
	return e.appendPayload(b)
}

// parseWrite is the inverse of appendWrite. Who wrote, the socket tells.
func parseWrite(b []byte) (Entry, error) {
	le := binary.LittleEndian
	if len(b) < writeHeaderSize {
		return Entry{}, fmt.Errorf("log datagram: %w: %d bytes", mios.ErrInvalid, len(b))
	}
	e := Entry{
		ID:   ID(b[0]),
		TID:  int(le.Uint16(b[1:])),
		Time: time.Unix(int64(le.Uint32(b[3:])), int64(le.Uint32(b[7:]))),
	}
	if int(e.ID) >= len(idNames) || e.ID == Kernel {
		return Entry{}, fmt.Errorf("log datagram: %w: buffer %d", mios.ErrInvalid, e.ID)
	}
	return e, e.parsePayload(b[writeHeaderSize:])
}
