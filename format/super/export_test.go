package super

import (
	"crypto/sha256"
	"encoding/binary"
)

// FixChecksums puts the checksums of an image file right, for fuzzing.
func FixChecksums(b []byte) {
	if len(b) < GeometrySize+headerV0 {
		return
	}
	sum := sumWithout(b[:geometryBytes], geometryChecksumOff)
	copy(b[geometryChecksumOff:], sum[:])
	m := b[GeometrySize:]
	size := int64(binary.LittleEndian.Uint32(m[8:]))
	tables := int64(binary.LittleEndian.Uint32(m[44:]))
	if size < headerV0 || size+tables > int64(len(m)) {
		return
	}
	sum = sha256.Sum256(m[size : size+tables])
	copy(m[48:], sum[:])
	sum = sumWithout(m[:size], headerChecksumOff)
	copy(m[headerChecksumOff:], sum[:])
}
