package bootctl

import (
	"fmt"
	"strings"
)

// A Message is AOSP's bootloader_message: what the running system asks of the
// bootloader and of recovery. Its commands are AOSP's, such as
// "boot-recovery" and "bootonce-bootloader".
type Message struct {
	Command  string // at most 32 bytes
	Status   string // at most 32 bytes
	Recovery string // at most 768 bytes; lines, the first is "recovery"
	Stage    string // at most 32 bytes; "#/#"
}

// fields lists the layout of a message: sizes in bytes, in order.
func (m *Message) fields() []field {
	return []field{{"command", 32, &m.Command}, {"status", 32, &m.Status}, {"recovery", 768, &m.Recovery}, {"stage", 32, &m.Stage}}
}

type field struct {
	name string
	size int
	s    *string
}

// ParseMessage reads the message at the start of b, which has at least
// [MessageSize] bytes. What it accepts, [Message.Bytes] gives back. Errors are
// [*FormatError].
func ParseMessage(b []byte) (*Message, error) {
	if len(b) < MessageSize {
		return nil, bad(0, "%d bytes, want %d", len(b), MessageSize)
	}
	m, off := new(Message), 0
	for _, f := range m.fields() {
		s, ok := cString(b[off : off+f.size])
		if !ok {
			return nil, bad(off, "%s has bytes after its end", f.name)
		}
		*f.s = s
		off += f.size
	}
	if !allZero(b[off:MessageSize]) {
		return nil, bad(off, "reserved bytes are not zero")
	}
	return m, nil
}

// Bytes returns the [MessageSize] bytes of the message.
func (m *Message) Bytes() ([]byte, error) {
	b, off := make([]byte, MessageSize), 0
	for _, f := range m.fields() {
		if len(*f.s) > f.size || strings.IndexByte(*f.s, 0) >= 0 {
			return nil, fmt.Errorf("bootctl: %s of %d bytes: it must have at most %d, none of them zero", f.name, len(*f.s), f.size)
		}
		copy(b[off:], *f.s)
		off += f.size
	}
	return b, nil
}
