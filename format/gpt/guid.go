package gpt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// A GUID is an identifier as it stands on the disk: its first three fields
// little-endian.
type GUID [16]byte

// LinuxData is the type of a partition with Linux data,
// 0FC63DAF-8483-4772-8E79-3D69D8477DE4.
var LinuxData = GUID{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}

// ParseGUID reads the usual form, XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX.
func ParseGUID(s string) (GUID, error) {
	p := strings.Split(s, "-")
	if len(p) != 5 || len(p[0]) != 8 || len(p[1]) != 4 || len(p[2]) != 4 || len(p[3]) != 4 || len(p[4]) != 12 {
		return GUID{}, fmt.Errorf("gpt: GUID %q: want XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX", s)
	}
	b, err := hex.DecodeString(strings.Join(p, ""))
	if err != nil {
		return GUID{}, fmt.Errorf("gpt: GUID %q: %v", s, err)
	}
	return swap(GUID(b)), nil
}

// String returns the usual form in upper case.
func (g GUID) String() string {
	b := swap(g)
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// swap turns a GUID from its order on the disk into that of its text, and back.
func swap(g GUID) GUID {
	le, be := binary.LittleEndian, binary.BigEndian
	be.PutUint32(g[:], le.Uint32(g[:]))
	be.PutUint16(g[4:], le.Uint16(g[4:]))
	be.PutUint16(g[6:], le.Uint16(g[6:]))
	return g
}

// derive returns the GUID of what under seed: version 8 of RFC 9562, the bits
// of a SHA-256.
func derive(seed, what string) GUID {
	h := sha256.Sum256([]byte(seed + "\x00" + what))
	g := GUID(h[:16])
	g[6] = g[6]&0x0f | 0x80
	g[8] = g[8]&0x3f | 0x80
	return swap(g)
}
