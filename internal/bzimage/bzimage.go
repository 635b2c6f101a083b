// Package bzimage takes the uncompressed kernel out of an x86 bzImage.
//
// The formats are Linux's Documentation/x86/boot.rst (header fields), the
// legacy frame of LZ4 and .xz. It decodes what Debian's kernels use; other
// compressions are refused.
package bzimage

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/therootcompany/xz"
)

// MaxSize bounds the uncompressed kernel, in bytes.
const MaxSize = 512 << 20

// xzDict is the largest dictionary taken: the kernel's build uses 32 MiB.
const xzDict = 64 << 20

// FormatError says where an image breaks the format and why.
type FormatError struct {
	Off int64
	Msg string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("bzimage: offset %#x: %s", e.Off, e.Msg)
}

// Offsets of the setup header, boot.rst.
const (
	offSetupSects    = 0x1f1
	offMagic         = 0x202
	offVersion       = 0x206
	offPayloadOffset = 0x248
	offPayloadLength = 0x24c
	headerEnd        = 0x250
	versionPayload   = 0x0208 // the first protocol version with a payload's place
)

// VMLinux returns the ELF file that the bzImage unpacks when it boots.
func VMLinux(image []byte) ([]byte, error) {
	if len(image) < headerEnd || string(image[offMagic:offMagic+4]) != "HdrS" {
		return nil, &FormatError{offMagic, "no setup header: this is not a bzImage"}
	}
	if v := binary.LittleEndian.Uint16(image[offVersion:]); v < versionPayload {
		return nil, &FormatError{offVersion, fmt.Sprintf("boot protocol %#x is older than %#x", v, versionPayload)}
	}
	sects := int64(image[offSetupSects])
	if sects == 0 {
		sects = 4
	}
	off := (sects+1)*512 + int64(binary.LittleEndian.Uint32(image[offPayloadOffset:]))
	n := int64(binary.LittleEndian.Uint32(image[offPayloadLength:]))
	if off > int64(len(image)) || n > int64(len(image))-off || n < 8 {
		return nil, &FormatError{offPayloadOffset, "payload is not within the image"}
	}
	out, err := unpack(image[off : off+n])
	if err != nil {
		if fe, ok := err.(*FormatError); ok {
			fe.Off += off
		}
		return nil, err
	}
	if !bytes.HasPrefix(out, []byte("\x7fELF")) {
		return nil, &FormatError{off, "payload is not an ELF file"}
	}
	return out, nil
}

// unpack decodes a payload. The kernel's build appends the size of what was
// compressed, 4 bytes little-endian, to all but gzip, which ends with it.
func unpack(p []byte) ([]byte, error) {
	size := int64(binary.LittleEndian.Uint32(p[len(p)-4:]))
	if size > MaxSize {
		return nil, &FormatError{int64(len(p) - 4), fmt.Sprintf("unpacks to %d bytes, more than %d", size, MaxSize)}
	}
	body := p[:len(p)-4]
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(p, lz4Magic):
		return lz4Legacy(body, int(size))
	case bytes.HasPrefix(p, []byte("\xfd7zXZ\x00")):
		r, err = xz.NewReader(bytes.NewReader(body), xzDict)
	case bytes.HasPrefix(p, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(bytes.NewReader(p))
	default:
		return nil, &FormatError{0, fmt.Sprintf("compression with magic %x is not known", p[:4])}
	}
	if err != nil {
		return nil, fmt.Errorf("bzimage: payload: %w", err)
	}
	var out bytes.Buffer
	if n, err := io.Copy(&out, io.LimitReader(r, size+1)); err != nil || n != size {
		return nil, fmt.Errorf("bzimage: payload: %d bytes of %d, %v", n, size, err)
	}
	return out.Bytes(), nil
}
