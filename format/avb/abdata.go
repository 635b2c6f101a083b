package avb

import (
	"encoding/binary"
	"hash/crc32"
)

// ABDataOffset is where a misc partition holds an [ABData], in bytes.
const ABDataOffset = 2048

// ABData is the A/B metadata of libavb_ab (AvbABData, version 1.0 of
// avb_ab_flow.h), for loaders that use it in the place of AOSP's boot control
// block: slot "_a", then "_b".
type ABData [2]ABSlot

// An ABSlot is the state of one slot (AvbABSlotData).
type ABSlot struct {
	Priority       uint8 // 0 to 15; 0 is never chosen
	TriesRemaining uint8 // 0 to 7
	SuccessfulBoot bool
}

const abMagic = "\x00AB0"

type abLayout struct {
	Magic        [4]byte
	Major, Minor uint8
	_            [2]byte
	Slots        [2]struct {
		Priority, Tries, Successful uint8
		_                           uint8
	}
	_   [12]byte
	CRC uint32
}

// ParseABData reads the metadata at the start of b. Errors are
// [*FormatError].
func ParseABData(b []byte) (*ABData, error) {
	var l abLayout
	n, err := binary.Decode(b, binary.BigEndian, &l)
	if err != nil {
		return nil, bad(0, "A/B metadata: %d bytes left, want %d", len(b), binary.Size(l))
	}
	switch sum := crc32.ChecksumIEEE(b[:n-4]); {
	case string(l.Magic[:]) != abMagic:
		return nil, bad(0, "A/B metadata: magic is %q, want %q", l.Magic[:], abMagic)
	case l.Major != 1 || l.Minor != 0:
		return nil, bad(4, "A/B metadata: version %d.%d, want 1.0", l.Major, l.Minor)
	case l.CRC != sum:
		return nil, bad(int64(n)-4, "A/B metadata: checksum is %#x, want %#x", l.CRC, sum)
	}
	var d ABData
	for i, s := range l.Slots {
		d[i] = ABSlot{s.Priority, s.Tries, s.Successful != 0}
	}
	return &d, nil
}

// Bytes returns the encoded metadata.
func (d *ABData) Bytes() []byte {
	l := abLayout{Major: 1}
	copy(l.Magic[:], abMagic)
	for i, s := range d {
		l.Slots[i].Priority, l.Slots[i].Tries = s.Priority, s.TriesRemaining
		if s.SuccessfulBoot {
			l.Slots[i].Successful = 1
		}
	}
	b, _ := binary.Append(nil, binary.BigEndian, l) // cannot fail: all fields are of fixed size
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4]))
	return b
}
