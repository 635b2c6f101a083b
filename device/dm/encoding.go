package dm

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Numbers of linux/dm-ioctl.h.
const (
	cmdCreate      = 3
	cmdRemove      = 4
	cmdSuspend     = 6
	cmdLoad        = 9
	cmdTableStatus = 12

	flagReadOnly   = 1 << 0
	flagBufferFull = 1 << 8

	ioctlType   = 0xfd
	nameLen     = 128
	uuidLen     = 129
	headerSize  = 312
	specSize    = 40
	maxTypeName = 16
)

var cmdNames = map[uintptr]string{cmdCreate: "create", cmdRemove: "remove", cmdSuspend: "resume", cmdLoad: "load table of"}

// header is struct dm_ioctl.
type header struct {
	Version     [3]uint32
	DataSize    uint32 // of all, with the header
	DataStart   uint32
	TargetCount uint32
	OpenCount   int32
	Flags       uint32
	EventNr     uint32
	_           uint32
	Dev         uint64
	Name        [nameLen]byte
	UUID        [uuidLen]byte
	_           [7]byte
}

// spec is struct dm_target_spec.
type spec struct {
	Start, Length uint64
	Status        int32
	Next          uint32 // bytes to the next spec
	Type          [maxTypeName]byte
}

// ioctlNumber is _IOWR(0xfd, cmd, struct dm_ioctl), the same on amd64 and arm64.
func ioctlNumber(cmd uintptr) uintptr {
	const readWrite = 3
	return readWrite<<30 | headerSize<<16 | ioctlType<<8 | cmd
}

// encode returns the buffer of an ioctl, with room for an answer of at least
// room bytes.
func encode(name string, flags uint32, table []Target, room int) ([]byte, error) {
	if name == "" || len(name) >= nameLen {
		return nil, fmt.Errorf("device-mapper: name %q: want 1 to %d bytes", name, nameLen-1)
	}
	var specs []byte
	for _, t := range table {
		if len(t.Type) >= maxTypeName {
			return nil, fmt.Errorf("device-mapper: target type %q: too long", t.Type)
		}
		params := append([]byte(t.Params), 0)
		params = append(params, make([]byte, -len(params)&7)...) // aligns the next spec
		s := spec{Start: t.Start, Length: t.Length, Next: uint32(specSize + len(params))}
		copy(s.Type[:], t.Type)
		specs = mustAppend(specs, s)
		specs = append(specs, params...)
	}
	h := header{
		Version: [3]uint32{4, 0, 0}, DataSize: uint32(headerSize + max(len(specs), room)), DataStart: headerSize,
		TargetCount: uint32(len(table)), Flags: flags,
	}
	copy(h.Name[:], name)
	b := append(mustAppend(nil, h), specs...)
	return append(b, make([]byte, int(h.DataSize)-len(b))...), nil
}

// mustAppend appends a value of fixed size, which cannot fail.
func mustAppend(b []byte, v any) []byte {
	b, err := binary.Append(b, binary.NativeEndian, v)
	if err != nil {
		panic(err)
	}
	return b
}

// decodeStatus returns the texts in the answer to a status command.
func decodeStatus(b []byte) ([]string, error) {
	var h header
	if _, err := binary.Decode(b, binary.NativeEndian, &h); err != nil {
		return nil, err
	}
	if h.Flags&flagBufferFull != 0 || int64(h.DataStart) > int64(len(b)) {
		return nil, fmt.Errorf("device-mapper: status: the answer is larger than %d bytes", len(b))
	}
	b = b[h.DataStart:]
	var texts []string
	for off := uint32(0); len(texts) < int(h.TargetCount); {
		var s spec
		if int64(off) > int64(len(b)) {
			return nil, fmt.Errorf("device-mapper: status: target at %d of %d bytes", off, len(b))
		}
		if _, err := binary.Decode(b[off:], binary.NativeEndian, &s); err != nil {
			return nil, fmt.Errorf("device-mapper: status: %w", err)
		}
		text, _, _ := bytes.Cut(b[off+specSize:], []byte{0})
		texts = append(texts, string(text))
		off = s.Next // from the first spec's start
	}
	return texts, nil
}
