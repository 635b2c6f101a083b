// Package adb reads and writes the wire formats of the Android Debug Bridge:
// transport messages between a host and a device, the banner that both sides
// introduce themselves with, the packets of the shell and sync services, and
// the RSA keys that a device authorises a host by.
//
// It holds no connection and no service: that is device/adbd. USB and TLS
// (wireless debugging) are not covered.
//
// Defined by AOSP packages/modules/adb: protocol.txt, adb.h, SYNC.TXT,
// file_sync_protocol.h, shell_protocol.h, and libcrypto_utils' android_pubkey.
package adb

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A Command says what a message is for: four ASCII characters, the first in
// the lowest byte.
type Command uint32

// The commands of the transport.
const (
	CNXN Command = 0x4e584e43 // connect: version, maxdata, banner
	AUTH Command = 0x48545541 // type, 0, data
	OPEN Command = 0x4e45504f // local id, 0, destination and NUL
	OKAY Command = 0x59414b4f // local id, remote id
	WRTE Command = 0x45545257 // local id, remote id, data
	CLSE Command = 0x45534c43 // local id, remote id
	STLS Command = 0x534c5453 // type, version: TLS instead of AUTH
	SYNC Command = 0x434e5953 // obsolete, never sent
)

// String returns the four characters, or the number where they are not letters.
func (c Command) String() string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(c))
	for _, x := range b {
		if x < 'A' || x > 'Z' {
			return fmt.Sprintf("%#08x", uint32(c))
		}
	}
	return string(b)
}

// Versions of the transport, as Arg0 of CNXN.
const (
	VersionMin          = 0x01000000 // messages carry a checksum
	VersionSkipChecksum = 0x01000001 // the checksum field is ignored and sent as 0
)

// Sizes of payloads, in bytes.
const (
	MaxPayloadV1 = 4096    // what every peer takes before CNXN has said more
	MaxPayload   = 1 << 20 // what current peers offer
)

// Types of an AUTH message, as Arg0.
const (
	AuthToken        = 1 // device to host: 20 random bytes
	AuthSignature    = 2 // host to device: the signed token
	AuthRSAPublicKey = 3 // host to device: a key to be shown to a person
)

// HeaderSize is the size of a message's header in bytes.
const HeaderSize = 24

// A Message is one unit of the transport.
type Message struct {
	Command    Command
	Arg0, Arg1 uint32
	Payload    []byte
}

// String is for logs: it does not show the payload.
func (m Message) String() string {
	return fmt.Sprintf("%v(%#x, %#x, %d bytes)", m.Command, m.Arg0, m.Arg1, len(m.Payload))
}

// A FormatError says what is wrong with what a peer sent. Off is the offset in
// bytes from the start of the message, packet or key.
type FormatError struct {
	Off int64
	Msg string
}

func (e *FormatError) Error() string { return fmt.Sprintf("adb: offset %#x: %s", e.Off, e.Msg) }

func formatErr(off int64, format string, args ...any) error {
	return &FormatError{off, fmt.Sprintf(format, args...)}
}

// A Reader reads messages from R. The zero value of its other fields is right
// for the first message of a connection.
type Reader struct {
	R io.Reader
	// Max is the largest payload accepted, in bytes; 0 means MaxPayloadV1.
	// It is what this side offered in CNXN, not what the peer did.
	Max uint32
	// SkipChecksum is set once both sides speak VersionSkipChecksum.
	SkipChecksum bool

	header [HeaderSize]byte
}

// Next reads a message. Its payload is appended to buf[:0], which is grown when
// it is too small, so a caller that hands the same buffer back allocates once.
// It returns io.EOF only between two messages, and a *FormatError for a message
// that the protocol forbids: the connection cannot go on after that.
func (r *Reader) Next(buf []byte) (Message, error) {
	if _, err := io.ReadFull(r.R, r.header[:]); err != nil {
		return Message{}, err
	}
	h := r.header[:]
	m := Message{
		Command: Command(binary.LittleEndian.Uint32(h[0:])),
		Arg0:    binary.LittleEndian.Uint32(h[4:]),
		Arg1:    binary.LittleEndian.Uint32(h[8:]),
	}
	size, sum, magic := binary.LittleEndian.Uint32(h[12:]), binary.LittleEndian.Uint32(h[16:]), binary.LittleEndian.Uint32(h[20:])
	if magic != ^uint32(m.Command) {
		return Message{}, formatErr(20, "magic %#08x of command %v, want %#08x", magic, m.Command, ^uint32(m.Command))
	}
	limit := r.Max
	if limit == 0 {
		limit = MaxPayloadV1
	}
	if size > limit {
		return Message{}, formatErr(12, "payload of %d bytes, at most %d", size, limit)
	}
	var err error
	if m.Payload, err = readExactly(r.R, buf[:0], int(size)); err != nil {
		return Message{}, noEOF(err)
	}
	// A CNXN says itself whether its sender sums.
	skip := r.SkipChecksum || m.Command == CNXN && m.Arg0 >= VersionSkipChecksum
	if got := Checksum(m.Payload); !skip && sum != got {
		return Message{}, formatErr(16, "checksum %#x, payload sums to %#x", sum, got)
	}
	return m, nil
}

// readExactly appends n bytes of r to buf, growing it as bytes arrive and not
// by what a header claims.
func readExactly(r io.Reader, buf []byte, n int) ([]byte, error) {
	const step = 64 << 10
	for n > 0 {
		part := min(n, max(step, cap(buf)-len(buf)))
		at := len(buf)
		if cap(buf)-at < part {
			buf = append(buf, make([]byte, part)...)
		} else {
			buf = buf[:at+part]
		}
		if got, err := io.ReadFull(r, buf[at:]); err != nil {
			return buf[:at+got], err
		}
		n -= part
	}
	return buf, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Checksum is the sum of the payload's bytes: what the field that AOSP calls
// data_check, or data_crc32, holds.
func Checksum(payload []byte) uint32 {
	var n uint32
	for _, b := range payload {
		n += uint32(b)
	}
	return n
}

// AppendHeader appends the header of a message to b. With skipChecksum the
// checksum field is 0.
func (m Message) AppendHeader(b []byte, skipChecksum bool) []byte {
	var sum uint32
	if !skipChecksum {
		sum = Checksum(m.Payload)
	}
	for _, v := range [...]uint32{uint32(m.Command), m.Arg0, m.Arg1, uint32(len(m.Payload)), sum, ^uint32(m.Command)} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
