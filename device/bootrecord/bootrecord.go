// Package bootrecord keeps why slots were refused where the running system
// can read it, and how often a slot was booted since it was last healthy: in
// the vendor space of the misc partition, as docs/device.md lays it out. It is
// never a basis for trust: whoever loses it loses sentences for people, and a
// slot that does not come up is tried a few times more.
package bootrecord

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
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
	maxCounts   = 4   // slots that attempts are counted of, as many as misc's control block has
)

// A Refusal says that a slot was not booted, or did not stay.
type Refusal struct {
	Slot      string    `json:"slot"`                // "_b"
	Partition string    `json:"partition,omitempty"` // "boot_b"; empty if it is about none
	Reason    string    `json:"reason"`
	Time      time.Time `json:"time"` // by the clock of the device, which may be wrong
}

// A Record is the list of the newest refusals, newest last, and by slot
// suffix how often a slot that is marked successful was booted since it was
// last healthy.
type Record struct {
	Refusals []Refusal      `json:"refusals"`
	Attempts map[string]int `json:"attempts,omitempty"`
}

// Repeats is how often within [RepeatTime] a slot that is marked successful may
// fail for the same reason: then it is given up, however healthy it looks in
// between.
const (
	Repeats    = 3
	RepeatTime = time.Hour
)

// Repeated returns the newest refusal of a slot if it stands there [Repeats]
// times within [RepeatTime], and whether it does. One that names a partition
// does not count: what is damaged can be written again.
func (r Record) Repeated(slot string) (Refusal, bool) {
	var newest Refusal
	n := 0
	for _, f := range slices.Backward(r.Refusals) {
		if f.Slot != slot {
			continue
		}
		if n == 0 {
			newest = f
		}
		if f.Partition != "" || f.Reason != newest.Reason || newest.Time.Sub(f.Time).Abs() > RepeatTime {
			break
		}
		n++
	}
	return newest, n >= Repeats
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
	if json.Unmarshal(text, &r) != nil || len(r.Attempts) > maxCounts {
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
	return r.write(misc)
}

// SetAttempts sets how often a slot was booted since it was last healthy, as
// the loader does before it starts the slot. It is durable when SetAttempts
// returns, and nothing is written if the record says so already. A cut
// meanwhile may leave an empty record.
func SetAttempts(misc File, slot string, n int) error {
	r, err := Read(misc)
	if err != nil {
		return err
	}
	if r.Attempts[slot] == n {
		return nil
	}
	delete(r.Attempts, slot)
	if n != 0 {
		if len(r.Attempts) == maxCounts {
			return fmt.Errorf("boot record: attempts of more than %d slots", maxCounts)
		}
		if r.Attempts == nil {
			r.Attempts = map[string]int{}
		}
		r.Attempts[slot] = n
	}
	return r.write(misc)
}

// Healthy says that the slot ("_a") came up and its health checks passed: it
// forgets how often the slot was booted. It is durable when Healthy returns.
func Healthy(misc File, slot string) error { return SetAttempts(misc, slot, 0) }

func (r Record) write(misc File) error {
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
