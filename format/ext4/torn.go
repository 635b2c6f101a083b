package ext4

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"mios"
	"mios/format/fsimage"
	"mios/internal/readat"
)

// lasting are the fields of a superblock that no mount changes: from, to.
var lasting = [][2]int{
	{0x00, 0x0c}, {0x14, 0x2c}, {0x4c, 0x5a}, {0x5c, 0x60}, {0x68, 0x78}, {0xe0, 0xe4}, {0xec, 0xfc}, {0xfe, 0x100}, {0x150, 0x154}, {0x174, 0x176}, {0x270, 0x274},
}

// MendTorn gives the superblock its checksum again, if a power cut between the
// two sectors that it lies in has left one of them as it was: a kernel that
// mounts writes it in its place, and what it changes of the file system's state
// is in the first of them, the checksum in the second. All that no mount changes
// must be as in the first copy. The error wraps [mios.ErrInvalid] if something
// else is wrong, and then nothing is written.
func MendTorn(f fsimage.File) error {
	le := binary.LittleEndian
	sb, second := make([]byte, superSize), make([]byte, superSize)
	if err := readat.Full(f, sb, superOffset); err != nil {
		return err
	}
	shift, perGroup := le.Uint32(sb[0x18:]), le.Uint32(sb[0x20:])
	if le.Uint16(sb[0x38:]) != Magic || shift > 6 || le.Uint32(sb[0x64:])&roMetadataSum == 0 || sb[0x175] != 1 {
		return fmt.Errorf("superblock: none with a checksum: %w", mios.ErrInvalid)
	}
	if superSum(sb) == le.Uint32(sb[superSumAt:]) {
		return fmt.Errorf("superblock: its checksum is right: %w", mios.ErrInvalid)
	}
	if err := readat.Full(f, second, (int64(le.Uint32(sb[0x14:]))+int64(perGroup))<<(10+shift)); err != nil {
		return fmt.Errorf("copy of the superblock: %w", err)
	}
	if le.Uint16(second[0x38:]) != Magic || superSum(second) != le.Uint32(second[superSumAt:]) {
		return fmt.Errorf("copy of the superblock: there is none: %w", mios.ErrInvalid)
	}
	for _, r := range lasting {
		if !bytes.Equal(sb[r[0]:r[1]], second[r[0]:r[1]]) {
			return fmt.Errorf("superblock: bytes %#x to %#x are not those of its copy: %w", r[0], r[1], mios.ErrInvalid)
		}
	}
	incompat, ro := le.Uint32(sb[0x60:])^le.Uint32(second[0x60:]), le.Uint32(sb[0x64:])^le.Uint32(second[0x64:])
	if incompat&^incompatRecover != 0 || ro&^roOrphans != 0 { // which a mount changes
		return fmt.Errorf("superblock: its features are not those of its copy: %w", mios.ErrInvalid)
	}
	_, err := f.WriteAt(le.AppendUint32(nil, superSum(sb)), superOffset+superSumAt)
	return err
}
