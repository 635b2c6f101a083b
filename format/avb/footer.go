package avb

import (
	"bytes"
	"encoding/binary"
	"io"

	"mios/internal/readat"
)

// A Footer stands at the very end of a partition and says where its vbmeta
// image is (AvbFooter, version 1.0).
type Footer struct {
	OriginalImageSize uint64 // bytes, before anything was appended
	VBMetaOffset      uint64 // bytes from the partition's start
	VBMetaSize        uint64 // bytes
}

const footerMagic = "AVBf"

type footerLayout struct {
	Magic        [4]byte
	Major, Minor uint32
	Footer       Footer
	Reserved     [28]byte
}

// ParseFooter reads the footer that is the FooterSize bytes of b. Errors are
// [*FormatError].
func ParseFooter(b []byte) (*Footer, error) {
	if len(b) != FooterSize {
		return nil, bad(0, "footer of %d bytes, want %d", len(b), FooterSize)
	}
	var l footerLayout
	_, _ = binary.Decode(b, binary.BigEndian, &l) // fails on short input alone
	switch {
	case string(l.Magic[:]) != footerMagic:
		return nil, bad(0, "footer magic is %q, want %q", l.Magic[:], footerMagic)
	case l.Major != 1 || l.Minor != 0:
		return nil, bad(4, "footer version %d.%d, want 1.0", l.Major, l.Minor)
	case nonZero(l.Reserved[:]) >= 0:
		return nil, bad(36, "reserved field of the footer is not zero")
	}
	return &l.Footer, nil
}

// Bytes returns the encoded footer.
func (f *Footer) Bytes() []byte {
	l := footerLayout{Major: 1, Footer: *f}
	copy(l.Magic[:], footerMagic)
	b, _ := binary.Append(nil, binary.BigEndian, l) // cannot fail: all fields are of fixed size
	return b
}

// Read finds the vbmeta image of a partition of size bytes: where its footer
// says, or else at the beginning. It returns the image's bytes, and the footer
// or nil.
func Read(r io.ReaderAt, size int64) ([]byte, *Footer, error) {
	if size >= FooterSize {
		tail := make([]byte, FooterSize)
		if err := readat.Full(r, tail, size-FooterSize); err != nil {
			return nil, nil, err
		}
		if bytes.HasPrefix(tail, []byte(footerMagic)) {
			f, err := ParseFooter(tail)
			if err != nil {
				return nil, nil, err
			}
			if f.VBMetaSize > MaxVBMetaSize || !(extent{f.VBMetaOffset, f.VBMetaSize}).within(uint64(size)) {
				return nil, nil, bad(20, "footer: vbmeta image of %d bytes at %#x", f.VBMetaSize, f.VBMetaOffset)
			}
			b, err := readVBMeta(r, int64(f.VBMetaOffset), int64(f.VBMetaSize))
			return b, f, err
		}
	}
	b, err := readVBMeta(r, 0, size)
	return b, nil, err
}

// readVBMeta reads the vbmeta image at off, of which at most max bytes exist.
func readVBMeta(r io.ReaderAt, off, max int64) ([]byte, error) {
	b := make([]byte, min(max, HeaderSize))
	if err := readat.Full(r, b, off); err != nil {
		return nil, err
	}
	n, err := Size(b)
	if err != nil {
		return nil, err
	}
	if n > max {
		return nil, bad(12, "vbmeta image of %d bytes, %d left", n, max)
	}
	b = make([]byte, n)
	return b, readat.Full(r, b, off)
}
