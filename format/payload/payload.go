// Package payload reads, writes and applies update_engine's payloads (CrAU,
// major version 2): a header, a manifest in protobuf, a signature over both,
// the data of the operations, and a signature over all of it. It makes full
// payloads, writes what others make, and applies full ones and deltas; what has
// an operation that it does not do is refused by that one's name.
//
// Formats: AOSP system/update_engine, update_metadata.proto,
// payload_consumer/payload_metadata.cc, payload_generator/payload_signer.cc.
package payload

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"mios"
)

// Limits on what a payload may ask of its reader.
const (
	// MaxManifest is the longest manifest, in bytes.
	MaxManifest = 16 << 20
	// MaxSignatures is the longest Signatures message, in bytes.
	MaxSignatures = 64 << 10
	// MaxOperations and MaxExtents are how many of each a manifest may have.
	MaxOperations = 1 << 18
	MaxExtents    = 1 << 20
	// MaxBlob is the longest data of one operation, in bytes: it is held in
	// memory until its hash is verified.
	MaxBlob = 4 << 20
	// MaxWindow is the largest xz dictionary, in bytes, as update_engine's
	// kXzMaxDictSize. It is the one part of the memory use that a payload decides.
	MaxWindow = 64 << 20
)

// HeaderSize is the length in bytes of what stands before the manifest.
const HeaderSize = 24

const (
	magic        = "CrAU"
	majorVersion = 2
)

// A FormatError says where a payload is not well-formed.
type FormatError struct {
	Off int64 // from the payload's, or else the message's, first byte
	Msg string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("payload: offset %#x: %s", e.Off, e.Msg)
}

// Unwrap says what kind of error it is: [mios.ErrInvalid].
func (e *FormatError) Unwrap() error { return mios.ErrInvalid }

func bad(off int64, format string, args ...any) error {
	return &FormatError{off, fmt.Sprintf(format, args...)}
}

// Metadata is what stands before a payload's data.
type Metadata struct {
	Manifest *Manifest
	// Signatures is over header and manifest; nil if the payload has none.
	Signatures *Signatures

	raw []byte // header and manifest
	sig []byte
}

// ReadMetadata reads a payload's header, manifest and metadata signature, and
// not a byte more of r. The signature is not verified: see [Metadata.Verify].
func ReadMetadata(r io.Reader) (*Metadata, error) {
	head := make([]byte, HeaderSize)
	if n, err := io.ReadFull(r, head); err != nil {
		return nil, short(err, bad(int64(n), "header: %d bytes, want %d", n, HeaderSize))
	}
	if string(head[:4]) != magic {
		return nil, bad(0, "magic is %q, want %q", head[:4], magic)
	}
	if v := binary.BigEndian.Uint64(head[4:]); v != majorVersion {
		return nil, bad(4, "major version %d, want %d", v, majorVersion)
	}
	size := binary.BigEndian.Uint64(head[12:])
	if size == 0 || size > MaxManifest {
		return nil, bad(12, "manifest of %d bytes, want 1 to %d", size, MaxManifest)
	}
	sigSize := binary.BigEndian.Uint32(head[20:])
	if sigSize > MaxSignatures {
		return nil, bad(20, "metadata signature of %d bytes, want at most %d", sigSize, MaxSignatures)
	}
	raw, err := readN(r, head, int64(size))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	sig, err := readN(r, nil, int64(sigSize))
	if err != nil {
		return nil, fmt.Errorf("metadata signature: %w", err)
	}
	m := &Metadata{raw: raw, sig: sig}
	if m.Manifest, err = decodeManifest(raw[HeaderSize:], HeaderSize); err != nil {
		return nil, err
	}
	if len(sig) > 0 {
		if m.Signatures, err = decodeSignatures(sig, int64(len(raw))); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// readN appends n bytes of r to b, without believing that r has them.
func readN(r io.Reader, b []byte, n int64) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	got, err := io.CopyN(buf, r, n)
	if err != nil {
		return nil, short(err, bad(int64(len(b))+got, "%d bytes left, want %d", got, n))
	}
	return buf.Bytes(), nil
}

// short returns what an error of [io.ReadFull] means: format if the reader
// ended too early, the reader's error if it broke, also where that wraps
// [io.ErrUnexpectedEOF], as of a connection.
func short(err, format error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return format
	}
	return err
}

// WriteTo writes the bytes that [ReadMetadata] read.
func (m *Metadata) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.raw)
	if err != nil {
		return int64(n), err
	}
	k, err := w.Write(m.sig)
	return int64(n + k), err
}

// Size returns where the data begins, in bytes from the payload's start.
func (m *Metadata) Size() int64 { return int64(len(m.raw) + len(m.sig)) }

// SignedSize returns the length of header and manifest, which is what
// payload_properties.txt calls METADATA_SIZE.
func (m *Metadata) SignedSize() int64 { return int64(len(m.raw)) }

// Hash returns the SHA-256 of header and manifest: METADATA_HASH, and what the
// metadata signature is over.
func (m *Metadata) Hash() [sha256.Size]byte { return sha256.Sum256(m.raw) }

// PayloadSize returns the length of the whole payload in bytes, as far as the
// manifest tells: up to the end of its payload signature, or of its data if it
// has none.
func (m *Metadata) PayloadSize() int64 {
	end := m.Manifest.DataSize()
	if m.Manifest.SignaturesSize > 0 {
		end = m.Manifest.SignaturesOffset + m.Manifest.SignaturesSize
	}
	return m.Size() + int64(end)
}
