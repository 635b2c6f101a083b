// Package bootrecord keeps why slots were refused where the running system
// can read it: in the vendor space of the misc partition, as docs/device.md
// lays it out. It is information for people, never a basis for trust.
package bootrecord

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
)

// Where the record stands in misc, in bytes.
const (
	Offset = 4096
	Size   = 4096
)

const (
	headerSize  = 8 // length and CRC-32 of the JSON, little-endian
	maxRefusals = 8
	maxReason   = 400 // bytes of one reason; the rest is cut off
)

// A Refusal says that a slot was not booted, or did not stay.
type Refusal struct {
	Slot      string    `json:"slot"`                // "_b"
	Partition string    `json:"partition,omitempty"` // "boot_b"; empty if it is about none
	Reason    string    `json:"reason"`
	Time      time.Time `json:"time"` // by the clock of the device, which may be wrong
}

// A Record is the list of the newest refusals, newest last.
type Record struct {
	Refusals []Refusal `json:"refusals"`
}

// Read reads the record from misc. A record that is not there or not whole is
// an empty one; an error is misc's own.
func Read(misc io.ReaderAt) (Record, error) {
	b := make([]byte, Size)
	if _, err := misc.ReadAt(b, Offset); err != nil && !errors.Is(err, io.EOF) {
		return Record{}, fmt.Errorf("read boot record: %w", err)
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > Size-headerSize {
		return Record{}, nil
	}
	text := b[headerSize : headerSize+n]
	if crc32.ChecksumIEEE(text) != binary.LittleEndian.Uint32(b[4:]) {
		return Record{}, nil
	}
	var r Record
	if json.Unmarshal(text, &r) != nil {
		return Record{}, nil
	}
	return r, nil
}

// A File is the misc partition.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Add puts a refusal at the record's end, and drops the oldest ones that do
// not fit. It is durable when Add returns. A cut meanwhile may leave an empty
// record.
func Add(misc File, refusal Refusal) error {
	r, err := Read(misc)
	if err != nil {
		return err
	}
	if len(refusal.Reason) > maxReason {
		refusal.Reason = strings.ToValidUTF8(refusal.Reason[:maxReason], "")
	}
	r.Refusals = append(r.Refusals, refusal)
	r.Refusals = r.Refusals[max(0, len(r.Refusals)-maxRefusals):]
	b, err := r.encode()
	if err != nil {
		return err
	}
	if _, err := misc.WriteAt(b, Offset); err != nil {
		return fmt.Errorf("write boot record: %w", err)
	}
	return misc.Sync()
}

// encode returns the [Size] bytes of the record.
func (r Record) encode() ([]byte, error) {
	for {
		text, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encode boot record: %w", err)
		}
		if len(text) > Size-headerSize && len(r.Refusals) > 0 {
			r.Refusals = r.Refusals[1:]
			continue
		}
		b := make([]byte, Size)
		binary.LittleEndian.PutUint32(b, uint32(len(text)))
		binary.LittleEndian.PutUint32(b[4:], crc32.ChecksumIEEE(text))
		copy(b[headerSize:], text)
		return b, nil
	}
}
